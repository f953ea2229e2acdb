"""`omni up` at the ports that settings name, and on SQS where they name an endpoint; prints its places when ready.

The command itself takes free ports where a program asks, and brings no SQS: here both must stay over a restart.
"""

import asyncio
import json
import random
import sys
from pathlib import Path

from omni_etl import settings
from omni_etl.cli.process import run_role
from omni_etl.clock import SystemClock
from omni_etl.embedded.sqs_server import CREDENTIALS
from omni_etl.embedded.up import GivenQueue, Up
from omni_etl.wiring.queues import SQS_URL, build_provisioner


async def main(mine: settings.Settings, stop: asyncio.Event) -> int:
    """Run until Ctrl-C."""
    is_sqs = bool(mine.sqs_endpoint_url.get_secret_value())
    system = Up(
        mine,
        any_ports=False,
        clock=SystemClock(),
        rng=random.SystemRandom(),
        queue=_on_sqs(mine) if is_sqs else None,
    )
    try:
        print(json.dumps((await system.start()).as_dict()), flush=True)  # noqa: T201 the one line that is waited for
        watching, stopping = asyncio.create_task(system.watch()), asyncio.create_task(stop.wait())
        await asyncio.wait({watching, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            await watching
        watching.cancel()
    finally:
        await system.stop()
    return 0


def _on_sqs(mine: settings.Settings) -> GivenQueue:
    named = {"queue_url": SQS_URL}
    given = settings.load(**{**mine.model_dump(include=mine.model_fields_set), **named})

    async def create() -> None:
        provisioner = build_provisioner(given, SystemClock())
        try:
            await provisioner.create()
        finally:
            await provisioner.close()

    return GivenQueue(named, create, None, CREDENTIALS)


if __name__ == "__main__":
    loaded = settings.load(data_dir=Path(sys.argv[1]))
    sys.exit(run_role(lambda stop: main(loaded, stop), loaded, watch_stdin=False))
