"""hose.spool: what the hose has promised, on its own disk."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.hose.fake_queue import lines_of
from tests.hose.hoses import event

from omni_etl.clock import ManualClock
from omni_etl.envelope import open_header
from omni_etl.errors import SettingsError
from omni_etl.hose import segments
from omni_etl.hose.batcher import Cut
from omni_etl.hose.records import Accepted, scan, unpack_lines
from omni_etl.hose.recovery import read_history
from omni_etl.hose.requests import RememberLimits, RequestMemory
from omni_etl.hose.seal import Order
from omni_etl.hose.segments import path_of, segments_in
from omni_etl.hose.spool import Group, Spool, SpoolLimits, lock


@asynccontextmanager
async def _spool(directory: Path, *, segment_bytes: int = 1) -> AsyncIterator[Spool]:
    """By default every commit begins a segment."""
    clock = ManualClock()
    memory = RequestMemory(directory, clock=clock, limits=RememberLimits(10, 10))
    limits = SpoolLimits(segment_bytes=segment_bytes, entry_bytes_max=10_000)
    history = read_history(directory, memory.remember)
    spool = Spool(directory, history=history, hose_id="h", clock=clock, limits=limits, memory=memory)
    yield spool
    await spool.close()
    memory.close()


def _cut(*numbers: int) -> Group:
    return Group(orders=[Order("h", Cut("bulk", [("delivery", [event(number) for number in numbers])]))])


def _accepted(*numbers: int) -> Group:
    return Group(accepted={"bulk": [("delivery", [event(number) for number in numbers])]})


async def test_a_cut_is_read_back_as_it_was_sealed(tmp_path: Path) -> None:
    """From the disk, so that no backlog lies in memory."""
    async with _spool(tmp_path) as spool:
        await spool.commit(_accepted(1, 2))
        [(place, sealed)] = (await spool.commit(_cut(1, 2))).cuts
        envelope = spool.read(place)
        assert envelope == sealed.record.envelope
        assert lines_of(envelope) == [event(1), event(2)]
        assert spool.numbers("h").bulk.cut_to == 2
        assert spool.unsent_count == 1


async def test_a_segment_goes_only_when_all_in_it_is_cut_and_confirmed_and_oldest_first(tmp_path: Path) -> None:
    """Each of the three reasons to stay, one after the other."""
    async with _spool(tmp_path) as spool:
        await spool.commit(_accepted(1, 2))  # segment 1
        await spool.commit(_cut(1))  # segment 2
        [(second, _)] = (await spool.commit(_cut(2))).cuts  # segment 3
        await spool.commit(Group())  # segment 4
        assert spool.removable() == [1]
        spool.confirm([second])
        assert spool.removable() == [1]  # 2 is unsent, and 3 stands behind it
        await spool.remove(spool.removable())
        assert segments_in(tmp_path) == [2, 3, 4]
        spool.confirm([segments.place_of(2, _first_record_end(tmp_path, 2))])
        assert spool.removable() == [2, 3]


async def test_events_not_cut_keep_their_segment(tmp_path: Path) -> None:
    """Their only copy is there."""
    async with _spool(tmp_path) as spool:
        await spool.commit(_accepted(1, 2))
        await spool.commit(_cut(1))
        await spool.commit(Group())
        assert spool.removable() == []


async def test_no_segment_goes_before_the_memory_of_requests_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a repeated request could be taken for a new one after a power loss."""
    async with _spool(tmp_path) as spool:
        await spool.commit(Group())
        await spool.commit(Group())
        monkeypatch.setattr(RequestMemory, "make_durable", lambda _: False)
        await spool.remove(spool.removable())
        assert segments_in(tmp_path) == [1, 2]
        monkeypatch.undo()
        await spool.remove(spool.removable())
        assert segments_in(tmp_path) == [2]


