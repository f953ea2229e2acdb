"""The bell: whoever waits is woken, and no ring is missed."""

import asyncio

from omni_etl.bell import Bell
from omni_etl.clock import ManualClock


async def test_a_ring_wakes_everybody() -> None:
    """Without any time passing."""
    bell, clock = Bell(), ManualClock()
    waiting = [asyncio.create_task(bell.wait(0, clock=clock, seconds=60)) for _ in range(3)]
    await asyncio.sleep(0)
    bell.ring()
    await asyncio.wait_for(asyncio.gather(*waiting), 5)


async def test_a_ring_between_looking_and_waiting_is_not_missed() -> None:
    """The number seen before the look tells."""
    bell, clock = Bell(), ManualClock()
    seen = bell.rings
    bell.ring()
    await asyncio.wait_for(bell.wait(seen, clock=clock, seconds=60), 5)


async def test_time_ends_the_wait() -> None:
    """On the clock that was given."""
    bell, clock = Bell(), ManualClock()
    waiting = asyncio.create_task(bell.wait(0, clock=clock, seconds=60))
    while not clock._sleepers:
        await asyncio.sleep(0)
    assert not waiting.done()
    clock.advance(60)
    await asyncio.wait_for(waiting, 5)
