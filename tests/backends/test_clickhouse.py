"""backends.clickhouse: one insert is one part, a marker costs milliseconds, and every failure says what becomes of the lease."""

import asyncio
from urllib.parse import urlsplit

import pyarrow as pa
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError
from tests import builders
from tests.store_process import StoreProcess

from omni_etl import sql
from omni_etl.backends import clickhouse_verdicts as verdicts
from omni_etl.backends.clickhouse import ClickHouseStore
from omni_etl.clock import ManualClock, SystemClock
from omni_etl.envelope import Envelope
from omni_etl.errors import LeaseLapsedError, OmniError, PoisonError, SettingsError, UnavailableError
from omni_etl.services import message_events
from omni_etl.services.metrics import families

TABLE = "message_events"
LATER = 4e9
PARTS_WITH_A_ROW_GROUP_MAX = 8192  # rows of one granule, of which a look-up reads at most one a part


def envelope(seq: int = 1, *, events: int = 2, filling: str = "") -> Envelope:
    """An envelope of `events` events."""
    return builders.envelope([builders.line(filling=filling)] * events, seq=seq)


async def parts(store: ClickHouseStore, table: str) -> list[int]:
    """Rows of each part in this store's database."""
    found = await store.query(
        "SELECT rows FROM system.parts WHERE active AND database = currentDatabase() AND table = {table:String}",
        {"table": table},
    )
    return sorted(int(rows) for (rows,) in found)


@pytest.mark.parametrize(("events", "filling"), [(20_000, "x" * 1000), (200_000, "x" * 100)])
async def test_one_insert_is_one_part(clickhouse: ClickHouseStore, events: int, filling: str) -> None:
    """However many rows: two parts could be torn apart by a kill."""
    found = envelope(events=events, filling=filling)
    await clickhouse.insert(TABLE, message_events.columns(found), token="t", until=LATER)
    await clickhouse.insert("metrics", families.columns(found), token="t", until=LATER)
    assert await parts(clickhouse, TABLE) == [events + 1]
    assert len(await parts(clickhouse, "metrics")) == 1


async def test_a_marker_is_found_by_the_primary_key(clickhouse: ClickHouseStore) -> None:
    """A look-up reads one granule of few parts, however much is stored."""
    await clickhouse.query("SELECT 1")
    big = envelope(0, events=50_000)
    await clickhouse.insert(TABLE, message_events.columns(big), token="big", until=LATER)
    for seq in range(1, 30):
        found = envelope(seq)
        await clickhouse.insert(TABLE, message_events.columns(found), token=found.key, until=LATER)
        await clickhouse.insert("metrics", families.columns(found), token=found.key, until=LATER)
    for table in (TABLE, "metrics"):
        key = envelope(17).key
        explained = await clickhouse.query(
            f"EXPLAIN indexes = 1 SELECT checksum FROM {table} WHERE marker_key IN {{keys:Array(String)}}",
            {"keys": [key]},
        )
        text = "\n".join(line for (line,) in explained)
        assert "PrimaryKey" in text
        assert "marker_key in 1-element set" in text
        read = await clickhouse._client.query(sql.query("markers"), parameters={"table": table, "keys": [key]})
        assert len(read.result_rows) == 1
        assert int(read.summary["read_rows"]) <= PARTS_WITH_A_ROW_GROUP_MAX + 30 * 10


async def test_a_marker_survives_every_merge(clickhouse: ClickHouseStore) -> None:
    """Roll-ups are added up, markers stay: they are rows with keys of their own."""
    for seq in range(5):
        found = envelope(seq, events=3)
        await clickhouse.insert("metrics", families.columns(found), token=found.key, until=LATER)
    await clickhouse._client.command("OPTIMIZE TABLE metrics FINAL")
    assert len(await parts(clickhouse, "metrics")) == 1
    for seq in range(5):
        [marker] = (await clickhouse.markers("metrics", [envelope(seq).key])).values()
        assert marker.row_count == 3
    counted = await clickhouse.query("SELECT sum(inserts), max(inserts) FROM metrics")
    assert [tuple(row) for row in counted] == [(5, 1)]
    assert [tuple(row) for row in await clickhouse.query(sql.query("metrics_by_type"))] == [("delivery", 15)]


