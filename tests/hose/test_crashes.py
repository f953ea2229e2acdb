"""The hose as a whole, real code on a real disk, with faults at random moments: nothing lost, nothing doubled, no gaps."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from structlog.testing import capture_logs
from tests.hose.fake_queue import FakeQueue
from tests.hose.hoses import LIMITS, check_numbers, crash, event, make_hose, recover

from omni_etl.clock import ManualClock
from omni_etl.errors import IntakeError
from omni_etl.hose import EventHose, segments
from omni_etl.hose.segments import segments_in
from omni_etl.queue import Failures

SMALL = replace(LIMITS, spool_segment_bytes=2_000)
FDATASYNC = os.fdatasync


class HoseWithFaults(RuleBasedStateMachine):
    """Producers, a queue, a disk and the power, all of which fail."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.logs = capture_logs()
        self.logs.__enter__()
        self.root = Path(tempfile.mkdtemp())
        self.directory = self.root / "first"
        self.queue = self.runner.run(_make_queue())
        self.accepted: set[bytes] = set()
        self.unsure: set[bytes] = set()  # of requests that got no answer
        self.numbers = iter(range(1_000_000))
        self.keyed: list[tuple[str, bytes]] = []
        self.disk_refuses = False
        os.fdatasync = self._fdatasync  # type: ignore[assignment] # the seam: what `segments` calls

    @initialize()
    def start(self) -> None:
        """The first hose."""
        self.runner.run(self._start())

    @rule(count=st.integers(1, 40) | st.integers(100, 250), suppressing=st.booleans(), keyed=st.booleans())
    def post(self, count: int, *, suppressing: bool, keyed: bool) -> None:
        """A request, accepted or refused."""
        name = "spam_complaint" if suppressing else "open"
        lines = [event(next(self.numbers), name, pad="x" * 50) for _ in range(count)]
        key = f"key {lines[0]!r}" if keyed else None
        if key is not None:
            self.keyed.append((key, b"\n".join(lines)))
        self.runner.run(self._post(lines, key))

    @precondition(lambda self: self.keyed)
    @rule(data=st.data())
    def post_again(self, data: st.DataObject) -> None:
        """A producer that did not hear, or did not listen."""
        key, body = data.draw(st.sampled_from(self.keyed))
        self.runner.run(self._post(body.split(b"\n"), key))

    @rule(seconds=st.sampled_from([0.0, 0.001, 0.01, 1.0, 20.0]))
    def time_passes(self, seconds: float) -> None:
        """Envelopes are cut by age, sends tried again."""
        self.runner.run(self._pass(seconds))

    @rule(away=st.booleans())
    def queue_away(self, *, away: bool) -> None:
        """For as long as hypothesis likes."""
        self.queue.away = away

    @rule(faults=st.lists(st.sampled_from(["refuse first", "lose answer", ""]), max_size=5))
    def queue_faults(self, faults: list[str]) -> None:
        """Of the next calls."""

        def _fault(_: object) -> Failures | None:
            fault = faults.pop() if faults else ""
            return None if fault == "lose answer" else {0: "throttled"} if fault else {}

        self.queue.fault = _fault

    @rule(refuses=st.booleans())
    def disk(self, *, refuses: bool) -> None:
        """Full, or not any more."""
        self.disk_refuses = refuses

    @rule()
    def kill(self) -> None:
        """-9, and a new start on what that left."""
        self.disk_refuses = False
        self.runner.run(self._kill(None))

    @rule(lines=st.integers(1, 5) | st.integers(90, 250), torn=st.integers(0, 400) | st.integers(0, 8_000))
    def lose_power_in_a_commit(self, lines: int, torn: int) -> None:
        """A request is being written; any part of it reached the disk."""
        self.disk_refuses = False
        self.runner.run(self._kill((lines, torn)))

    @rule()
    def restart(self) -> None:
        """In order."""
        self.disk_refuses = False
        self.runner.run(self._restart())

    def teardown(self) -> None:
        """Heal everything, send everything, and count."""
        self.disk_refuses = False
        self.queue.away, self.queue.fault = False, None
        try:
            if hasattr(self, "hose"):
                left = self.root / "last"
                self.runner.run(crash(self.hose, into=left))
                self.runner.run(recover(left, self.queue))
                lines = self.queue.lines()
                assert len(lines) == len(set(lines))
                assert self.accepted <= set(lines) <= self.accepted | self.unsure
                check_numbers(self.queue)
                assert len(segments_in(left)) == 1
        finally:
            os.fdatasync = FDATASYNC
            self.runner.close()
            self.logs.__exit__(None, None, None)
            shutil.rmtree(self.root)

    def _fdatasync(self, file: int) -> None:
        if self.disk_refuses:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        FDATASYNC(file)

    async def _start(self) -> None:
        self.clock = ManualClock()
        self.hose: EventHose = make_hose(self.directory, self.queue, limits=SMALL, clock=self.clock)
        await self.hose.start()

    async def _post(self, lines: list[bytes], key: str | None) -> None:
        accepting = asyncio.create_task(self.hose.accept(b"\n".join(lines), key=key))
        await self._settle(accepting)
        try:
            answer = await accepting
        except IntakeError as error:
            assert error.status == 503  # noqa: PT017 a raised one is one of the two outcomes
            self.unsure.update(lines)  # refused; but a key may have been accepted before
        else:
            assert answer.accepted == len(lines)
            self.accepted.update(lines)

    async def _pass(self, seconds: float) -> None:
        for _ in range(20):
            self.clock.advance(seconds / 20)
            await self._settle(None)

    async def _settle(self, task: asyncio.Task[object] | None) -> None:
        """Until that is done, or a few commits could be: the commit's thread is real, so it is waited for in its pool."""
        for _ in range(10):
            if task is not None and task.done():
                return
            await asyncio.get_running_loop().run_in_executor(self.hose._spool._thread, int)
            for _ in range(10):
                await asyncio.sleep(0)
        if task is not None:
            await task

    async def _kill(self, writing: tuple[int, int] | None) -> None:
        size = sent_count = 0
        if writing is not None:
            size, sent_count = self._last_size(), len(self.queue.sent)
            lines = [event(next(self.numbers)) for _ in range(writing[0])]
            before = segments_in(self.directory)
            try:
                await self.hose.accept(b"\n".join(lines))
            except IntakeError:
                writing = None
            self.unsure.update(lines)
        left = await crash(self.hose, into=self.root / str(next(self.numbers)))
        if (
            writing is not None and segments_in(left) != before
        ):  # a segment came or went: the commit was known to be durable
            writing = None
            self.accepted.update(lines)
        if writing is not None and len(self.queue.sent) == sent_count:  # only what was not durable can be torn
            path = segments.path_of(left, segments_in(left)[-1])
            path.write_bytes(path.read_bytes()[: max(size, path.stat().st_size - writing[1])])
        self.directory = left
        await self._start()

    def _last_size(self) -> int:
        existing = segments_in(self.directory)
        return segments.path_of(self.directory, existing[-1]).stat().st_size if existing else 0

    async def _restart(self) -> None:
        stopping = asyncio.create_task(self.hose.stop(1))
        while not stopping.done():
            self.clock.advance(0.1)
            await asyncio.wait({stopping}, timeout=0.002)
        await stopping
        await self._start()


async def _make_queue() -> FakeQueue:
    return FakeQueue()


TestHoseWithFaults = HoseWithFaults.TestCase
TestHoseWithFaults.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
