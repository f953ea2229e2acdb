"""The mail server that publishes every event: `python -m bench.rabbitmq_publisher PORT DIRECTORY NUMBER OF`.

It says "ready" when its share of the corpus is in memory, begins at a line on its standard input, and says how many events
the broker confirmed. Confirms are pipelined: up to `UNCONFIRMED_MAX` messages are under way.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import zstandard

from bench.bare_limit import type_of
from bench.corpus import read_bodies
from bench.frames import CHANNEL, Confirms, Publishing
from bench.rabbitmq_topology import EXCHANGE, ROUTING_KEY_OF, connect

UNCONFIRMED_MAX: Final = 4_000
WRITE_EVENTS: Final = 500
READ_BYTES: Final = 64 * 1024

Message = tuple[str, bytes]  # routing key and body


def publish(port: int, messages: list[Message], *, begin: object = None) -> int:
    """Publish them all and wait until all are confirmed; `begin` is called once the channel is open."""
    connection = connect(port)
    connection.channel(CHANNEL).confirm_select()
    stream = connection.transport.sock
    stream.settimeout(None)
    if callable(begin):
        begin()
    publishing, confirms = Publishing(EXCHANGE, ROUTING_KEY_OF.values()), Confirms()
    published = 0
    while confirms.count < len(messages):
        part = messages[published : published + WRITE_EVENTS]
        if part and published - confirms.count <= UNCONFIRMED_MAX - WRITE_EVENTS:
            stream.sendall(publishing.frames(part))
            published += len(part)
            continue
        received = stream.recv(READ_BYTES)
        if not received:
            raise ConnectionError("the broker ended the connection")
        confirms.feed(received)
    return confirms.count


def share(directory: Path, number: int, of: int) -> list[Message]:
    """Every so-and-so-many-th body of the corpus, as messages."""
    decompressor = zstandard.ZstdDecompressor()
    messages: list[Message] = []
    for body in list(read_bodies(directory))[number::of]:
        messages += [(ROUTING_KEY_OF[type_of(line)], line) for line in decompressor.decompress(body).split(b"\n")]
    return messages


def _ready() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


def main() -> None:
    """One publisher."""
    port, directory, number, of = sys.argv[1:]
    print(publish(int(port), share(Path(directory), int(number), int(of)), begin=_ready), flush=True)
    sys.stdin.readline()  # stays until it is ended, so that its costs can be read


if __name__ == "__main__":
    main()
