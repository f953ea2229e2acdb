"""embedded.store_app: what clients of ClickHouse send, and what is too much."""

import asyncio
import base64
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlencode

import clickhouse_connect
import pyarrow as pa
import pytest
import urllib3
from clickhouse_connect.driver.client import Client
from tests.store_process import PASSWORD, StoreProcess

from omni_etl.embedded.store_app import StoreLimits, store_app
from omni_etl.embedded.store_engine import Engine, Result
from omni_etl.embedded.store_statement import Statement

LIMITS = StoreLimits(waiting_count_max=2, body_bytes_max=1000, bodies_bytes_max=1500)


@dataclass
class FakeEngine:
    """Keeps what it is told to run; waits where it is told to."""

    ran: list[str] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4))

    def submit(self, statement: Statement) -> Future[Result]:
        """Have it answered."""
        return self.pool.submit(self._run, statement)

    def _run(self, statement: Statement) -> Result:
        self.ran.append(statement.sql)
        if statement.rows is None and "wait" in statement.sql:
            self.go_on.wait()
        return Result(statement.sql.encode(), 0, 0, 0, 0.0)


@dataclass
class Answer:
    """Of the app."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    """No chDB."""
    made = FakeEngine()
    yield made
    made.go_on.set()
    made.pool.shutdown()


async def call(
    engine: FakeEngine, chunks: list[bytes], *, method: str = "POST", password: str = "", **parameters: str
) -> Answer:
    """One request to an app, through ASGI."""
    app = store_app(cast("Engine", engine), password=password, limits=LIMITS)
    return await send(app, chunks, method=method, query=urlencode(parameters).encode())


async def send(app: Any, chunks: list[bytes], *, method: str = "POST", query: bytes = b"", headers: Any = ()) -> Answer:
    """One request, body in chunks."""
    scope = {"type": "http", "method": method, "path": "/", "query_string": query, "headers": list(headers)}
    incoming = iter([*chunks, b""])
    answer = Answer()

    async def receive() -> dict[str, Any]:
        chunk = next(incoming)
        return {"type": "http.request", "body": chunk, "more_body": bool(chunk)}

    async def keep(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            answer.body += message["body"]

    await app(scope, receive, keep)
    return answer


async def test_the_statement_is_the_query_and_the_body(engine: FakeEngine) -> None:
    """In the URL, in the body, or begun in one and ended in the other."""
    assert (await call(engine, [], method="GET", query="SELECT 1")).body == b"SELECT 1"
    assert (await call(engine, [b"SELECT", b" 1"])).body == b"SELECT 1"
    assert (await call(engine, [b"VALUES (1)"], query="INSERT INTO t")).body == b"INSERT INTO t\nVALUES (1)"
    assert (await call(engine, [])).body == b"Ok.\n"


async def test_get_only_reads(engine: FakeEngine) -> None:
    """As ClickHouse has it: a link must not drop a table."""
    answer = await call(engine, [], method="GET", query="DROP TABLE t")
    assert (answer.status, answer.headers["x-clickhouse-exception-code"]) == (403, "164")
    assert engine.ran == []


async def test_a_body_that_is_too_long_is_refused(engine: FakeEngine) -> None:
    """Before it is kept, as rows and as text."""
    for query in ("INSERT INTO t FORMAT CSV", "SELECT 1"):
        answer = await call(engine, [b"x" * 600, b"x" * 600], query=query)
        assert (answer.status, answer.headers["x-clickhouse-exception-code"]) == (413, "307")
    assert engine.ran == []


async def test_a_full_host_says_so(engine: FakeEngine) -> None:
    """Statements beyond the limit are answered 503 at once, and taken again when there is room."""
    app = store_app(cast("Engine", engine), password="", limits=LIMITS)
    waiting = [asyncio.create_task(send(app, [b"SELECT wait()"])) for _ in range(2)]
    while len(engine.ran) < 2:
        await asyncio.sleep(0)
    answer = await send(app, [b"SELECT 1"])
    assert (answer.status, answer.headers["x-clickhouse-exception-code"]) == (503, "202")
    engine.go_on.set()
    assert [each.status for each in await asyncio.gather(*waiting)] == [200, 200]
    assert (await send(app, [b"SELECT 1"])).status == 200


async def test_bodies_together_have_a_limit(engine: FakeEngine) -> None:
    """Memory does not grow with the number of clients."""
    app = store_app(cast("Engine", engine), password="", limits=LIMITS)
    first = asyncio.create_task(send(app, [b"SELECT wait() --" + b"x" * 900]))
    while not engine.ran:
        await asyncio.sleep(0)
    assert (await send(app, [b"--" + b"x" * 900])).status == 503
    engine.go_on.set()
    assert (await first).status == 200
    assert (await send(app, [b"SELECT '" + b"x" * 900 + b"'"])).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        [(b"x-clickhouse-user", b"default"), (b"x-clickhouse-key", b"secret")],
        [(b"authorization", b"Basic " + base64.b64encode(b"default:secret"))],
    ],
)
async def test_the_password_is_asked_for(engine: FakeEngine, headers: list[tuple[bytes, bytes]]) -> None:
    """In each way in which clients send it; a wrong one is 401 with ClickHouse's 516."""
    app = store_app(cast("Engine", engine), password="secret", limits=LIMITS)
    assert (await send(app, [b"SELECT 1"], headers=headers)).status == 200
    assert (await send(app, [], query=b"password=secret&query=SELECT+1", method="GET")).status == 200
    for wrong in ([], [(b"x-clickhouse-key", b"Secret")], [(b"authorization", b"Basic !")]):
        answer = await send(app, [b"SELECT 1"], headers=wrong)
        assert (answer.status, answer.headers["x-clickhouse-exception-code"]) == (401, "516")
    assert len(engine.ran) == 2


