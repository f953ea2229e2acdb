"""The marker row: the ledger's word on an envelope, as the last row of the block that holds the envelope's own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa

from omni_etl.envelope import Envelope

MILLISECONDS: Final = 1000


def marker_columns(envelope: Envelope, *, rows: int) -> dict[str, Any]:
    """The columns of the ledger for a block of `rows` rows, the last of which is the marker.

    `row_count` counts the envelope's events, also where a table holds fewer rows for them.
    """
    cut_at = datetime.fromtimestamp(envelope.header.cut_at_ms / MILLISECONDS, UTC)
    return {
        "marker_key": _last(envelope.key, pa.string(), rows),
        "checksum": _last(envelope.header.checksum, pa.string(), rows),
        "row_count": _last(envelope.header.event_count, pa.uint32(), rows),
        "cut_day": pa.repeat(pa.scalar(cut_at.date()), rows),
    }


def _last(value: object, kind: Any, rows: int) -> Any:
    """A column whose last row holds `value`; in the others the engine puts its default for null."""
    return pa.concat_arrays([pa.nulls(rows - 1, kind), pa.array([value], kind)])
