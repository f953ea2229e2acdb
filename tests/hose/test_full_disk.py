"""A hose that has filled its disk comes out of it by itself, running or started anew: making room takes room."""

import asyncio
import errno
import os
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.hose.fake_queue import FakeQueue
from tests.hose.hoses import CUTS, LIMITS, check_numbers, crash, event, make_hose, running_hose

from omni_etl.errors import IntakeError
from omni_etl.hose import EventHose, requests
from omni_etl.hose.requests import RequestMemory
from omni_etl.hose.reserve import REQUESTS_RESERVE_NAME, SPOOL_RESERVE_NAME

SMALL = replace(LIMITS, spool_segment_bytes=20_000, cuts=replace(CUTS, bulk_age_seconds=0.05))
REQUESTS_NEED_BYTES = 4_096


class _SmallDisk:
    """Refuses what does not fit, by the bytes written. SQLite writes past this seam, so its answer is given for it."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self.size_bytes = 250_000
        self._pwrite, self._fallocate, self._make_durable = os.pwrite, os.posix_fallocate, RequestMemory.make_durable
        monkeypatch.setattr(os, "pwrite", self.pwrite)
        monkeypatch.setattr(os, "posix_fallocate", self.fallocate)
        monkeypatch.setattr(RequestMemory, "make_durable", _as_method(self.make_durable))

    @property
    def free_bytes(self) -> int:
        """What is left of it."""
        ours = [*self.directory.glob("*.spool"), *self.directory.glob("*reserve")]
        return self.size_bytes - sum(path.stat().st_size for path in ours)

    def fill(self) -> None:
        """Others take the rest, as logs do."""
        self.size_bytes -= self.free_bytes

    def pwrite(self, file: int, content: memoryview, offset: int) -> int:
        """The seam: what `segments` calls."""
        self._take(len(content))
        return self._pwrite(file, content, offset)

    def fallocate(self, file: int, offset: int, size_bytes: int) -> None:
        """The seam: what `reserve` calls."""
        self._take(size_bytes - os.fstat(file).st_size)
        self._fallocate(file, offset, size_bytes)

    def make_durable(self, memory: RequestMemory) -> bool:
        """Growing its file takes room."""
        return self.free_bytes >= REQUESTS_NEED_BYTES and self._make_durable(memory)

    def _take(self, size_bytes: int) -> None:
        if size_bytes > self.free_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _SmallDisk:
    """The disk under the spool."""
    return _SmallDisk(tmp_path / "spool", monkeypatch)


@pytest.mark.parametrize("others", [False, True])
async def test_a_full_disk_empties_when_the_queue_is_back(disk: _SmallDisk, *, others: bool) -> None:
    """Though others took the last byte; then events are accepted again, and each accepted one arrives once."""
    queue = FakeQueue()
    queue.away = True
    with capture_logs():
        async with running_hose(disk.directory, queue, limits=SMALL) as hose:
            accepted = await _fill(hose)
            if others:
                disk.fill()
            queue.away = False
            await _until(lambda: not hose.is_refusing)
            assert hose.spool_bytes < SMALL.spool_segment_bytes
            await hose.accept(event(-1))
    assert sorted(queue.lines()) == sorted([*accepted, event(-1)])
    check_numbers(queue)


async def test_nothing_is_accepted_into_the_room_that_is_to_make_room(disk: _SmallDisk) -> None:
    """While the queue is away a full disk stays refused, but what was accepted is cut to the last event."""
    queue = FakeQueue()
    queue.away = True
    with capture_logs():
        async with running_hose(disk.directory, queue, limits=SMALL) as hose:
            accepted = await _fill(hose)
            await _until(lambda: hose._batcher.count == 0 and hose._committer._failures > 3)
            spool_bytes = hose.spool_bytes
            assert disk.free_bytes > 1_000
            with pytest.raises(IntakeError, match="refuses writes"):
                await hose.accept(event(-1))
            assert (hose.is_refusing, hose.spool_bytes) == (True, spool_bytes)
            queue.away = False
    assert sorted(queue.lines()) == sorted(accepted)


@pytest.mark.parametrize("spent", [False, True])
async def test_a_start_on_a_full_disk_makes_room_by_sending(disk: _SmallDisk, tmp_path: Path, *, spent: bool) -> None:
    """What was not cut is cut in the reserve, or where that was spent when what was cut has gone."""
    queue = FakeQueue()
    queue.away = True
    with capture_logs():
        hose = make_hose(disk.directory, queue, limits=SMALL)
        await hose.start()
        accepted = await _fill(hose)
        left = await crash(hose, into=tmp_path / "left")
        disk.directory = left
        if spent:
            (left / SPOOL_RESERVE_NAME).unlink(missing_ok=True)
        assert (left / REQUESTS_RESERVE_NAME).exists()
        disk.fill()
        queue.away = False
        async with running_hose(left, queue, limits=SMALL) as again:
            await _until(lambda: not again.is_refusing)
            await again.accept(event(-1))
    assert sorted(queue.lines()) == sorted([*accepted, event(-1)])
    check_numbers(queue)


async def test_a_memory_that_does_not_even_open_gets_its_reserve(
    disk: _SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite makes two files when it opens one."""
    queue = FakeQueue()
    async with running_hose(disk.directory, queue, limits=SMALL) as hose:
        await hose.accept(event(1), key="k")
    reserve = disk.directory / REQUESTS_RESERVE_NAME

    def _open(path: Path) -> sqlite3.Connection:
        if reserve.exists():
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        return opens(path)

    opens = requests._open
    with monkeypatch.context() as patch:
        patch.setattr(requests, "_open", _open)
        again = make_hose(disk.directory, queue, limits=SMALL)
        await again.start()
    assert reserve.exists()  # held again
    assert (await again.accept(event(1), key="k")).accepted == 1
    await again.stop(10)
    assert queue.lines() == [event(1)]


async def _fill(hose: EventHose) -> list[bytes]:
    """Accept until the disk refuses."""
    accepted: list[bytes] = []
    for number in range(10_000):
        line = event(number, pad=os.urandom(300).hex())
        try:
            await hose.accept(line)
        except IntakeError:
            return accepted
        accepted.append(line)
    raise AssertionError


def _as_method(answer: Callable[[RequestMemory], bool]) -> Callable[[RequestMemory], bool]:
    def _method(memory: RequestMemory) -> bool:
        return answer(memory)

    return _method


async def _until(condition: Callable[[], object]) -> None:
    """The disk is tried again with back-off."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)
