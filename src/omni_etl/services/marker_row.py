"""The marker row: the ledger's word on an envelope, as the last row of the block that holds the envelope's own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa

from omni_etl.envelope import Envelope

MILLISECONDS: Final = 1000


def marker_columns(envelope: Envelope, *, rows: int) -> dict[str, Any]:
    """The columns of the ledger for a block of `rows` rows, the last of which is the marker.

    `row_count` counts the envelope's events, also where a table holds fewer rows for them; `stored_count` those that are left
    where some are of people who were erased. The rest is what the audit asks of a header.
    """
    header = envelope.header
    cut_at = datetime.fromtimestamp(header.cut_at_ms / MILLISECONDS, UTC)
    return {
        "marker_key": _last(envelope.key, pa.string(), rows),
        "checksum": _last(header.checksum, pa.string(), rows),
        "row_count": _last(header.event_count, pa.uint32(), rows),
        "stored_count": _last(sum(each.count for each in header.types), pa.uint32(), rows),
        "cut_at_ms": _last(header.cut_at_ms, pa.uint64(), rows),
        "last_express": _last(header.last_seq.get("express", 0), pa.uint64(), rows),
        "last_bulk": _last(header.last_seq.get("bulk", 0), pa.uint64(), rows),
        "accepted_count": _last(header.accepted_count, pa.uint64(), rows),
        "closing": _last(int(header.closing), pa.uint8(), rows),
        "cut_day": pa.repeat(pa.scalar(cut_at.date()), rows),
    }


def _last(value: object, kind: Any, rows: int) -> Any:
    """A column whose last row holds `value`; in the others the engine puts its default for null."""
    return pa.concat_arrays([pa.nulls(rows - 1, kind), pa.array([value], kind)])
