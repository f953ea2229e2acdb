"""services.marker_row: the ledger's word is the last row of the block, and only that."""

from datetime import date

import msgspec
import pyarrow as pa
import pytest
from tests import builders

from omni_etl.envelope import Envelope
from omni_etl.services.marker_row import marker_columns


@pytest.mark.parametrize("rows", [1, 4])
def test_only_the_last_row_is_the_marker(rows: int) -> None:
    """Key, checksum and number of events; the other rows leave them to the engine's defaults."""
    envelope = builders.envelope([builders.line(), builders.line()])
    found = pa.table(marker_columns(envelope, rows=rows)).to_pylist()
    assert [each["marker_key"] for each in found] == [None] * (rows - 1) + [envelope.key]
    assert [each["checksum"] for each in found] == [None] * (rows - 1) + [envelope.header.checksum]
    assert [each["row_count"] for each in found] == [None] * (rows - 1) + [2]


def test_the_marker_keeps_what_the_audit_asks() -> None:
    """What the header says, and how many events are left of those it counts, where some are of people who were erased."""
    envelope = builders.envelope([builders.line(), builders.line("bounce")], seq=7)
    left = Envelope(msgspec.structs.replace(envelope.header, types=envelope.header.types[:1]), b"")
    found = pa.table(marker_columns(left, rows=2)).to_pylist()[-1]
    assert {name: found[name] for name in ("row_count", "stored_count", "cut_at_ms", "accepted_count", "closing")} == {
        "row_count": 2,
        "stored_count": 1,
        "cut_at_ms": builders.CUT_AT_MS,
        "accepted_count": 2,
        "closing": 0,
    }
    assert (found["last_express"], found["last_bulk"]) == (0, 7)


def test_every_row_lies_in_the_partition_of_the_cut() -> None:
    """The day of the cut, never of an event: one insert must not span two partitions."""
    envelope = builders.envelope([builders.line(timestamp="1")])
    found = pa.table(marker_columns(envelope, rows=3))["cut_day"].to_pylist()
    assert found == [date(2025, 11, 24)] * 3
