"""`omni run`: the parent and its children."""

from __future__ import annotations

import asyncio
import contextlib

from omni_etl import telemetry
from omni_etl.settings import Settings
from omni_etl.supervisor.fleet import Fleet
from omni_etl.wiring.supervisor import Parent, build_parent


async def serve(settings: Settings, stop: asyncio.Event) -> int:
    """Receive until `stop`, then end in order; raises what stops the parent."""
    parent = build_parent(settings)
    opening = asyncio.create_task(parent.open())
    if not await _unless_stopped(opening, stop):
        return 0
    telemetry.get_logger().info("run_started", services=parent.services)
    fleet = Fleet(
        registry=parent.engines.registry, supervisor=parent.supervisor, children=parent.children, clock=parent.clock
    )
    working = asyncio.create_task(parent.supervisor.run(parent.children))
    talking = asyncio.create_task(fleet.run())
    try:
        if not await _unless_stopped(working, stop):
            await _stop(parent, settings.stop_seconds_max)
    finally:
        talking.cancel()
        await parent.children.stop(settings.stop_seconds_max / 4)
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working
        await parent.close()
    return 0


async def _stop(parent: Parent, seconds_max: float) -> None:
    log = telemetry.get_logger()
    log.info("run_stopping")
    given_back = await parent.supervisor.stop(seconds_max / 2)
    log.info("run_stopped", **given_back)


async def _unless_stopped(task: asyncio.Task[None], stop: asyncio.Event) -> bool:
    """Wait for the task; False where `stop` came first (an opening is then cancelled by its owner's end)."""
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if task.done():
        await task
        return True
    return False
