"""`omni up` with queue and database in PostgreSQL; prints its places as `omni up --json` does."""

import asyncio
import base64
import hashlib
import json
import random
import sys
from pathlib import Path

from omni_etl import settings
from omni_etl.cli.process import run_role
from omni_etl.clock import SystemClock
from omni_etl.embedded.up import GivenQueue, Up


async def main(mine: settings.Settings, url: str, stop: asyncio.Event) -> int:
    """Run until Ctrl-C."""
    key = base64.b64encode(
        hashlib.sha256(url.encode()).digest()
    ).decode()  # the same for whoever starts on this database again
    named = {"queue_url": url, "database_url": url, "secrets_key": key}
    given = GivenQueue(named, prepare=lambda: asyncio.sleep(0))
    system = Up(mine, any_ports=True, clock=SystemClock(), rng=random.SystemRandom(), queue=given)
    try:
        print(json.dumps((await system.start()).as_dict()), flush=True)  # noqa: T201 the one line that is waited for
        watching, stopping = asyncio.create_task(system.watch()), asyncio.create_task(stop.wait())
        await asyncio.wait({watching, stopping}, return_when=asyncio.FIRST_COMPLETED)
        watching.cancel()
    finally:
        await system.stop()
    return 0


if __name__ == "__main__":
    loaded = settings.load(data_dir=Path(sys.argv[1]))
    sys.exit(run_role(lambda stop: main(loaded, sys.argv[2], stop), loaded, watch_stdin=False))
