"""Answers as ClickHouse's HTTP interface gives them: status, headers and the text of errors."""

from __future__ import annotations

from typing import Final

import orjson
from starlette.responses import Response

from omni_etl.embedded.store_engine import STANDS_ALREADY, Result, StatementError
from omni_etl.embedded.store_statement import READING, Statement

AUTHENTICATION_FAILED: Final = 516
TOO_MANY_QUERIES: Final = 202
NO_SPACE: Final = 243
READONLY: Final = 164
SYNTAX_ERROR: Final = 62
BAD_ARGUMENTS: Final = 36
NOT_IMPLEMENTED: Final = 48
QUERY_IS_TOO_LARGE: Final = 307

NANOSECONDS: Final = 1_000_000_000

# ClickHouse/src/Server/HTTP/exceptionCodeToHTTPStatus.cpp; what is not named there is 500. Only wrong credentials
# differ: 401 as in its documentation, so that generic clients ask for others.
_STATUS_OF: Final = {
    **dict.fromkeys((6, 26, 27, 36, 38, 41, 43, 53, 62, 70, 72, 117, 130, 131, 349, 457), 400),
    **dict.fromkeys((192, 193, 194, AUTHENTICATION_FAILED), 401),
    **dict.fromkeys((READONLY, 497), 403),
    **dict.fromkeys((46, 47, 50, 56, 60, 63, 73, 81, 115), 404),
    159: 408,
    STANDS_ALREADY: 409,
    QUERY_IS_TOO_LARGE: 413,
    NOT_IMPLEMENTED: 501,
    **dict.fromkeys((TOO_MANY_QUERIES, NO_SPACE, 209, 439), 503),
}


def answer(statement: Statement, result: Result) -> Response:
    """The result of a statement, with what it read and wrote in the summary."""
    is_reading = READING.match(statement.sql) is not None
    summary = {
        "read_rows": str(result.rows_read if is_reading else 0),
        "read_bytes": str(result.bytes_read if is_reading else 0),
        "written_rows": str(0 if is_reading else max(result.rows, result.rows_read)),
        "result_rows": str(result.rows if is_reading else 0),
        "elapsed_ns": str(int(result.seconds * NANOSECONDS)),
    }
    headers = {"X-ClickHouse-Summary": orjson.dumps(summary).decode(), "X-ClickHouse-Timezone": "UTC"}
    if is_reading:
        headers["X-ClickHouse-Format"] = statement.format
    return Response(result.body, headers=headers, media_type="application/octet-stream")


def refusal(error: StatementError) -> Response:
    """An error with its code in a header and its text as the body."""
    headers = {"X-ClickHouse-Exception-Code": str(error.code)}
    text = error.text if error.text.startswith("Code: ") else f"Code: {error.code}. DB::Exception: {error.text}"
    return Response(text + "\n", _STATUS_OF.get(error.code, 500), headers, media_type="text/plain")
