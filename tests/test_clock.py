"""clock: the machine's, and one that tests move."""

import asyncio

from omni_etl.clock import ManualClock, SystemClock


async def turn() -> None:
    """Let whoever woke go on."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_machines_clock_moves_forward() -> None:
    """Both of its faces, and a sleep takes at least its time."""
    clock = SystemClock()
    now, monotonic = clock.now(), clock.monotonic()
    await clock.sleep(0.01)
    assert clock.monotonic() - monotonic >= 0.01
    assert 1_700_000_000 < now < clock.now()


async def test_a_manual_clock_moves_only_when_told() -> None:
    """A sleeper wakes when its time has come, not a moment before; nobody else does."""
    clock = ManualClock(100.0)
    sleepers = [asyncio.create_task(clock.sleep(seconds)) for seconds in (1.0, 2.0)]
    await turn()
    clock.advance(0.9)
    await turn()
    assert [each.done() for each in sleepers] == [False, False]
    clock.advance(0.1)
    await turn()
    assert [each.done() for each in sleepers] == [True, False]
    assert (clock.now(), clock.monotonic()) == (101.0, 1.0)
    clock.advance(1.0)
    await sleepers[1]


async def test_a_sleeper_that_gave_up_disturbs_nobody() -> None:
    """Cancelled sleepers are passed over."""
    clock = ManualClock()
    gone, there = asyncio.create_task(clock.sleep(1.0)), asyncio.create_task(clock.sleep(1.0))
    await turn()
    gone.cancel()
    await turn()
    clock.advance(1.0)
    await there


async def test_no_time_is_no_wait() -> None:
    """A pause of nothing gives others a turn and ends."""
    await ManualClock().sleep(0)
    await ManualClock().sleep(-1)
