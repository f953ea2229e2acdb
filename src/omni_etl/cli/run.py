"""`omni run`: the parent and its children."""

from __future__ import annotations

import asyncio
from typing import Any

from omni_etl import telemetry
from omni_etl.cli.process import EXIT_FAILED
from omni_etl.errors import OmniError
from omni_etl.heap import settle_heap
from omni_etl.settings import Settings
from omni_etl.supervisor.fleet import Fleet
from omni_etl.wiring.supervisor import Parent, build_parent


async def serve(settings: Settings, stop: asyncio.Event) -> int:
    """Receive until `stop`, then end in order; raises what stops the parent. An error of our own is logged whole."""
    try:
        return await _serve(settings, stop)
    except* OmniError:
        raise
    except* Exception:  # noqa: BLE001 the process meets its loop: logged whole, and it ends as failed
        telemetry.get_logger().exception("run_failed")
    return EXIT_FAILED


async def _serve(settings: Settings, stop: asyncio.Event) -> int:
    parent = build_parent(settings)
    opening = asyncio.create_task(parent.open())
    if not await _unless_stopped(opening, stop):
        return 0
    settle_heap()
    telemetry.get_logger().info("run_started", services=parent.services)
    working = asyncio.create_task(_work(parent, opening.result()))
    try:
        if not await _unless_stopped(working, stop):
            await _stop(parent, settings.stop_seconds_max)
    finally:
        await parent.children.stop(settings.stop_seconds_max / 4)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        await parent.close()
    return 0


async def _work(parent: Parent, epoch: str) -> None:
    fleet = Fleet(
        registry=parent.engines.registry,
        forgetting=parent.forgetting,
        supervisor=parent.supervisor,
        children=parent.children,
        clock=parent.clock,
    )
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(parent.keep_tracker(epoch))
        tasks.create_task(fleet.run())
        tasks.create_task(parent.audit.run())
        tasks.create_task(parent.supervisor.run(parent.children))


async def _stop(parent: Parent, seconds_max: float) -> None:
    log = telemetry.get_logger()
    log.info("run_stopping")
    given_back = await parent.supervisor.stop(seconds_max / 2)
    log.info("run_stopped", **given_back)


async def _unless_stopped(task: asyncio.Task[Any], stop: asyncio.Event) -> bool:
    """Wait for the task; False where `stop` came first: then it goes on, and is its owner's to end."""
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not task.done():
        return False
    await task
    return True
