"""Producers: real clients of the hose, each with events of its own, held back so that events last as long as the faults."""

from __future__ import annotations

import itertools
import threading
import time
from itertools import islice
from typing import Final

from tests.chaos.expected import Expected

from omni_etl.client import Hose
from omni_etl.demo.life import events

PRODUCERS: Final = 4
CHUNK_EVENTS: Final = 250
EVENTS_MAX: Final = 10**9
TRIES_MAX: Final = 10**6  # a producer of ours never gives up: the key stays the same
TIMEOUT_SECONDS: Final = 30.0


class Load:
    """`allow` says how many events may have been sent by now; `finish` how many there shall be in the end, at least."""

    def __init__(self, hose_url: str, *, seed: int) -> None:
        self.accepted = 0
        self.wrong: list[str] = []
        self._issued = 0
        self._allowed = 0
        self._is_last = False
        self._turn = threading.Condition()
        self._now = time.time()  # noqa: TID251 real processes refuse events of long ago
        self._hoses = [Hose(hose_url, timeout_seconds=TIMEOUT_SECONDS, tries_max=TRIES_MAX) for _ in range(PRODUCERS)]
        self._counts = [Expected() for _ in range(PRODUCERS)]
        self._threads = [
            threading.Thread(target=self._produce, args=(number, seed * PRODUCERS + number), daemon=True)
            for number in range(PRODUCERS)
        ]
        for thread in self._threads:
            thread.start()

    def allow(self, count: int) -> None:
        """From now on so many in all."""
        with self._turn:
            self._allowed = max(self._allowed, count)
            self._turn.notify_all()

    def finish(self, count: int, *, seconds_max: float) -> Expected:
        """Send the rest, and answer what all of it comes to."""
        with self._turn:
            self._allowed = max(self._allowed, count)
            self._is_last = True
            self._turn.notify_all()
        until = time.monotonic() + seconds_max  # noqa: TID251 real processes have real time
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))  # noqa: TID251 see above
        if any(thread.is_alive() for thread in self._threads):
            self.wrong.append(f"producers did not end within {seconds_max:g} s")
            self.give_up()
        expected = Expected()
        for each in self._counts:
            expected.merge(each)
        return expected

    def give_up(self) -> None:
        """End every producer, whatever it waits for."""
        for hose in self._hoses:
            hose.give_up()
        with self._turn:
            self._is_last, self._allowed = True, 0
            self._turn.notify_all()

    def _produce(self, number: int, seed: int) -> None:
        lines = events(EVENTS_MAX, seed=seed, now=self._now)
        try:
            with self._hoses[number] as hose:
                while self._may_send():
                    chunk = [_named(line, number) for line in islice(lines, CHUNK_EVENTS)]
                    self._counts[number].add(chunk)
                    report = hose.send(chunk)
                    with self._turn:
                        self.accepted += report.accepted
                    if report.accepted != len(chunk):
                        self.wrong.append(f"{len(chunk)} sent, {report}")
        except Exception as error:  # noqa: BLE001 a thread's end must be seen by whoever waits for its events
            self.wrong.append(f"a producer gave up: {error!r}")

    def _may_send(self) -> bool:
        with self._turn:
            self._turn.wait_for(lambda: self._issued < self._allowed or self._is_last)
            if self._issued >= self._allowed:
                return False
            self._issued += CHUNK_EVENTS
            return True


def _named(line: bytes, producer: int) -> bytes:
    """The few that come without an id get one here, so that everybody can be asked for every event."""
    if b'"event_id":"' in line:
        return line
    return line.replace(b',"timestamp"', b',"event_id":"%d-%d","timestamp"' % (producer, next(_numbers)), 1)


_numbers = itertools.count(1)
