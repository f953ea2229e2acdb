"""The HTTP side of the store host: `/ping`, and statements by GET or POST with all that a client may put into them.

Statements in URL or body, settings and `param_x` in URL or form, inserts in any format, plain or compressed. Answers are
whole (as with wait_end_of_query=1) and never compressed. There are no sessions, no external tables and one user.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from email.parser import BytesParser
from typing import Final

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from omni_etl import telemetry
from omni_etl.embedded import store_answer as codes
from omni_etl.embedded.store_answer import answer, refusal
from omni_etl.embedded.store_engine import Engine, StatementError
from omni_etl.embedded.store_statement import (
    ENCODINGS,
    READING,
    RowsFile,
    Statement,
    split_rows,
    statement,
    takes_rows,
    uncompressed,
)

MIB: Final = 1024 * 1024
REASON_CHARACTERS_MAX: Final = 300
OK: Final = "Ok.\n"
CLIENT_GONE: Final = 499  # nginx's number; nobody reads it


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """What the host takes on at a time; more is answered 503, and one body that is too long 413."""

    threads: int = 2  # to read, and as many to write
    waiting_count_max: int = 64
    body_bytes_max: int = 256 * MIB
    bodies_bytes_max: int = 512 * MIB


def store_app(engine: Engine, *, password: str, limits: StoreLimits) -> Starlette:
    """The ASGI app for an engine that is open when the first request comes; an empty password lets everybody in."""
    desk = _Desk(engine, password, limits)
    return Starlette(
        routes=[
            Route("/ping", _ping, methods=["GET"]),
            Route("/", desk.take, methods=["GET", "POST"]),
        ]
    )


async def _ping(_request: Request) -> Response:
    return PlainTextResponse(OK)


class _Desk:
    """Takes requests, as many as its limits allow, and has them run."""

    def __init__(self, engine: Engine, password: str, limits: StoreLimits) -> None:
        self._engine = engine
        self._password = password
        self._limits = limits
        self._waiting_count = 0
        self._bodies_bytes = 0
        self._log = telemetry.get_logger()

    async def take(self, request: Request) -> Response:
        """Answer one request; what the engine refuses is an answer too."""
        try:
            with self._place(), ExitStack() as held:
                self._check_password(request)
                found = await self._statement(request, held)
                if not found.sql.strip():
                    return PlainTextResponse(OK)
                if request.method != "POST" and not READING.match(found.sql):
                    raise StatementError(codes.READONLY, "GET only reads; use POST")
                if found.absent and found.rows is None:  # our own clients ask so at their start, to know us
                    return refusal(StatementError(codes.BAD_ARGUMENTS, "omni_absent goes with an insert and its rows"))
                return answer(found, await asyncio.wrap_future(self._engine.submit(found)))
        except StatementError as error:
            self._log.warning("store_query_failed", code=error.code, reason=error.text[:REASON_CHARACTERS_MAX])
            return refusal(error)
        except ClientDisconnect:
            return Response(status_code=CLIENT_GONE)

    async def _statement(self, request: Request, held: ExitStack) -> Statement:
        asked = dict(request.query_params)
        asked.setdefault("default_format", request.headers.get("x-clickhouse-format", ""))
        asked.setdefault("database", request.headers.get("x-clickhouse-database", ""))
        encoding = request.headers.get("content-encoding", "")
        if encoding not in ENCODINGS:
            raise StatementError(
                codes.NOT_IMPLEMENTED, f"Content-Encoding {encoding}; known are {', '.join(ENCODINGS)}"
            )
        sql = asked.get("query", "")
        if takes_rows(sql):
            rows = held.enter_context(closing(RowsFile()))
            await self._receive(request, rows.write, held)
            return statement(asked, sql, rows, encoding)
        body = bytearray()
        await self._receive(request, body.extend, held)
        plain = self._plain(bytes(body), encoding)
        content_type = request.headers.get("content-type", "")
        if content_type.startswith("multipart/form-data"):
            asked |= _form(content_type, plain)
            return statement(asked, asked.get("query", ""))
        return _from_body(asked, b"\n".join(each for each in (sql.encode(), plain) if each), held)

    async def _receive(self, request: Request, keep: Callable[[bytes], object], held: ExitStack) -> None:
        size_bytes = 0
        async for chunk in request.stream():
            size_bytes += len(chunk)
            if size_bytes > self._limits.body_bytes_max:
                raise StatementError(codes.QUERY_IS_TOO_LARGE, f"a body may hold {self._limits.body_bytes_max} bytes")
            if self._bodies_bytes + len(chunk) > self._limits.bodies_bytes_max:
                raise StatementError(codes.TOO_MANY_QUERIES, f"{self._bodies_bytes} bytes of bodies wait already")
            held.enter_context(self._room(len(chunk)))
            try:
                keep(chunk)
            except OSError as error:
                raise StatementError(codes.NO_SPACE, f"no memory for the body: {error}") from None

    def _plain(self, body: bytes, encoding: str) -> bytes:
        try:
            plain = uncompressed(body, encoding, bytes_max=self._limits.body_bytes_max)
        except OSError as error:
            raise StatementError(codes.BAD_ARGUMENTS, f"the body is not {encoding}: {error}") from None
        if plain is None:
            raise StatementError(
                codes.QUERY_IS_TOO_LARGE, f"a body may hold {self._limits.body_bytes_max} bytes uncompressed"
            )
        return plain

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._waiting_count >= self._limits.waiting_count_max:
            raise StatementError(codes.TOO_MANY_QUERIES, f"{self._waiting_count} statements wait already")
        self._waiting_count += 1
        try:
            yield
        finally:
            self._waiting_count -= 1

    @contextmanager
    def _room(self, size_bytes: int) -> Iterator[None]:
        self._bodies_bytes += size_bytes
        try:
            yield
        finally:
            self._bodies_bytes -= size_bytes

    def _check_password(self, request: Request) -> None:
        if not hmac.compare_digest(_given_password(request).encode(), self._password.encode()) and self._password:
            raise StatementError(codes.AUTHENTICATION_FAILED, "Authentication failed: password is incorrect")


def _given_password(request: Request) -> str:
    """In the order in which ClickHouse looks: its own header, HTTP's, the URL."""
    if key := request.headers.get("x-clickhouse-key"):
        return key
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
        except ValueError:  # not base64, or what it holds is no UTF-8
            return ""
    return request.query_params.get("password", "")


def _form(content_type: str, body: bytes) -> dict[str, str]:
    """The fields of a form; clients use one where parameters are too long for a URL."""
    message = BytesParser().parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    fields: dict[str, str] = {}
    for part in message.walk():
        name = part.get_param("name", header="content-disposition")
        payload = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(payload, bytes):
            try:
                fields[name] = payload.decode()
            except UnicodeDecodeError as error:
                raise StatementError(codes.BAD_ARGUMENTS, f"a field of the form is no UTF-8: {error}") from None
    return fields


def _from_body(asked: dict[str, str], body: bytes, held: ExitStack) -> Statement:
    try:
        split = split_rows(body)
        if split is None:
            return statement(asked, body.decode())
    except UnicodeDecodeError as error:
        raise StatementError(codes.SYNTAX_ERROR, f"the statement is no UTF-8: {error}") from None
    sql, plain = split
    rows = held.enter_context(closing(RowsFile()))
    rows.write(plain)
    return statement(asked, sql, rows)
