"""A real child for tests: `child_program.py NAME FD`, where the name says how it behaves."""

import asyncio
import random
import socket
import sys

from tests.supervisor.service_alive import AliveService

from omni_etl.clock import SystemClock
from omni_etl.supervisor.channel import Channel
from omni_etl.supervisor.child import Child, end_with_parent


async def main(name: str, descriptor: int) -> None:
    """As `omni_etl.cli.child` does it."""
    end_with_parent(descriptor)
    if name == "crashes":
        sys.exit(3)
    if name == "never-ready":
        await asyncio.Event().wait()
    channel = await Channel.over(socket.socket(fileno=descriptor))
    service = AliveService(name)
    await Child(service=service, channel=channel, clock=SystemClock(), rng=random.Random(1)).serve()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
