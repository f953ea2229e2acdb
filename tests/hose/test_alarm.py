"""hose.alarm: a ring or a time."""

import asyncio

from omni_etl.clock import ManualClock
from omni_etl.hose.alarm import Alarm


async def test_a_ring_before_the_wait_is_not_lost() -> None:
    """Else a request that came a moment too early would wait for the next one."""
    alarm = Alarm(ManualClock())
    alarm.ring()
    await alarm.wait(until=None)


async def test_time_wakes_the_waiter() -> None:
    """Without any ring."""
    clock = ManualClock()
    waiting = asyncio.create_task(Alarm(clock).wait(until=5.0))
    await clock.sleep(0)
    await clock.sleep(0)
    assert not waiting.done()
    clock.advance(5)
    await waiting


async def test_a_ring_wakes_the_waiter_before_its_time() -> None:
    """Whichever is first."""
    alarm = Alarm(ManualClock())
    waiting = asyncio.create_task(alarm.wait(until=1e9))
    alarm.ring()
    await waiting
