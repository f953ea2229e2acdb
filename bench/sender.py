"""The mail server: pushes bodies at a hose as fast as it takes them. `python -m bench.sender HOSE_URL DIRECTORY`.

A process of its own. It says "ready" when all bodies are in memory, begins at a line on its standard input, and ends with
one line of JSON (`Sent`). A full hose is waited for as it asks.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import math
import os
import resource
import sys
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from bench.corpus import read_bodies
from omni_etl.clock import SystemClock
from omni_etl.demo.usage import Usage
from omni_etl.embedded.starter import watch_starter

CONNECTIONS: Final = 4
NO_ANSWER: Final = 0
NO_ANSWER_SECONDS: Final = 0.2
RETRIED: Final = frozenset({NO_ANSWER, 429, 503})
OK: Final = 200
HEADERS: Final = {"Content-Type": "application/x-ndjson", "Content-Encoding": "zstd"}


class Sent(msgspec.Struct, frozen=True):
    """What became of it; times are of the machine's monotonic clock."""

    accepted: int
    answers_full: int  # 503s that were waited for
    started_at: float
    ended_at: float
    cpu_seconds: float
    resident_mib_max: float

    @property
    def seconds(self) -> float:
        """From the first request to the last answer."""
        return self.ended_at - self.started_at

    @property
    def usage(self) -> Usage:
        """What sending cost."""
        return Usage(self.cpu_seconds, self.resident_mib_max, self.resident_mib_max)


class _Accepted(msgspec.Struct):
    accepted: int


class Load:
    """Bodies shared by some connections. With a time limit they come again and again, each a new request."""

    def __init__(self, url: str, bodies: list[bytes], *, seconds: float | None, clock: SystemClock) -> None:
        self._host = urlsplit(url).netloc
        self._bodies: Iterator[bytes] = iter(bodies) if seconds is None else itertools.cycle(bodies)
        self._clock = clock
        self._until = math.inf if seconds is None else clock.monotonic() + seconds
        self._turn = threading.Lock()
        self._pause = threading.Event()

    def send(self, _number: int) -> tuple[int, int]:
        """One connection, until nothing is left: how many events were accepted, and how often the hose was full."""
        accepted = full = 0
        connection = http.client.HTTPConnection(self._host)
        for body in self._mine():
            headers = {**HEADERS, "Idempotency-Key": uuid.uuid4().hex}
            while self._seconds_left > 0:
                status, retry_after_seconds, content = _post(connection, body, headers)
                if status == OK:
                    accepted += msgspec.json.decode(content, type=_Accepted).accepted
                    break
                if status not in RETRIED:
                    raise SystemExit(f"the hose answered {status}: {content[:300].decode(errors='replace')}")
                full += 1
                self._pause.wait(min(retry_after_seconds, self._seconds_left))
        return accepted, full

    def _mine(self) -> Iterator[bytes]:
        while self._seconds_left > 0:
            with self._turn:
                body = next(self._bodies, None)
            if body is None:
                return
            yield body

    @property
    def _seconds_left(self) -> float:
        return max(0.0, self._until - self._clock.monotonic())


def _post(connection: http.client.HTTPConnection, body: bytes, headers: dict[str, str]) -> tuple[int, float, bytes]:
    """A connection that the hose closed is made anew; the key makes the repetition harmless."""
    try:
        connection.request("POST", "/v1/events", body, headers)
        response = connection.getresponse()
        return response.status, float(response.headers.get("Retry-After") or 0), response.read()
    except (ConnectionError, http.client.HTTPException) as error:
        connection.close()
        return NO_ANSWER, NO_ANSWER_SECONDS, str(error).encode()


def main() -> None:
    """Wait for the word, send, and say what became of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("hose_url")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--seconds", type=float, default=None)
    wish = parser.parse_args()
    bodies = list(read_bodies(wish.directory))
    print("ready", flush=True)
    sys.stdin.readline()
    watch_starter(sys.stdin.fileno(), stop=lambda: os._exit(1))
    clock = SystemClock()
    started_at = clock.monotonic()
    load = Load(wish.hose_url, bodies, seconds=wish.seconds, clock=clock)
    with ThreadPoolExecutor(wish.connections) as pool:
        counts = list(pool.map(load.send, range(wish.connections)))
    mine = resource.getrusage(resource.RUSAGE_SELF)
    sent = Sent(
        accepted=sum(accepted for accepted, _ in counts),
        answers_full=sum(full for _, full in counts),
        started_at=started_at,
        ended_at=clock.monotonic(),
        cpu_seconds=mine.ru_utime + mine.ru_stime,
        resident_mib_max=mine.ru_maxrss / 1024,
    )
    print(msgspec.json.encode(sent).decode(), flush=True)


if __name__ == "__main__":
    main()
