"""hose.room: bytes of requests in memory."""

import asyncio

import pytest

from omni_etl.errors import SpoolFullError
from omni_etl.hose.room import Room


def test_room_is_refused_while_others_hold_it_and_free_again_after() -> None:
    """Full is an answer, and only for as long as it is true."""
    room = Room(100)
    with room.hold(60):
        with pytest.raises(SpoolFullError), room.hold(41):
            pass
        with room.hold(40):
            pass
    with room.hold(100):
        pass


def test_one_request_alone_finds_room() -> None:
    """A limit below the longest body must not refuse it for ever."""
    with Room(10).hold(1_000):
        pass


async def test_who_waits_for_room_has_it_when_others_leave_enough() -> None:
    """Not before, and not only a part."""
    room = Room(100)
    with room.hold(60) as first, room.hold(0) as second:
        waiting = asyncio.create_task(second.wait_for(70))
        await asyncio.sleep(0)
        first.change(40)
        await asyncio.sleep(0)
        assert not waiting.done()
        first.change(30)
        await waiting
        with pytest.raises(SpoolFullError):
            first.change(31)
        first.change(0)
    with room.hold(100):
        pass