async def test_a_refused_commit_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers roll back, and the same numbers are given to the next."""
    async with _spool(tmp_path, segment_bytes=10_000) as spool:
        await spool.commit(_accepted(1))
        before = (spool.numbers("h"), spool.unsent_count, spool.size_bytes)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", _refuse)
            with pytest.raises(OSError, match="refused"):
                await spool.commit(Group(accepted=_accepted(2).accepted, orders=_cut(1).orders))
        assert (spool.numbers("h"), spool.unsent_count, spool.size_bytes) == before
        committed = await spool.commit(_accepted(3))
        assert committed.accepted_to == {"bulk": 2}
        assert committed.segment == 2


async def test_a_damaged_envelope_is_said_aloud_and_its_segment_copied(tmp_path: Path) -> None:
    """Wrong bytes are never sent."""
    async with _spool(tmp_path) as spool:
        await spool.commit(_accepted(1))
        [(place, _)] = (await spool.commit(_cut(1))).cuts
        path = path_of(tmp_path, segments.segment_of(place))
        path.write_bytes(path.read_bytes()[:-1])
        with capture_logs() as logs:
            assert spool.read(place) is None
        assert [entry["event"] for entry in logs] == ["hose_spool_damaged"]
        assert path.with_suffix(".damaged").exists()


def test_a_directory_belongs_to_one_hose(tmp_path: Path) -> None:
    """The second is told which setting to change; when the first ends, however it ends, the next may have it."""
    held = lock(tmp_path / "new")
    with pytest.raises(SettingsError, match=r"OMNI_SPOOL_DIR.*another hose"):
        lock(tmp_path / "new")
    os.close(held)
    os.close(lock(tmp_path / "new"))


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """Waiting cannot heal it."""
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="OMNI_SPOOL_DIR"):
        lock(tmp_path / "file" / "spool")


def _first_record_end(directory: Path, segment: int) -> int:
    framed = segments.read_record(directory, segments.place_of(segment, 0))
    assert framed is not None
    return framed.end


def _refuse(_: int) -> None:
    raise OSError("refused")


async def test_what_fills_an_envelope_at_once_is_written_only_there(tmp_path: Path) -> None:
    """Events that came before and new ones in one cut; only the rest of the new ones as lines."""
    async with _spool(tmp_path, segment_bytes=1_000_000) as spool:
        await spool.commit(_accepted(1, 2))
        group = Group(accepted=_accepted(3, 4, 5).accepted, orders=_cut(1, 2, 3, 4).orders)
        [(place, sealed)] = (await spool.commit(group)).cuts
        assert sealed.record.accepts
        envelope = spool.read(place)
        assert envelope is not None
        assert open_header(envelope.header).accepted_count == 5
        numbers = spool.numbers("h").bulk
        assert (numbers.accepted_to, numbers.cut_to) == (5, 4)
    framed = [each.record for each in scan(path_of(tmp_path, 1).read_bytes())]
    accepted = [each for each in framed if isinstance(each, Accepted)]
    assert [(each.cuts, [unpack_lines(block) for block in each.blocks]) for each in accepted] == [
        (0, [[event(1), event(2)]]),
        (1, [[event(5)]]),
    ]
    assert framed.index(sealed.record) < framed.index(accepted[1])


async def test_a_refused_group_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither numbers nor envelopes; the same group can come again."""
    async with _spool(tmp_path, segment_bytes=1_000_000) as spool:
        await spool.commit(_accepted(1))
        group = Group(accepted=_accepted(2, 3).accepted, orders=_cut(1, 2).orders)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", _refuse)
            with pytest.raises(OSError, match="refused"):
                await spool.commit(group)
        assert (spool.numbers("h").bulk.accepted_to, spool.unsent_count) == (1, 0)
        await spool.commit(group)
        assert (spool.numbers("h").bulk.accepted_to, spool.unsent_count) == (3, 1)
    history = read_history(tmp_path, lambda _: None)
    assert (history.hoses["h"].bulk.accepted_to, len(history.unsent)) == (3, 1)
