"""`omni hose` as a process."""

from __future__ import annotations

import asyncio

from omni_etl.cli.process import serve_http
from omni_etl.heap import keep_heap
from omni_etl.hose import intake_app
from omni_etl.settings import Settings
from omni_etl.wiring.hose import build_hose


async def serve(settings: Settings, stop: asyncio.Event) -> int:
    """Take events until `stop`; then close the hose's id and send what is left for as long as stopping may take."""
    keep_heap()
    hose = build_hose(settings)
    await hose.start()
    watching = asyncio.create_task(hose.watch())
    watching.add_done_callback(lambda _task: stop.set())  # a part that ended unasked ends the process
    try:
        await serve_http(
            intake_app(hose), setting="OMNI_HOSE_PORT", host=settings.hose_host, port=settings.hose_port, stop=stop
        )
    finally:
        await hose.stop(settings.stop_seconds_max / 2)
    await watching
    return 0
