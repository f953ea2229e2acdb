"""The network between the system and its queue: forwards bytes. `python -m tests.chaos.wire HOST PORT TARGET_PORT`.

Killed, the way is gone and every connection reset; stopped, the way is silent, and nobody hears that it is gone.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress

import uvloop

from omni_etl.embedded.starter import watch_starter

PIECE_BYTES = 256 * 1024


async def serve(host: str, port: int, target_port: int) -> None:
    """For ever."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target_port)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))

    server = await asyncio.start_server(forward, host, port)
    await server.serve_forever()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
    writer.close()


if __name__ == "__main__":
    watch_starter(0, stop=lambda: os._exit(1))
    uvloop.run(serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
