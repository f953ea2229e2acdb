"""The store host: without its password nothing is read, let alone run; with it, requests are bounded."""

import asyncio
from typing import Any

import pytest
from hypothesis import strategies as st
from tests.fuzz.budget import MIB, altered, fuzz, within_memory

from omni_etl.embedded.store_app import StoreLimits, _form, store_app
from omni_etl.embedded.store_engine import Engine, StatementError
from omni_etl.embedded.store_statement import ENCODINGS, INSERT_WITH_ROWS, READING, split_rows, takes_rows, uncompressed

PASSWORD = "the-right-one"
INSERT = b'/* why */ INSERT INTO `a b`."t" (a, b) SETTINGS x=1 FORMAT JSONEachRow\n{"a":1}\n'


class _NoEngine(Engine):
    def __init__(self) -> None:
        """Not opened: whoever reaches it fails."""


async def asked(method: str, query: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> tuple[int, bytes]:
    """One request, in process; status and body."""
    messages: list[Any] = []
    scope = {"type": "http", "method": method, "path": "/", "raw_path": b"/", "query_string": query, "headers": headers}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        messages.append(message)

    await store_app(_NoEngine(), password=PASSWORD, limits=StoreLimits(body_bytes_max=MIB))(scope, receive, send)
    return messages[0]["status"], b"".join(each.get("body", b"") for each in messages)


@fuzz(
    method=st.sampled_from(["GET", "POST"]),
    query=st.binary(max_size=40)
    | st.sampled_from([b"query=SELECT%201", b"password=", b"password=%ff", b"password=wrong"]),
    header=st.sampled_from([b"authorization", b"x-clickhouse-key", b"content-encoding", b"content-type"]),
    value=st.binary(max_size=40)
    | st.sampled_from([b"Basic Og==", b"Basic ZGVmYXVsdDp3cm9uZw==", b"Basic \xff", b"Bearer x"]),
    body=st.binary(max_size=60),
)
def test_a_stranger(method: str, query: bytes, header: bytes, value: bytes, body: bytes) -> None:
    """401, and neither the engine nor the body is touched."""
    status, said = asyncio.run(asked(method, query, [(header, value)], body))
    assert status == 401, said


@fuzz(body=altered(INSERT))
def test_statements(body: bytes) -> None:
    """A statement and its rows together are what came."""
    text = body.decode("latin-1")
    takes_rows(text)
    READING.match(text)
    try:
        split = split_rows(body)
    except UnicodeDecodeError:
        return  # answered as a syntax error
    if split is not None:
        assert split[0].encode() + split[1] == body


@fuzz(body=st.binary(max_size=200), encoding=st.sampled_from(sorted(ENCODINGS)))
def test_rubbish_for_compressed_bodies(body: bytes, encoding: str) -> None:
    """An OSError, or at most so much."""
    with within_memory(4 * MIB):
        try:
            plain = uncompressed(body, encoding, bytes_max=1000)
        except OSError:
            return
    assert plain is None or len(plain) <= 1000


@fuzz(
    body=altered(b'--x\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT 1\r\n--x--\r\n'),
    boundary=st.sampled_from(["x", "", "\0", "é"]),
)
def test_forms(body: bytes, boundary: str) -> None:
    """Fields, or an error that is answered."""
    try:
        fields = _form(f"multipart/form-data; boundary={boundary}", body)
    except StatementError:
        return
    assert all(isinstance(each, str) for each in fields.values())


@pytest.mark.fuzz
@pytest.mark.parametrize(
    "text",
    ["/**/" * 5_000, "/*" * 20_000, " " * 60_000, "--\n" * 20_000, "(" * 60_000, "INSERT INTO t " + "(" * 60_000],
)
def test_comments_without_number(text: str) -> None:
    """Each regular expression reads them once; one that tried every way would not come back."""
    assert READING.match(text + "X") is None
    assert INSERT_WITH_ROWS.match(text + "X") is None


def test_the_password_opens() -> None:
    """The 401 above is the password's: with the right one an empty statement is answered."""
    assert asyncio.run(asked("POST", b"", [(b"x-clickhouse-key", PASSWORD.encode())], b""))[0] == 200