async def test_the_schema_is_applied_by_many_at_once(store_url: str) -> None:
    """Two children and a parent open the same empty database at the same moment."""
    stores = [ClickHouseStore(store_url, timeout_seconds=30) for _ in range(4)]
    await asyncio.gather(*(each.open() for each in stores))
    [(version,)] = await stores[0].query(sql.query("schema_version"))
    assert version == sql.schema()[-1].version
    for each in stores:
        await each.close()


async def test_every_table_syncs_what_it_acknowledges(clickhouse: ClickHouseStore) -> None:
    """The engine's default is not to, and each of our tables keeps something that was promised."""
    made = await clickhouse.query("SELECT name, engine_full FROM system.tables WHERE database = currentDatabase()")
    assert {str(name) for name, _ in made} == {step.name for step in sql.schema()}
    for name, engine in made:
        for setting in ("fsync_after_insert = 1", "fsync_part_directory = 1", "min_rows_to_fsync_after_merge = 1"):
            assert setting in engine, name


async def test_a_newer_schema_is_refused(clickhouse: ClickHouseStore, store_url: str) -> None:
    """An older program would write rows that the newer one misreads."""
    await clickhouse._client.command("INSERT INTO schema_versions SELECT 99, 'of tomorrow'")
    with pytest.raises(SettingsError, match=r"OMNI_STORE_URL: found a store with schema 99"):
        await ClickHouseStore(store_url, timeout_seconds=30).open()


async def test_a_schema_from_before_is_refused(clickhouse: ClickHouseStore, store_url: str) -> None:
    """Its tables take no `insert_until`, and would take an insert that comes late."""
    await clickhouse._client.command("TRUNCATE TABLE schema_versions")
    await clickhouse._client.command("INSERT INTO schema_versions SELECT 3, 'tracker_epochs'")
    with pytest.raises(SettingsError, match=r"found a store with schema 3, from before 1.0"):
        await ClickHouseStore(store_url, timeout_seconds=30).open()


@pytest.mark.parametrize("skew_seconds", [-60, 60])
async def test_clocks_that_are_apart_are_waited_for(store_url: str, skew_seconds: float) -> None:
    """The engine judges by its clock whether an insert is in time, so both must mean the same time."""
    store = ClickHouseStore(store_url, timeout_seconds=30, clock=ManualClock(SystemClock().now() + skew_seconds))
    with pytest.raises(UnavailableError, match=rf"\{-skew_seconds:+.0f} s from ours"):
        await store.open()


async def test_an_insert_is_judged_when_its_rows_are_there(clickhouse: ClickHouseStore) -> None:
    """The time at which the statement began would let a body through that was slow to come."""
    with pytest.raises(DatabaseError, match="in_time"):
        await clickhouse._client.command(
            "INSERT INTO message_events (insert_until) SELECT now() + 1 FROM numbers(1) WHERE sleep(1.5) = 0"
        )


async def test_rejected_credentials_are_refused(store_host: StoreProcess) -> None:
    """Waiting would not heal a wrong password."""
    store = ClickHouseStore(f"http://default:wrong@{store_host.address}/omni", timeout_seconds=30)
    with pytest.raises(SettingsError, match="rejects us"):
        await store.open()


@pytest.mark.parametrize("url", ["clickhouse://localhost", "http:///database", "localhost:8123"])
def test_an_unknown_scheme_is_refused(url: str) -> None:
    """The word says what to write instead."""
    with pytest.raises(SettingsError, match="http"):
        ClickHouseStore(url, timeout_seconds=1)


async def test_an_absent_store_is_waited_for() -> None:
    """Nobody listens there: again, later."""
    with pytest.raises(UnavailableError):
        await ClickHouseStore("http://127.0.0.1:9/omni", timeout_seconds=5).open()


