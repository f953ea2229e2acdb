"""hose.committer: one fsync for all that waits, and only then an answer."""

import asyncio
import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.hose.fake_queue import FakeQueue
from tests.hose.hoses import check_numbers, crash, event, make_hose, never_cut, recover, running_hose

from omni_etl.errors import IntakeError


class _Disk:
    """Counts syncs, and refuses them on order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.syncs = 0
        self.refuses = False
        self._fdatasync = os.fdatasync
        monkeypatch.setattr(os, "fdatasync", self.fdatasync)

    def fdatasync(self, file: int) -> None:
        """The seam: what `segments` calls."""
        if self.refuses:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._fdatasync(file)
        self.syncs += 1


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> _Disk:
    """The disk under the spool."""
    return _Disk(monkeypatch)


async def test_each_acknowledged_request_had_its_fsync(tmp_path: Path, disk: _Disk) -> None:
    """One after the other: none answers before a sync that began after it came."""
    async with running_hose(tmp_path, FakeQueue(), limits=never_cut()) as hose:
        for number in range(20):
            before = disk.syncs
            await hose.accept(event(number))
            assert disk.syncs > before


async def test_requests_that_come_together_share_one_fsync(tmp_path: Path, disk: _Disk) -> None:
    """That is what makes many small requests cheap."""
    async with running_hose(tmp_path, FakeQueue(), limits=never_cut()) as hose:
        before = disk.syncs
        await asyncio.gather(*(hose.accept(event(number)) for number in range(200)))
        assert disk.syncs - before <= 3


async def test_a_request_that_is_being_checked_is_waited_for(tmp_path: Path, disk: _Disk) -> None:
    """A large one and a small one share a commit, though the small one was ready long before; but not for ever."""
    large = b"\n".join(event(number) for number in range(3_000))
    async with running_hose(tmp_path, FakeQueue(), limits=never_cut()) as hose:
        await hose.accept(event(-1))
        before = disk.syncs
        await asyncio.gather(hose.accept(event(-2)), hose.accept(large))
        assert disk.syncs - before == 1
        with hose._committer.coming():  # and never comes
            await hose.accept(event(-3))


async def test_what_fills_envelopes_is_cut_in_its_own_commit(tmp_path: Path) -> None:
    """All of it arrives once, in the order of its numbers, before and after a crash."""
    queue = FakeQueue()
    limits = replace(never_cut(), cuts=replace(never_cut().cuts, envelope_bytes=256 * 1024))
    hose = make_hose(tmp_path / "first", queue, limits=limits)
    await hose.start()
    accepted = [event(number) for number in range(730)]
    for start, end in ((0, 50), (50, 300), (300, 730)):
        await hose.accept(b"\n".join(accepted[start:end]))
        assert hose._spool.numbers(hose.hose_id).bulk.cut_to == end // 100 * 100
    left = await crash(hose, into=tmp_path / "left")
    await recover(left, queue)
    assert queue.lines() == accepted
    check_numbers(queue)


async def test_a_refused_commit_gives_back_what_came_with_it(tmp_path: Path, disk: _Disk) -> None:
    """It is in no later envelope, though it would have filled one."""
    queue = FakeQueue()
    async with running_hose(tmp_path, queue) as hose:
        await hose.accept(event(1))
        disk.refuses = True
        with capture_logs(), pytest.raises(IntakeError):
            await hose.accept(b"\n".join(event(number) for number in range(1_000, 1_250)))
        disk.refuses = False
        await hose._clock.sleep(0)
        while hose.is_refusing:
            await asyncio.sleep(0.001)
        await hose.accept(event(2))
    assert sorted(queue.lines()) == [event(1), event(2)]
    check_numbers(queue)


async def test_a_cut_is_durable_before_it_is_sent(tmp_path: Path, disk: _Disk) -> None:
    """When the queue sees an envelope, its record was synced."""
    synced_at_send: list[int] = []
    queue = FakeQueue()

    def _fault(envelopes: object) -> dict[int, str]:
        synced_at_send.append(disk.syncs)
        return {}

    queue.fault = _fault
    async with running_hose(tmp_path, queue) as hose:
        await hose.accept(event(1))
        accepted_syncs = disk.syncs
        await asyncio.wait_for(queue.until(lambda: len(queue.sent) >= 1), 10)
    assert synced_at_send[0] > accepted_syncs


async def test_a_full_disk_is_503_and_service_returns_by_itself(tmp_path: Path, disk: _Disk) -> None:
    """Nothing of what was refused is kept, what is accepted later is, each once, also over a restart."""
    queue = FakeQueue()
    async with running_hose(tmp_path, queue) as hose:
        await hose.accept(event(1))
        disk.refuses = True
        with capture_logs() as logs:
            for number in (2, 3):
                with pytest.raises(IntakeError) as caught:
                    await hose.accept(event(number))
                assert (caught.value.status, caught.value.retry_after_seconds) == (503, 5)
        assert [entry["event"] for entry in logs] == ["hose_spool_failed"]
        assert hose.is_refusing
        disk.refuses = False
        await asyncio.wait_for(_recovered(hose), 10)
        await hose.accept(event(3))
    await recover(tmp_path, queue)
    assert sorted(queue.lines()) == [event(1), event(3)]
    check_numbers(queue)


async def test_a_group_refused_by_the_disk_is_not_found_there_later(tmp_path: Path, disk: _Disk) -> None:
    """Though its bytes were written before the fsync failed, and the process dies right after the next success."""
    queue = FakeQueue()
    hose = make_hose(tmp_path / "a", queue, limits=never_cut())
    await hose.start()
    await hose.accept(event(1))
    disk.refuses = True
    with capture_logs(), pytest.raises(IntakeError):
        await hose.accept(event(2))
    disk.refuses = False
    await asyncio.wait_for(_recovered(hose), 10)
    await hose.accept(event(3))
    await recover(await crash(hose, into=tmp_path / "b"), queue)
    assert sorted(queue.lines()) == [event(1), event(3)]
    check_numbers(queue)


async def test_a_disk_that_refuses_while_stopping_loses_nothing(tmp_path: Path, disk: _Disk) -> None:
    """The closing envelopes come with the next start."""
    queue = FakeQueue()
    hose = make_hose(tmp_path, queue, limits=never_cut())
    await hose.start()
    await hose.accept(event(1))
    disk.refuses = True
    with capture_logs():
        await hose.stop(1)
    assert queue.sent == []
    disk.refuses = False
    await recover(tmp_path, queue)
    assert queue.lines() == [event(1)]
    check_numbers(queue)


async def _recovered(hose: object) -> None:
    """The committer tries by itself, with back-off."""
    while hose.is_refusing:  # type: ignore[attr-defined] # any hose
        await asyncio.sleep(0.01)