async def test_a_broken_body_is_an_answer(engine: FakeEngine) -> None:
    """No UTF-8, no such encoding, not what its encoding says."""
    app = store_app(cast("Engine", engine), password="", limits=LIMITS)
    assert (await send(app, [b"SELECT '\xff'"])).status == 400
    assert (await send(app, [b"x"], headers=[(b"content-encoding", b"snappy")])).status == 501
    assert (await send(app, [b"x"], headers=[(b"content-encoding", b"gzip")])).status == 400


@pytest.fixture
def client(store_host: StoreProcess) -> Iterator[Client]:
    """clickhouse-connect as it comes, compression and all."""
    host, port = store_host.address.split(":")
    made = clickhouse_connect.get_client(host=host, port=int(port), password=PASSWORD)
    made.command("CREATE OR REPLACE TABLE app_test (a UInt32, b LowCardinality(String)) ENGINE = MergeTree ORDER BY a")
    yield made
    made.close()


def test_clickhouse_connect_works_unmodified(client: Client) -> None:
    """Native, Arrow, raw and compressed inserts; bound values, long ones in a form; settings of one query."""
    client.insert("app_test", [[1, "x"], [2, "ü"]], column_names=["a", "b"])
    client.insert_arrow("app_test", pa.table({"a": pa.array([3], pa.uint32()), "b": ["it's"]}))
    client.raw_insert("app_test", insert_block=b'{"a":4}\n', fmt="JSONEachRow")
    assert client.query("SELECT a, b FROM app_test ORDER BY a").result_rows == [
        (1, "x"),
        (2, "ü"),
        (3, "it's"),
        (4, ""),
    ]
    assert client.query("SELECT a FROM app_test WHERE b = {b:String}", parameters={"b": "it's"}).result_rows == [(3,)]
    assert client.query("SELECT length({b:String})", parameters={"b": "x" * 20_000}).result_rows == [(20_000,)]
    assert client.query("SELECT getSetting('max_threads')", settings={"max_threads": 1}).result_rows == [(1,)]
    assert client.query_arrow("SELECT a FROM app_test").num_rows == 4
    assert client.query("SELECT a FROM app_test LIMIT 0").column_names == ("a",)
    assert client.ping()


def test_an_error_reaches_the_client_with_its_code(client: Client) -> None:
    """Named as ClickHouse names it."""
    with pytest.raises(clickhouse_connect.driver.exceptions.DatabaseError, match="UNKNOWN_TABLE") as refused:
        client.query("SELECT * FROM absent")
    assert refused.value.code == 60


def test_ping_needs_no_password(store_host: StoreProcess) -> None:
    """Whoever waits for the host knows no secret."""
    assert urllib3.request("GET", f"http://{store_host.address}/ping").data == b"Ok.\n"


async def test_only_an_insert_with_its_rows_asks_what_is_absent(engine: FakeEngine) -> None:
    """Anything else that names envelopes is a mistake of its sender, and is not run; naming none asks nothing."""
    answer = await call(engine, [b""], query="SELECT 1", omni_absent="a,b")
    assert answer.status == 400
    assert engine.ran == []
    assert (await call(engine, [b""], query="SELECT 1", omni_absent="")).status == 200


async def test_rubbish_for_a_password_is_a_wrong_one(engine: FakeEngine) -> None:
    """401, also where it is no base64 and not even ASCII."""
    app = store_app(cast("Engine", engine), password="p", limits=LIMITS)
    for header in (b"Basic p\xc3\xa9", b"Basic p", b"Basic /w==", b"Bearer p"):
        assert (await send(app, [b"SELECT 1"], headers=[(b"authorization", header)])).status == 401
    assert engine.ran == []


async def test_a_field_of_a_form_that_is_no_utf8_is_the_callers_fault(engine: FakeEngine) -> None:
    """400, no fault of ours."""
    body = b'--x\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT \xff\r\n--x--\r\n'
    app = store_app(cast("Engine", engine), password="", limits=LIMITS)
    answer = await send(app, [body], headers=[(b"content-type", b"multipart/form-data; boundary=x")])
    assert (answer.status, engine.ran) == (400, [])
