"""`python -m omni_etl.cli.child SERVICE FD`: one service in a process of its own. Started by the parent, not by people."""

from __future__ import annotations

import random
import socket
import sys

import uvloop

from omni_etl import settings, telemetry
from omni_etl.clock import SystemClock
from omni_etl.errors import SettingsError
from omni_etl.heap import MIB, keep_heap, settle_heap
from omni_etl.supervisor.channel import Channel, Unfit
from omni_etl.supervisor.child import Child, end_with_parent
from omni_etl.wiring.services import build_service


async def serve(name: str, descriptor: int) -> None:
    """Build the service and work for the parent at the other end of `descriptor`."""
    end_with_parent(descriptor)
    keep_heap(kept_bytes=256 * MIB, mapped_bytes=None)  # opened envelopes, their columns, and those as an insert's body
    channel = await Channel.over(socket.socket(fileno=descriptor))
    try:
        loaded = settings.load()
        telemetry.configure_logs(loaded.log_level, loaded.log_format)
        service = build_service(name, loaded)
    except SettingsError as error:
        await channel.send(Unfit(error.setting, error.found, error.fix))
        return
    settle_heap()
    await Child(service=service, channel=channel, clock=SystemClock(), rng=random.SystemRandom()).serve()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2])))
