"""child: an envelope in, one result out, whatever happens in between."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from structlog.testing import capture_logs
from tests.simulation.world import envelope
from tests.supervisor.leases import turn
from tests.supervisor.service_alive import AliveService

from omni_etl.clock import ManualClock
from omni_etl.supervisor.channel import Channel, Message, Ping, Pong, Ready, Result, Stop, Unfit, Work
from omni_etl.supervisor.child import REASON_CHARACTERS_MAX, Child


@dataclass
class Scene:
    """A child in this process, and the parent's end of its pipe."""

    service: AliveService
    parent: Channel
    clock: ManualClock
    serving: asyncio.Task[None]

    async def answer(self, message: Message) -> Message | None:
        """What the child says to this."""
        await self.parent.send(message)
        return await self.parent.receive()

    async def opened(self) -> None:
        """Wait until the engine was reached."""
        while self.service.runs == 0:
            await turn(1)


@asynccontextmanager
async def child(name: str) -> AsyncIterator[Scene]:
    """A child that has said ready."""
    ours, theirs = socket.socketpair()
    parent, channel, clock, service = (
        await Channel.over(ours),
        await Channel.over(theirs),
        ManualClock(),
        AliveService(name),
    )
    subject = Child(service=service, channel=channel, clock=clock, rng=random.Random(1))
    serving = asyncio.create_task(subject.serve())
    assert await parent.receive() == Ready(("delivery",))
    yield Scene(service, parent, clock, serving)
    service.go_on.set()
    parent.close()
    await serving


def work(work_id: int = 1, *, deadline: float = 60.0) -> Work:
    """One envelope."""
    sealed = envelope(work_id)
    return Work(work_id, sealed.header, sealed.payload, deadline)


@pytest.mark.parametrize(
    ("name", "outcome"),
    [("good", "done"), ("away", "unavailable"), ("poison", "poison"), ("conflict", "conflict"), ("bug", "poison")],
)
async def test_an_application_ends_as_one_word(name: str, outcome: str) -> None:
    """Errors of ours by what they mean for the lease; anything else counts as poison."""
    async with child(name) as scene:
        await scene.opened()
        result = await scene.answer(work(5))
        assert isinstance(result, Result)
        assert (result.work_id, result.outcome) == (5, outcome)
        assert ("so it is" in result.reason) == (outcome != "done")
        assert scene.service.applied == (["h-bulk-5"] if outcome == "done" else [])


async def test_a_lapsed_lease_has_no_effect() -> None:
    """The deadline is the parent's; at it, the work is given back."""
    async with child("good") as scene:
        await scene.opened()
        scene.clock.advance(60)
        result = await scene.answer(work(1, deadline=60.0))
        assert isinstance(result, Result)
        assert (result.outcome, scene.service.applied) == ("lapsed", [])


async def test_a_payload_that_does_not_open_is_said() -> None:
    """Damage is no poison: nothing of it reached the service."""
    async with child("good") as scene:
        await scene.opened()
        result = await scene.answer(Work(1, envelope(1).header, b"damaged", 60.0))
        assert isinstance(result, Result)
        assert (result.outcome, scene.service.begun.is_set()) == ("unreadable", False)


async def test_what_is_newer_than_this_child_waits_for_the_upgrade() -> None:
    """It is no damage, and no fault of the service."""
    async with child("good") as scene:
        await scene.opened()
        result = await scene.answer(Work(1, '{"version": 2}', b"", 60.0))
        assert isinstance(result, Result)
        assert (result.outcome, scene.service.begun.is_set()) == ("unavailable", False)


async def test_reasons_have_a_limit() -> None:
    """They end in logs and in the registry."""
    async with child("good") as scene:
        await scene.opened()
        result = await scene.answer(Work(1, '"' + "x" * 5_000, b"", 60.0))
        assert isinstance(result, Result)
        assert len(result.reason) <= REASON_CHARACTERS_MAX


@pytest.mark.parametrize("name", ["away-at-first", "broken-at-first"])
async def test_until_its_engine_is_there_work_comes_back(name: str) -> None:
    """With the reason; it is opened again with pauses, also after a fault of our own, which is logged whole."""
    with capture_logs() as lines:
        async with child(name) as scene:
            result = await scene.answer(work(1))
            assert isinstance(result, Result)
            assert (result.outcome, bool(result.reason)) == ("unavailable", True)
            for _ in range(20):
                scene.clock.advance(1.0)
                await turn()
            result = await scene.answer(work(2))
            assert isinstance(result, Result)
            assert result.outcome == "done"
    events = [each["event"] for each in lines]
    assert events.count("service_failed" if name == "broken-at-first" else "service_waiting") >= 1
    assert "service_started" in events


async def test_a_setting_that_cannot_heal_is_told_to_the_parent() -> None:
    """With what was found and what to do."""
    async with child("unfit") as scene:
        assert await scene.parent.receive() == Unfit("OMNI_X", "nothing", "Set it.")


async def test_the_loop_beside_begins_again_after_a_fault() -> None:
    """A fault in webhook delivery must not end it for ever."""
    async with child("loop-fails") as scene:
        await scene.opened()
        for _ in range(5):
            scene.clock.advance(1.0)
            await turn()
        assert scene.service.runs == 2


async def test_a_ping_is_answered_during_work() -> None:
    """Slow is not stuck."""
    async with child("hangs") as scene:
        await scene.opened()
        await scene.parent.send(work(1))
        await scene.service.begun.wait()
        assert await scene.answer(Ping()) == Pong()


async def test_stop_finishes_what_is_held() -> None:
    """The result still goes out, then the service is closed and the pipe ends."""
    async with child("hangs") as scene:
        await scene.opened()
        await scene.parent.send(work(1))
        await scene.service.begun.wait()
        await scene.parent.send(Stop())
        await turn()
        assert not scene.serving.done()
        scene.service.go_on.set()
        assert await scene.parent.receive() == Result(1, "done")
        assert await scene.parent.receive() is None
        assert scene.service.closed
