"""Corpus: request bodies made before any timing begins, and what must come of them. No event in it appears twice.

In order of time, as mail servers tell of what happens: the demo's generator tells of one message to its end before it begins the
next, which nobody sees, and which is easier to compress (68 against 88 bytes an event) and harder to count (a minute in every
envelope is a row of its own).

Kept in the machine's temporary directory for a few hours, because making it takes longer than sending it.
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec
import zstandard

from omni_etl.clock import SystemClock
from omni_etl.demo.expectation import Expectation
from omni_etl.demo.life import events

BODY_EVENTS: Final = 2_500
PARTS_COUNT: Final = 2  # each made in a process of its own
SEED: Final = 20170407
PERIOD_SECONDS: Final = 6 * 3_600  # events older than this are made anew
ZSTD_LEVEL: Final = 1  # as `omni_etl.Hose` sends
VERSION: Final = 2
EXPECTED_FILE: Final = "expected.json"


@dataclass(frozen=True, slots=True)
class Corpus:
    """Bodies of NDJSON in files, and what the demo's own counting says that they hold."""

    directory: str
    events: int
    body_events: int
    bodies_count: int
    raw_bytes: int  # of all lines, line ends included
    body_bytes: int  # as sent, zstd
    types: Mapping[str, int]  # events by type
    suppressions: int  # entries that must be in the list in the end

    def bodies(self) -> Iterator[bytes]:
        """Requests as they are sent: NDJSON in zstd. Those of one sender's account stand together, in order of time."""
        return read_bodies(Path(self.directory))

    def lines(self) -> Iterator[list[bytes]]:
        """The same uncompressed, body by body."""
        decompressor = zstandard.ZstdDecompressor()
        for body in self.bodies():
            yield decompressor.decompress(body).split(b"\n")


def corpus(count: int, *, body_events: int = BODY_EVENTS, stretched: int = 1) -> Corpus:
    """Make `count` events, or take those that an earlier run made; they happened in so many times the time."""
    period = int(SystemClock().now() // PERIOD_SECONDS)
    place = Path(tempfile.gettempdir()) / "omni-bench-corpus"
    directory = place / f"{VERSION}-{period}-{count}-{body_events}-{stretched}"
    if not (directory / EXPECTED_FILE).exists():
        _forget_others(place, period)
        place.mkdir(exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=place, prefix="making-"))
        try:
            found = _make(made, count, body_events, stretched, directory)
            (made / EXPECTED_FILE).write_text(json.dumps(asdict(found)))
            made.rename(directory)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
    return msgspec.json.decode((directory / EXPECTED_FILE).read_bytes(), type=Corpus)


def read_bodies(directory: Path) -> Iterator[bytes]:
    """The bodies of the corpus in this directory."""
    for part in sorted(directory.glob("part-*")):
        yield from msgspec.msgpack.decode(part.read_bytes(), type=list[bytes])


@dataclass(frozen=True, slots=True)
class _Part:
    types: Counter[str]
    suppressed: set[tuple[str, str, bool]]
    bodies_count: int
    raw_bytes: int
    body_bytes: int


def _make(made: Path, count: int, body_events: int, stretched: int, directory: Path) -> Corpus:
    counts = [count // PARTS_COUNT + (number < count % PARTS_COUNT) for number in range(PARTS_COUNT)]
    now = SystemClock().now()
    work = [
        (made / f"part-{number}", each, SEED + number, (now, stretched), body_events)
        for number, each in enumerate(counts)
    ]
    with multiprocessing.get_context("spawn").Pool(PARTS_COUNT) as pool:
        parts = pool.starmap(_make_part, work)
    types = sum((part.types for part in parts), Counter[str]())
    return Corpus(
        directory=str(directory),
        events=types.total(),
        body_events=body_events,
        bodies_count=sum(part.bodies_count for part in parts),
        raw_bytes=sum(part.raw_bytes for part in parts),
        body_bytes=sum(part.body_bytes for part in parts),
        types=dict(types),
        suppressions=len(set[tuple[str, str, bool]]().union(*(part.suppressed for part in parts))),
    )


def _make_part(path: Path, count: int, seed: int, when: tuple[float, int], body_events: int) -> _Part:
    expected = Expectation()
    bodies: list[bytes] = []
    raw_bytes = 0
    compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
    now, stretched = when
    lines = iter(sorted(events(count, seed=seed, now=now), key=_time))
    if stretched > 1:
        lines = (_earlier(line, int(now), stretched) for line in lines)
    while chunk := list(islice(lines, body_events)):
        expected.add(chunk)
        body = b"\n".join(chunk)
        raw_bytes += len(body) + 1
        bodies.append(compressor.compress(body))
    path.write_bytes(msgspec.msgpack.encode(bodies))
    return _Part(expected.types, expected.suppressed, len(bodies), raw_bytes, sum(map(len, bodies)))


def _earlier(line: bytes, now: int, stretched: int) -> bytes:
    at = _time(line)
    return line.replace(b'"timestamp":"%d"' % at, b'"timestamp":"%d"' % (now - stretched * (now - at)), 1)


class _Timed(msgspec.Struct):
    timestamp: str


def _time(line: bytes) -> int:
    return int(_timed.decode(line).timestamp)


def _forget_others(place: Path, period: int) -> None:
    for each in place.glob("*-*"):
        if not each.name.startswith((f"{VERSION}-{period}-", "making-")):
            shutil.rmtree(each, ignore_errors=True)


_timed: Final = msgspec.json.Decoder(_Timed)