async def test_a_slow_answer_is_no_answer(store_url: str) -> None:
    """A time-out ends the try; nothing is known about it."""
    store = ClickHouseStore(store_url, timeout_seconds=30)
    await store.open()
    store._timeout_seconds = 0.05
    with pytest.raises(UnavailableError, match="did not answer within"):
        await store.query("SELECT sleep(0.5)")
    await store.close()


async def test_what_the_rows_cause_is_poison(clickhouse: ClickHouseStore) -> None:
    """The same rows would fail for ever, so waiting is no answer."""
    rows = message_events.columns(envelope())
    wrong = rows.set_column(rows.column_names.index("timestamp"), "timestamp", pa.array(["soon"] * 3))
    with pytest.raises(PoisonError):
        await clickhouse.insert(TABLE, wrong, token="t", until=LATER)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        *((DatabaseError("x", code=code), UnavailableError) for code in (241, 243, 252, 159, 202, 999, 1001, 1002, 60)),
        (OperationalError("Network Error"), UnavailableError),
        (DatabaseError("HTTP driver received HTTP status 502"), UnavailableError),
        (DatabaseError("x", code=516), UnavailableError),  # a password that was changed while we ran
        *((DatabaseError("x", code=code), PoisonError) for code in (27, 53, 117)),
        (DatabaseError("x", code=469), LeaseLapsedError),
    ],
)
def test_a_failure_says_what_becomes_of_the_lease(error: DatabaseError, kind: type[OmniError]) -> None:
    """Memory, disk, parts and keepers may recover; rows that cannot be read never do."""
    assert type(verdicts._verdict(error, opening=False, inserting=True)) is kind


async def test_the_epoch_is_the_one_set_last(store_url: str) -> None:
    """A start finds what an earlier one wrote."""
    clock = ManualClock(SystemClock().now())
    store = ClickHouseStore(store_url, timeout_seconds=30, clock=clock)
    await store.open()
    assert await store.epoch() is None
    for epoch in ("first", "second"):
        clock.advance(0.001)
        await store.set_epoch(epoch)
    assert await store.epoch() == "second"
    await store.close()


class Cutter:
    """A proxy that, once armed, breaks the connection when an insert has come through whole."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self.armed = False
        self.inserts = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass bytes both ways."""
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        answers = asyncio.create_task(self._pass(far_reader, writer))
        while data := await reader.read(2**20):
            if b"INSERT+INTO" in data:
                self.inserts += 1
                if self.armed:
                    break
            far_writer.write(data)
            await far_writer.drain()
        answers.cancel()
        for each in (writer, far_writer):
            each.close()

    @staticmethod
    async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(2**20):
            writer.write(data)
            await writer.drain()


async def test_a_broken_insert_is_not_repeated_behind_our_back(store_url: str) -> None:
    """The client's own replay would carry a token that may be a ghost's by now, and nobody would ask the ledger."""
    parts_of_url = urlsplit(store_url)
    cutter = Cutter(parts_of_url.hostname or "", parts_of_url.port or 0)
    server = await asyncio.start_server(cutter.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    store = ClickHouseStore(store_url.replace(f":{parts_of_url.port}/", f":{port}/"), timeout_seconds=10)
    await store.open()
    rows = message_events.columns(envelope())
    await store.insert(TABLE, rows, token="a", until=LATER)
    cutter.armed = True
    with pytest.raises(UnavailableError):
        await store.insert(TABLE, rows, token="b", until=LATER)
    assert cutter.inserts == 2
    await store.close()
    server.close()


@pytest.mark.parametrize(
    "answer", [None, DatabaseError("Code: 115. DB::Exception: Unknown setting 'omni_absent'", code=115)]
)
async def test_a_server_is_never_taken_for_the_store_host(answer: Exception | None) -> None:
    """It refuses the setting, or takes it without a word where custom settings may begin with `omni_`."""

    class Server:
        async def command(self, _statement: str, *, settings: dict[str, str]) -> int:
            assert settings["omni_absent"], "an empty one is asked for by nobody"
            if answer is not None:
                raise answer
            return 1

    store = ClickHouseStore("http://localhost", timeout_seconds=1)
    store._client = Server()
    assert not await store._knows_absent()
