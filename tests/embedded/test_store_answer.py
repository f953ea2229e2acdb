"""embedded.store_answer: headers and statuses as clients of ClickHouse know them."""

import orjson
import pytest

from omni_etl.embedded.store_answer import answer, refusal
from omni_etl.embedded.store_engine import Result, StatementError
from omni_etl.embedded.store_statement import Statement

RESULT = Result(body=b"1\n", rows=1, rows_read=5, bytes_read=40, seconds=0.25)


@pytest.mark.parametrize(
    ("code", "status"),
    [(62, 400), (516, 401), (164, 403), (60, 404), (307, 413), (202, 503), (243, 503), (241, 500), (9, 500)],
)
def test_an_error_has_its_code_and_its_text(code: int, status: int) -> None:
    """Clients read the code from a header, people the text."""
    found = refusal(StatementError(code, "no"))
    assert (found.status_code, found.headers["x-clickhouse-exception-code"]) == (status, str(code))
    assert found.body == b"Code: %d. DB::Exception: no\n" % code


def test_the_engine_s_own_text_stays_as_it_is() -> None:
    """Its code is said once."""
    assert refusal(StatementError(60, "Code: 60. DB::Exception: x")).body == b"Code: 60. DB::Exception: x\n"


def test_a_reading_statement_says_what_it_read() -> None:
    """Format and summary stand in headers."""
    found = answer(Statement("SELECT 1 FORMAT CSV"), RESULT)
    assert found.headers["x-clickhouse-format"] == "CSV"
    summary = orjson.loads(found.headers["x-clickhouse-summary"])
    assert (summary["read_rows"], summary["result_rows"], summary["written_rows"]) == ("5", "1", "0")
    assert summary["elapsed_ns"] == "250000000"


def test_a_writing_statement_says_what_it_wrote() -> None:
    """And has no format, as it has no result."""
    found = answer(Statement("INSERT INTO t SELECT 1"), RESULT)
    assert "x-clickhouse-format" not in found.headers
    assert orjson.loads(found.headers["x-clickhouse-summary"])["written_rows"] == "5"
