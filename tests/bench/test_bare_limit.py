"""The bare limit packs envelopes as large as it says, and loses no line on the way."""

from __future__ import annotations

from pathlib import Path

import msgspec
import zstandard
from bench.bare_limit import packed
from bench.corpus import Corpus
from bench.inserter import grouped, read, write

from omni_etl.demo.life import events
from omni_etl.envelope import open_header, open_payload

EVENTS = 3_000
ENVELOPE_BYTES = 64 * 1024


def test_envelopes_hold_every_line_and_are_near_their_size(tmp_path: Path) -> None:
    """All but the last are within a tenth of the size asked for; all lines are there, grouped by type."""
    load, lines = _corpus(tmp_path)

    envelopes = packed(load, ENVELOPE_BYTES)

    sizes = [len(header) + len(payload) for header, payload in envelopes]
    assert all(0.9 * ENVELOPE_BYTES < size < 1.1 * ENVELOPE_BYTES for size in sizes[:-1]), sizes
    opened = [open_payload(open_header(header), payload) for header, payload in envelopes]
    assert sorted(line for each in opened for line in each.raw.splitlines()) == sorted(lines)


def test_inserts_share_envelopes_up_to_their_limit(tmp_path: Path) -> None:
    """In order, none left out; an envelope larger than the limit goes alone."""
    load, _ = _corpus(tmp_path)
    path = tmp_path / "envelopes"
    write(path, packed(load, ENVELOPE_BYTES))
    counts = [open_header(header).event_count for header, _ in read(path)]

    groups = list(grouped(read(path), 2 * counts[0]))

    assert len(counts) > 2
    assert [header.event_count for group in groups for header, _ in group] == counts
    assert len(groups[0]) == 2
    assert [len(group) for group in grouped(read(path), 1)] == [1] * len(counts)


def _corpus(directory: Path) -> tuple[Corpus, list[bytes]]:
    lines = list(events(EVENTS, seed=1, now=1_764_000_000.0))
    body = zstandard.ZstdCompressor().compress(b"\n".join(lines))
    (directory / "part-0").write_bytes(msgspec.msgpack.encode([body]))
    sizes = {"body_events": EVENTS, "bodies_count": 1, "raw_bytes": 0, "body_bytes": len(body)}
    return Corpus(directory=str(directory), events=EVENTS, types={}, suppressions=0, **sizes), lines
