"""receive: take leases, open headers, ask who is done."""

import asyncio
import random
from collections.abc import Iterator

import pytest
from tests.simulation.world import WorldRegistry, envelope
from tests.supervisor.leases import LEASE_SECONDS, pass_seconds, turn

from omni_etl.backends.memory import MemoryQueue
from omni_etl.backends.memory_tracker import MemoryTracker
from omni_etl.clock import ManualClock
from omni_etl.envelope import SealedEnvelope, Stamp, open_header, pack
from omni_etl.queue import UNREADABLE, siding
from omni_etl.registry import RegisteredService
from omni_etl.supervisor.circuit import DeadShare
from omni_etl.supervisor.engines import Engines
from omni_etl.supervisor.held import Held
from omni_etl.supervisor.opening import Opening
from omni_etl.supervisor.receive import ANSWER_SECONDS_MAX, UNHEARD_SECONDS, Receiver, Source

CUT_AT_MS = 1_700_000_000_000  # of the world's envelopes
BULK, SIDING = Source("bulk"), Source(siding("metrics"), "metrics")


class Scene:
    """A parent that takes what it has room for, and a receiver on engines in memory."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.queue = MemoryQueue(self.clock)
        self.tracker = MemoryTracker(self.clock)
        self.registry = WorldRegistry(["metrics", "webhooks"])
        self.taken: list[Held] = []
        self.room_left = 100
        self.known_until = CUT_AT_MS
        self.engines = Engines(
            queue=self.queue, tracker=self.tracker, registry=self.registry, clock=self.clock, rng=random.Random(1)
        )
        self.receiver = Receiver(
            engines=self.engines,
            opening=Opening(engines=self.engines, clock=self.clock, dead_share=DeadShare(0.01, 3)),
            intake=self,
            clock=self.clock,
            rng=random.Random(1),
            lease_seconds=LEASE_SECONDS,
        )
        self._running: list[asyncio.Task[None]] = []

    def room(self, source: Source) -> int:
        """What is left."""
        return self.room_left

    def take(self, held: Held) -> None:
        """Ours."""
        self.taken.append(held)
        self.room_left -= 1

    def registered(self) -> list[RegisteredService]:
        """As in the registry."""
        return self.registry.registered

    def known_until_ms(self) -> int:
        """As told."""
        return self.known_until

    async def begin(self, source: Source) -> None:
        """Receive from here on."""
        self._running.append(asyncio.create_task(self.receiver.run(source)))
        await turn()

    def end(self) -> None:
        """Stop."""
        for each in self._running:
            each.cancel()


@pytest.fixture
def scene() -> Iterator[Scene]:
    """One, ended after the test."""
    subject = Scene()
    yield subject
    subject.end()


def tracked_as(seq: int) -> str:
    """What the tracker calls an envelope of the world."""
    return open_header(envelope(seq).header).tracked_as


async def test_a_lease_owes_what_was_registered_before_its_cut(scene: Scene) -> None:
    """Neither a younger service nor a retired one."""
    scene.registry.registered += [
        RegisteredService("younger", CUT_AT_MS + 1, retired=False),
        RegisteredService("as-old", CUT_AT_MS, retired=False),
        RegisteredService("retired", 0, retired=True),
    ]
    await scene.queue.send("bulk", [envelope(1)])
    await scene.begin(BULK)
    assert [each.owed for each in scene.taken] == [{"metrics", "webhooks", "as-old"}]


async def test_marks_are_believed_for_lanes(scene: Scene) -> None:
    """Of what is owed only; a tombstone owes nothing."""
    for service in ("metrics", "unknown"):
        await scene.tracker.mark(tracked_as(1), service, "done", frozenset())
    await scene.tracker.bury([tracked_as(2)])
    await scene.queue.send("bulk", [envelope(1), envelope(2)])
    await scene.begin(BULK)
    first, second = scene.taken
    assert dict(first.marks) == {"metrics": "done"}
    assert first.missing() == {"webhooks"}
    assert second.missing() == set()


async def test_a_siding_is_judged_by_its_service_alone(scene: Scene) -> None:
    """Whatever the tracker says: it said "sided" or "settled" of this very envelope."""
    await scene.tracker.mark(tracked_as(1), "metrics", "sided", frozenset())
    await scene.tracker.bury([tracked_as(2)])
    await scene.queue.send(siding("metrics"), [envelope(1), envelope(2)])
    await scene.begin(SIDING)
    assert [each.only for each in scene.taken] == ["metrics", "metrics"]
    assert [each.missing() for each in scene.taken] == [{"metrics"}, {"metrics"}]


async def test_no_more_is_received_than_there_is_room_for(scene: Scene) -> None:
    """What does not fit stays in the queue, untouched; room wakes the receiver."""
    await scene.queue.send("bulk", [envelope(seq) for seq in range(1, 6)])
    scene.room_left = 2
    await scene.begin(BULK)
    assert (len(scene.taken), (await scene.queue.depth("bulk")).ready) == (2, 3)
    scene.room_left = 1
    scene.engines.make_room()
    await turn()
    assert len(scene.taken) == 3


async def test_what_is_no_envelope_does_not_stop_the_lane(scene: Scene) -> None:
    """It goes where a person finds it, and what came with it is taken."""
    await scene.queue.send("bulk", [SealedEnvelope("hello", b"?"), envelope(1)])
    await scene.begin(BULK)
    assert [each.key for each in scene.taken] == ["h-bulk-1"]
    assert (await scene.queue.depth(UNREADABLE)).ready == 1


async def test_an_absent_queue_is_asked_again_with_pauses(scene: Scene) -> None:
    """And found again by itself."""
    scene.queue.faults.unavailable = True
    await scene.begin(BULK)
    await pass_seconds(scene.clock, 5)
    scene.queue.faults.unavailable = False
    await scene.queue.send("bulk", [envelope(1)])
    await pass_seconds(scene.clock, 11)
    assert len(scene.taken) == 1


async def test_the_deadline_is_never_later_than_the_queues(scene: Scene) -> None:
    """At once after the send, and after a long poll, less a margin for the answer's way."""
    await scene.queue.send("bulk", [envelope(1)])
    await scene.begin(BULK)
    await pass_seconds(scene.clock, 12)
    await scene.queue.send("bulk", [envelope(2)])
    await turn()
    first, second = scene.taken
    assert first.deadline == LEASE_SECONDS
    assert second.deadline == pytest.approx(12 - ANSWER_SECONDS_MAX + LEASE_SECONDS)
    assert second.received_at == pytest.approx(12)


