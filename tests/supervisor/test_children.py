"""children: real processes, started, watched, replaced, stopped; none outlives its parent."""

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.builders import line, sealed
from tests.supervisor import parent_program
from tests.supervisor.leases import turn
from tests.supervisor.parent_program import Events, command, work

from omni_etl.clock import ManualClock, SystemClock
from omni_etl.erasure import Erasure, Known, name_of
from omni_etl.errors import SettingsError
from omni_etl.supervisor import children as children_module
from omni_etl.supervisor.channel import Result, Work
from omni_etl.supervisor.children import PING_SECONDS, Children, ChildUnreadyError

pytestmark = pytest.mark.timeout(20)
PATH = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


class Scene:
    """Children of this process, on a clock that stands still."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.clock = ManualClock()
        self.events = Events()
        self.children = Children(
            command=command, environment=PATH, events=self.events, clock=self.clock, rng=random.Random(1)
        )
        self.pinging = asyncio.create_task(self.children.ping())
        self.keeping = asyncio.create_task(self.children.keep(name))

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The present child."""
        return self.children._processes[self.name]

    async def hear(self, word: str) -> Any:
        """The next thing the parent hears."""
        heard, said = await self.events.heard.get()
        assert heard == word
        return said

    async def until(self, holds: Callable[[], object]) -> None:
        """Processes take their time; the test's time limit ends this."""
        while not holds():
            await asyncio.sleep(0.002)

    async def pass_seconds(self, seconds: float, *, answered: bool = False) -> None:
        """The clock moves from ping to ping; `answered`: the child has its time for each."""
        for _ in range(round(seconds / PING_SECONDS)):
            before = self.children._heard_at[self.name]
            self.clock.advance(PING_SECONDS)
            await turn()
            if answered:
                await self.until(lambda: self.children._heard_at[self.name] != before)  # noqa: B023 awaited at once

    async def end(self) -> None:
        """Whatever still runs is killed."""
        self.keeping.cancel()
        self.pinging.cancel()
        await self.children.stop(0)
        await asyncio.gather(self.keeping, self.pinging, return_exceptions=True)


@pytest.fixture
async def start() -> AsyncIterator[Callable[[str], Scene]]:
    """Begin a scene; it ends with the test."""
    begun: list[Scene] = []

    def begin(name: str) -> Scene:
        begun.append(Scene(name))
        return begun[-1]

    yield begin
    for each in begun:
        await each.end()


async def test_a_child_says_what_it_wants_answers_and_stops_in_order(start: Callable[[str], Scene]) -> None:
    """Ready with its types; a result for each work; after stop it ends by itself and is not replaced."""
    scene = start("good")
    assert await scene.hear("ready") == {"delivery"}
    await scene.children.send("good", work(3))
    assert await scene.hear("answered") == Result(3, "done")
    await scene.children.stop(10)
    await scene.keeping
    assert (scene.process.returncode, scene.children.pids()) == (0, {})


async def test_a_child_hears_of_erasures_before_its_next_work(start: Callable[[str], Scene]) -> None:
    """One that lives, and the one that takes its place; what it left out comes with its answer."""
    known = Known(b"k" * 32, tuple(Erasure(name_of(each, b"k" * 32), 2**42) for each in ("b@x.test", "a@x.test")))
    lines = [line(rcpt_to=f"{each}@X.test") for each in "abc"]
    closed = sealed(lines)
    sent = Work(1, closed.header, closed.payload, 1e9)
    scene = start("good")
    await scene.hear("ready")
    await scene.children.send("good", sent)
    assert await scene.hear("answered") == Result(1, "done")
    scene.children.forget(known)
    await scene.children.send("good", sent)
    assert await scene.hear("answered") == Result(1, "done", erased=2)
    scene.process.kill()
    await scene.hear("died")
    await scene.hear("ready")
    await scene.children.send("good", sent)
    assert await scene.hear("answered") == Result(1, "done", erased=2)


async def test_a_killed_child_is_replaced_with_growing_pauses(start: Callable[[str], Scene]) -> None:
    """The first time at once, then after a pause that a long life would forgive."""
    scene = start("good")
    await scene.hear("ready")
    first = scene.process
    first.kill()
    await scene.hear("died")
    await scene.hear("ready")
    assert scene.process.pid != first.pid
    scene.process.kill()
    await scene.hear("died")
    await scene.until(lambda: len(scene.clock._sleepers) == 2)  # the pings' and this pause
    assert scene.children.pids() == {}
    await scene.children.send("good", work(1))  # to nobody
    scene.clock.advance(0.1)
    await scene.hear("ready")
    scene.clock.advance(children_module.LIVED_SECONDS + 1)
    scene.process.kill()
    await scene.hear("died")
    await scene.hear("ready")


async def test_a_child_that_ends_before_it_is_ready_stops_the_parent(start: Callable[[str], Scene]) -> None:
    """Its code cannot start, so trying again would only hide that."""
    with capture_logs() as lines:
        scene = start("crashes")
        with pytest.raises(ChildUnreadyError, match="crashes ended with code 3"):
            await scene.keeping
    assert [each["event"] for each in lines] == ["child_unready"]


