"""The mail server at a steady rate. `python -m bench.pacer HOSE_URL DIRECTORY --skip N --count N --bodies-per-second R`.

A process of its own, as `bench.sender` is, with the same words: "ready", a line, then `Sent`. A body that is late goes at once,
so that a system that cannot keep up has a backlog and not an easier load.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from bench.corpus import read_bodies
from bench.sender import Load, Sent
from omni_etl.clock import SystemClock
from omni_etl.embedded.starter import watch_starter

CONNECTIONS: Final = 8  # more than wait at once, so that one slow answer does not hold the next body back
CLOCK: Final = SystemClock()


class Paced(list[bytes]):
    """Bodies that come out one by one, each at its time."""

    def __init__(self, bodies: Iterator[bytes], per_second: float) -> None:
        super().__init__(bodies)
        self._per_second = per_second
        self._pause = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        """The first at once."""
        started_at = CLOCK.monotonic()
        for number, body in enumerate(super().__iter__()):
            self._pause.wait(max(0.0, started_at + number / self._per_second - CLOCK.monotonic()))
            yield body


def main() -> None:
    """Wait for the word, send, and say what became of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("hose_url")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--skip", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--bodies-per-second", type=float, required=True)
    wish = parser.parse_args()
    mine = islice(read_bodies(wish.directory), wish.skip, wish.skip + wish.count)
    bodies = Paced(mine, wish.bodies_per_second)
    print("ready", flush=True)
    sys.stdin.readline()
    watch_starter(sys.stdin.fileno(), stop=lambda: os._exit(1))
    started_at = CLOCK.monotonic()
    load = Load(wish.hose_url, bodies, seconds=None, clock=CLOCK)
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        counts = list(pool.map(load.send, range(CONNECTIONS)))
    cost = resource.getrusage(resource.RUSAGE_SELF)
    sent = Sent(
        accepted=sum(accepted for accepted, _ in counts),
        answers_full=sum(full for _, full in counts),
        started_at=started_at,
        ended_at=CLOCK.monotonic(),
        cpu_seconds=cost.ru_utime + cost.ru_stime,
        resident_mib_max=cost.ru_maxrss / 1024,
    )
    print(msgspec.json.encode(sent).decode(), flush=True)


if __name__ == "__main__":
    main()
