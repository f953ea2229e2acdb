"""opening: what does not open waits, or goes where a person finds it."""

import json
import random
from dataclasses import replace

import pytest
from structlog.testing import capture_logs
from tests.simulation.world import WorldRegistry, envelope

from omni_etl.backends.memory import MemoryQueue
from omni_etl.backends.memory_tracker import MemoryTracker
from omni_etl.clock import ManualClock
from omni_etl.envelope import SealedEnvelope
from omni_etl.queue import UNREADABLE, Lease
from omni_etl.supervisor.circuit import DeadShare
from omni_etl.supervisor.engines import Engines
from omni_etl.supervisor.opening import NEWER_SECONDS, SEALED_BYTES_MAX, TOO_MANY_SECONDS, Opening


class Scene:
    """A lane and an opening."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.queue = MemoryQueue(self.clock)
        self.engines = Engines(
            queue=self.queue,
            tracker=MemoryTracker(self.clock),
            registry=WorldRegistry([]),
            clock=self.clock,
            rng=random.Random(1),
        )
        self.opening = Opening(engines=self.engines, clock=self.clock, dead_share=DeadShare(0.01, 3))

    async def receive(self) -> list[Lease]:
        """What is ready."""
        return await self.queue.receive("bulk", count_max=10, wait_seconds=0, lease_seconds=30)

    async def stored(self, name: str) -> int:
        """Envelopes in a queue, leased ones too."""
        depth = await self.queue.depth(name)
        return depth.ready + depth.leased


def altered(**fields: object) -> SealedEnvelope:
    """An envelope whose header says something else."""
    sealed = envelope(1)
    return SealedEnvelope(json.dumps({**json.loads(sealed.header), **fields}), sealed.payload)


@pytest.mark.parametrize("fields", [{"version": 2}, {"version": 2, "seq": "words now"}, {"codec": "brotli"}])
async def test_a_newer_envelope_waits_and_is_never_deleted(fields: dict[str, object]) -> None:
    """The hoses were upgraded first: 200 of them cost one alarm and no dead letter, and are ready again later."""
    scene = Scene()
    with capture_logs() as lines:
        for _ in range(20):
            await scene.queue.send("bulk", [altered(**fields) for _ in range(10)])
            assert await scene.opening.open(await scene.receive()) == []
    assert (await scene.stored("bulk"), await scene.stored(UNREADABLE)) == (200, 0)
    assert [each["event"] for each in lines] == ["envelope_newer"]
    assert await scene.receive() == []
    scene.clock.advance(NEWER_SECONDS)
    assert len(await scene.receive()) == 10


async def test_many_that_do_not_open_are_not_all_set_aside() -> None:
    """Three are damage; two hundred are a broken deploy: one alarm, and the rest wait in the lane."""
    scene = Scene()
    with capture_logs() as lines:
        for _ in range(20):
            await scene.queue.send("bulk", [SealedEnvelope("hello", b"?") for _ in range(10)])
            await scene.opening.open(await scene.receive())
    assert (await scene.stored("bulk"), await scene.stored(UNREADABLE)) == (197, 3)
    assert [each["event"] for each in lines] == [*["envelope_dead"] * 3, "envelopes_unreadable"]
    scene.clock.advance(TOO_MANY_SECONDS)
    assert await scene.receive()


async def test_among_many_that_open_some_may_be_set_aside() -> None:
    """What opens comes back with its header, in order."""
    scene = Scene()
    for seq in range(500):
        await scene.queue.send("bulk", [envelope(seq + 1)])
        assert [header.seq for _, header in await scene.opening.open(await scene.receive())] == [seq + 1]
    for _ in range(5):
        await scene.queue.send("bulk", [SealedEnvelope("hello", b"?")])
        await scene.opening.open(await scene.receive())
    assert await scene.stored(UNREADABLE) == 5


async def test_an_entry_that_fits_no_pipe_is_not_handed_out() -> None:
    """That would be a fault of ours and end the parent; no queue of ours takes it as a dead letter, so it stays."""
    scene = Scene()
    await scene.queue.send("bulk", [envelope(1)])
    [lease] = await scene.receive()
    huge = replace(lease, envelope=SealedEnvelope(lease.envelope.header, bytes(SEALED_BYTES_MAX)))
    assert await scene.opening.open([huge]) == []
    assert (await scene.stored("bulk"), await scene.stored(UNREADABLE)) == (1, 0)
