"""hose.reserve: room that is held in good times."""

import errno
import os
from pathlib import Path

import pytest

from omni_etl.hose.reserve import Reserve, is_full


def test_it_holds_real_room_until_it_is_released(tmp_path: Path) -> None:
    """Blocks, not a hole in a file; and it can be taken again."""
    reserve = Reserve(tmp_path / "reserve", 100_000)
    for _ in range(2):
        assert reserve.hold()
        assert (tmp_path / "reserve").stat().st_blocks * 512 >= 100_000
        reserve.release()
        assert list(tmp_path.iterdir()) == []
    reserve.release()


def test_what_an_earlier_start_held_is_held_again(tmp_path: Path) -> None:
    """Also on a disk that has become full meanwhile, and with another size."""
    Reserve(tmp_path / "reserve", 1_000).hold()
    assert Reserve(tmp_path / "reserve", 2_000).hold()
    assert (tmp_path / "reserve").stat().st_size == 2_000


def test_where_there_is_not_all_of_the_room_it_takes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part would be missing to whoever makes room."""
    monkeypatch.setattr(os, "posix_fallocate", _no_space)
    reserve = Reserve(tmp_path / "reserve", 1_000)
    assert not reserve.hold()
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    assert reserve.hold()


def test_a_failing_disk_is_not_a_full_one() -> None:
    """Room does not help it."""
    assert [is_full(OSError(number, "")) for number in (errno.ENOSPC, errno.EDQUOT, errno.EIO)] == [True, True, False]


def _no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