async def test_an_unfit_service_stops_the_parent_with_its_setting(start: Callable[[str], Scene]) -> None:
    """Waiting cannot heal it, and the words are the service's own."""
    scene = start("unfit")
    with pytest.raises(SettingsError, match=r"OMNI_X: found nothing. Set it."):
        await scene.keeping


async def test_a_child_that_answers_pings_lives(start: Callable[[str], Scene]) -> None:
    """However long it has no work."""
    scene = start("good")
    await scene.hear("ready")
    await scene.pass_seconds(150, answered=True)
    assert scene.process.returncode is None


@pytest.mark.parametrize("padding_bytes", [0, 1024 * 1024])
async def test_a_stuck_child_is_killed_and_replaced(start: Callable[[str], Scene], padding_bytes: int) -> None:
    """Its loop does not turn for a minute, also where the pipe to it is full of envelopes."""
    scene = start("good")
    await scene.hear("ready")
    stuck = scene.process
    stuck.send_signal(signal.SIGSTOP)
    sends = [asyncio.create_task(scene.children.send("good", work(n, padding_bytes=padding_bytes))) for n in range(3)]
    await scene.pass_seconds(30)
    assert stuck.returncode is None
    await scene.pass_seconds(40)
    await scene.hear("died")
    assert stuck.returncode == -signal.SIGKILL
    await scene.hear("ready")
    await asyncio.gather(*sends)


async def test_a_child_that_hangs_before_it_is_ready_is_replaced(start: Callable[[str], Scene]) -> None:
    """After the same minute: nobody would notice it otherwise. A signal says nothing about its code."""
    scene = start("never-ready")
    await scene.until(scene.children.pids)
    hung = scene.process
    await scene.pass_seconds(70)
    await scene.hear("died")
    assert hung.returncode == -signal.SIGKILL
    await scene.until(lambda: scene.children.pids().get("never-ready", hung.pid) != hung.pid)


async def test_a_machine_without_room_for_a_process_is_one_more_death(
    start: Callable[[str], Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    """EAGAIN or ENOMEM passes: tried again with pauses, nothing of the try is left open, and the parent goes on."""
    spawn, pairs = asyncio.create_subprocess_exec, list[socket.socket]()
    pair = socket.socketpair

    async def no_room(*_arguments: object, **_options: object) -> asyncio.subprocess.Process:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    def noted() -> tuple[socket.socket, socket.socket]:
        pairs.extend(made := pair())
        return made

    monkeypatch.setattr(socket, "socketpair", noted)
    monkeypatch.setattr(asyncio, "create_subprocess_exec", no_room)
    with capture_logs() as lines:
        scene = start("good")
        await turn()
        scene.clock.advance(1)
        await turn()
    assert [each["event"] for each in lines] == ["child_died"] * 2
    assert [each.fileno() for each in pairs] == [-1] * 4
    monkeypatch.setattr(asyncio, "create_subprocess_exec", spawn)
    scene.clock.advance(1)
    await scene.hear("ready")


async def test_a_child_can_be_ended_by_name(start: Callable[[str], Scene]) -> None:
    """The parent found it stuck; one that is gone or was never there is no error."""
    scene = start("good")
    await scene.hear("ready")
    scene.children.kill("nobody")
    scene.children.kill("good")
    await scene.hear("died")
    await scene.hear("ready")


async def test_stop_kills_who_does_not_end(start: Callable[[str], Scene]) -> None:
    """Within its time, even where the child does not read what it is told."""
    scene = start("good")
    await scene.hear("ready")
    scene.process.send_signal(signal.SIGSTOP)
    sending = asyncio.create_task(scene.children.send("good", work(1, padding_bytes=4 * 1024 * 1024)))
    await turn()
    await scene.children.stop(0.05)
    assert scene.process.returncode == -signal.SIGKILL
    await asyncio.gather(sending, scene.keeping)


async def test_stop_reaches_a_child_that_is_still_starting(start: Callable[[str], Scene]) -> None:
    """It ends as soon as it is ready, not when its time is over."""
    scene = start("good")
    await scene.until(scene.children.pids)
    await scene.children.stop(15)
    assert scene.process.returncode == 0
    await scene.keeping


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(["good"], b"begun"), (["hangs"], b"begun"), (["stuck"], b"begun"), (["hangs", "stops"], b"stopping")],
    ids=["in-work", "waiting-in-work", "stuck", "stopping"],
)
def test_no_child_outlives_its_parent(arguments: list[str], word: bytes) -> None:
    """Kill -9 of the parent: idle, in work, with a loop that does not turn, or stopping, it ends within two seconds."""
    argv = [sys.executable, str(Path(parent_program.__file__)), *arguments]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env={**os.environ, **PATH}) as parent:
        assert parent.stdout is not None
        while parent.stdout.readline().strip() != word:
            assert parent.poll() is None
        parent.kill()
        began = SystemClock().monotonic()
        parent.stdout.read()  # the child holds this pipe, too
        assert SystemClock().monotonic() - began < 2.5
