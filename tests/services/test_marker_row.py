"""services.marker_row: the ledger's word is the last row of the block, and only that."""

from datetime import date

import pyarrow as pa
import pytest
from tests import builders

from omni_etl.services.marker_row import marker_columns


@pytest.mark.parametrize("rows", [1, 4])
def test_only_the_last_row_is_the_marker(rows: int) -> None:
    """Key, checksum and number of events; the other rows leave them to the engine's defaults."""
    envelope = builders.envelope([builders.line(), builders.line()])
    found = pa.table(marker_columns(envelope, rows=rows)).to_pylist()
    assert [each["marker_key"] for each in found] == [None] * (rows - 1) + [envelope.key]
    assert [each["checksum"] for each in found] == [None] * (rows - 1) + [envelope.header.checksum]
    assert [each["row_count"] for each in found] == [None] * (rows - 1) + [2]


def test_every_row_lies_in_the_partition_of_the_cut() -> None:
    """The day of the cut, never of an event: one insert must not span two partitions."""
    envelope = builders.envelope([builders.line(timestamp="1")])
    found = pa.table(marker_columns(envelope, rows=3))["cut_day"].to_pylist()
    assert found == [date(2025, 11, 24)] * 3