async def test_another_content_under_a_settled_key_is_asked_of_every_ledger(scene: Scene) -> None:
    """A cloned machine cut another envelope under the same key: the tombstone of the first does not speak for it."""
    await scene.tracker.bury([tracked_as(1)])
    stamp = Stamp("h", "bulk", 1, CUT_AT_MS, {"express": 1, "bulk": 1}, 1)
    await scene.queue.send("bulk", [pack({"delivery": [b'{"other":1}']}, stamp)])
    await scene.begin(BULK)
    assert [each.missing() for each in scene.taken] == [{"metrics", "webhooks"}]


async def test_what_may_be_owed_to_somebody_unheard_of_waits(scene: Scene) -> None:
    """The database is away for long: envelopes younger than our knowledge stay in the queue; older ones and sidings go on."""
    scene.known_until = CUT_AT_MS - 1
    scene.clock.advance(60)
    old = pack({"delivery": [b"{}"]}, Stamp("h", "bulk", 2, CUT_AT_MS - 1, {"express": 1, "bulk": 1}, 1))
    await scene.queue.send("bulk", [envelope(1), old])
    await scene.queue.send(siding("metrics"), [envelope(3)])
    await scene.begin(BULK)
    await scene.begin(SIDING)
    assert {each.key for each in scene.taken} == {"h-bulk-2", "h-bulk-3"}
    scene.known_until = CUT_AT_MS
    await pass_seconds(scene.clock, UNHEARD_SECONDS + 1)
    assert {each.key for each in scene.taken} == {"h-bulk-1", "h-bulk-2", "h-bulk-3"}


async def test_a_hose_with_a_fast_clock_does_not_wait(scene: Scene) -> None:
    """A cut in our future is not younger than now, and up to now we know."""
    await scene.queue.send(
        "bulk", [pack({}, Stamp("h", "bulk", 2, CUT_AT_MS + 3_600_000, {"express": 1, "bulk": 1}, 1))]
    )
    await scene.begin(BULK)
    assert len(scene.taken) == 1
