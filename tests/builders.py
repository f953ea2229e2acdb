"""Make an event, an envelope, a sealed envelope; what tests of many stages share, and nothing else."""

import hashlib
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import orjson

from omni_etl import event
from omni_etl.envelope import Envelope, Lane, SealedEnvelope, Stamp, open_header, open_payload, pack

HOSE_ID = "0123456789abcdef0123456789abcdef"
CUT_AT_MS = 1_764_000_000_000


def line(type_name: str = "delivery", **fields: Any) -> bytes:
    """A canonical line; its `event_id` is made from the fields unless given."""
    event_id = hashlib.sha256(f"{type_name} {fields}".encode()).hexdigest()[:16]
    members = {"type": type_name, "timestamp": "1764000000", "event_id": event_id, **fields}
    checked = event.check(orjson.dumps(members))
    assert checked is not None
    return checked.line


def sealed(
    lines: Sequence[bytes], *, seq: int = 1, lane: Lane = "bulk", hose_id: str = HOSE_ID, cut_at_ms: int = CUT_AT_MS
) -> SealedEnvelope:
    """An envelope as a queue carries it."""
    by_type = {name: list(group) for name, group in groupby(sorted(lines, key=_type_of), key=_type_of)}
    stamp = Stamp(hose_id, lane, seq, cut_at_ms, last_seq={lane: seq}, accepted_count=len(lines))
    return pack(by_type, stamp)


def envelope(
    lines: Sequence[bytes], *, seq: int = 1, lane: Lane = "bulk", hose_id: str = HOSE_ID, cut_at_ms: int = CUT_AT_MS
) -> Envelope:
    """An envelope as a service gets it."""
    closed = sealed(lines, seq=seq, lane=lane, hose_id=hose_id, cut_at_ms=cut_at_ms)
    return open_payload(open_header(closed.header), closed.payload)


def _type_of(line: bytes) -> str:
    type_name: str = orjson.loads(line)["type"]
    return type_name
