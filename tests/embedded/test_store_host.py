"""The store host as a real process: what stands after a kill, a full disk and a power loss, and how it ends."""

import asyncio
import contextlib
import os
import random
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests import builders
from tests.store_process import StoreProcess, store_process

from omni_etl import sql
from omni_etl.backends.clickhouse import ClickHouseStore
from omni_etl.clock import SystemClock
from omni_etl.embedded.store_host import StoreHost
from omni_etl.embedded.store_sync import EXIT_CODE_NOT_SYNCED
from omni_etl.embedded.store_writes import EXIT_CODE_NOT_WRITTEN
from omni_etl.envelope import Envelope
from omni_etl.errors import SettingsError, UnavailableError
from omni_etl.service import Deadline, Service
from omni_etl.services import message_events
from omni_etl.services.message_events import MessageEvents
from omni_etl.services.metrics import Metrics, families
from omni_etl.store import Marker, insert_once

EVENTS = 3


@dataclass(frozen=True)
class Faults:
    """A host whose next rename of a part can be made to fail, and what it synced and renamed so far."""

    host: StoreProcess
    file: Path
    log: Path

    def arm(self, mode: str) -> None:
        """`kill`, `enospc` or `eio`, once."""
        self.file.write_text(mode)

    def noted(self) -> list[tuple[str, Path]]:
        """(`fsync` or `rename`, path), in order."""
        lines = [line.split(" ", 1) for line in self.log.read_text().splitlines()]
        return [(what, Path(path)) for what, path in lines]


@pytest.fixture(scope="session")
def fault_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`rename_fault.c`, compiled."""
    library = tmp_path_factory.mktemp("fault") / "rename_fault.so"
    source = Path(__file__).with_name("rename_fault.c")
    subprocess.run(["gcc", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.fixture
def faults(tmp_path: Path, fault_library: Path) -> Iterator[Faults]:
    """A host of our own."""
    file, log = tmp_path / "fault", tmp_path / "log"
    environment = {"LD_PRELOAD": str(fault_library), "FAULT_FILE": str(file), "FAULT_LOG": str(log)}
    with store_process(tmp_path / "store", environment=environment) as host:
        yield Faults(host, file, log)


@asynccontextmanager
async def opened(host: StoreProcess) -> AsyncIterator[ClickHouseStore]:
    """A client of this host."""
    store = ClickHouseStore(host.url(), timeout_seconds=30)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def envelope(seq: int) -> Envelope:
    """An envelope of three events."""
    return builders.envelope([builders.line(subject=f"{seq} {each}") for each in range(EVENTS)], seq=seq)


def deadline() -> Deadline:
    """A lease that does not lapse here."""
    clock = SystemClock()
    return Deadline(clock, clock.monotonic() + 600)


async def counts(store: ClickHouseStore) -> dict[str, int]:
    """Events in each table, from its own rows."""
    [(stored,)] = await store.query(sql.query("message_events_count"))
    by_type = await store.query(sql.query("metrics_by_type"))
    return {"message_events": int(stored), "metrics": sum(int(each) for _, each in by_type)}


SERVICES = pytest.mark.parametrize("build", [MessageEvents, Metrics], ids=["message_events", "metrics"])


TABLES = pytest.mark.parametrize(
    ("table", "columns"), [("message_events", message_events.columns), ("metrics", families.columns)]
)


@TABLES
@pytest.mark.parametrize("mode", ["kill", "enospc"])
async def test_a_ghost_token_loses_nothing(
    faults: Faults, mode: str, table: str, columns: Callable[[Envelope], object]
) -> None:
    """The engine logs the token, then dies or finds no space: the naive redo is answered OK and writes nothing."""
    first, lost = envelope(1), envelope(2)

    async def put(store: ClickHouseStore, each: Envelope) -> bool:
        return await insert_once(store, table, each, columns=lambda: columns(each), check_deadline=lambda: 4e9)

    async with opened(faults.host) as store:
        await put(store, first)
        faults.arm(mode)
        with pytest.raises(UnavailableError):
            await put(store, lost)
        meet(faults, mode)
    async with opened(faults.host) as store:
        await store.insert(table, columns(lost), token=f"{lost.key}-{table}-0", until=4e9)
        assert not await store.markers(table, [lost.key]), "no ghost: the naive redo wrote the rows"
        assert (await counts(store))[table] == EVENTS

        await put(store, lost)
        await put(store, first)
        assert await store.markers(table, [lost.key]) == {lost.key: Marker(lost.header.checksum, EVENTS)}
        assert (await counts(store))[table] == 2 * EVENTS


@SERVICES
@pytest.mark.parametrize("mode", ["kill", "enospc"])
async def test_an_insert_that_was_cut_off_is_done_again(
    faults: Faults, mode: str, build: Callable[[ClickHouseStore], Service]
) -> None:
    """The host dies or finds no space in the middle of several envelopes at once: none stands, and the redo writes each."""
    found = [envelope(seq) for seq in range(4)]
    async with opened(faults.host) as store:
        service = build(store)
        await service.apply(found[0], deadline())
        faults.arm(mode)
        failed = await asyncio.gather(*(service.apply(each, deadline()) for each in found), return_exceptions=True)
        assert any(isinstance(each, UnavailableError) for each in failed)
        meet(faults, mode)
    async with opened(faults.host) as store:
        service = build(store)
        await asyncio.gather(*(service.apply(each, deadline()) for each in [*found, *found]))
        assert (await counts(store))[service.name] == 4 * EVENTS


def meet(faults: Faults, mode: str) -> None:
    """The fault happened; a host that it killed is started again."""
    assert not faults.file.exists(), "the fault was not met"
    if mode == "kill":
        assert faults.host.wait() == -9
        faults.host.start()


@SERVICES
async def test_an_acknowledged_insert_survives_a_power_loss(
    faults: Faults, build: Callable[[ClickHouseStore], Service]
) -> None:
    """Before the answer, every file of the part was synced, then its new name, in the part and in the table's directory."""
    async with opened(faults.host) as store:
        faults.log.unlink()
        await build(store).apply(envelope(1), deadline())
        noted = faults.noted()
    [renamed] = [index for index, (what, _) in enumerate(noted) if what == "rename"]
    part = noted[renamed][1]
    unnamed = part.with_name(f"tmp_insert_{part.name}")
    synced = [path for what, path in noted if what == "fsync"]
    before = synced[: sum(what == "fsync" for what, _ in noted[:renamed])]
    after = synced[len(before) :]
    assert {unnamed / each.name for each in part.iterdir()} <= set(before)
    assert {part, part.parent} <= set(after)


async def test_a_directory_that_cannot_be_synced_ends_the_host(faults: Faults) -> None:
    """Nobody may read what a power loss could take; the next process syncs it before it answers, and the redo finds it."""
    async with opened(faults.host) as store:
        faults.arm("eio")
        with pytest.raises(UnavailableError):
            await MessageEvents(store).apply(envelope(1), deadline())
        assert await asyncio.to_thread(faults.host.wait) == EXIT_CODE_NOT_SYNCED
    renamed = {path.parent for what, path in faults.noted() if what == "rename"}
    faults.log.unlink()
    faults.host.start()
    synced = {path for what, path in faults.noted() if what == "fsync"}
    tables = set((faults.host.directory / "store").glob("*/*"))
    assert len(tables) == len(sql.schema()) + 1  # and the database's own
    assert renamed <= tables <= synced
    async with opened(faults.host) as store:
        await MessageEvents(store).apply(envelope(1), deadline())
        assert (await counts(store))["message_events"] == EVENTS


@SERVICES
async def test_a_write_that_failed_in_an_insert_is_never_answered(
    faults: Faults, build: Callable[[ClickHouseStore], Service]
) -> None:
    """The engine says OK, and a file of the part is short: the host ends instead, and the redo after its restart is exact."""
    async with opened(faults.host) as store:
        service = build(store)
        await service.apply(envelope(1), deadline())
        faults.arm("insert")
        with pytest.raises(UnavailableError):
            await service.apply(envelope(2), deadline())
        assert not faults.file.exists(), "the fault was not met"
    assert await asyncio.to_thread(faults.host.wait) == EXIT_CODE_NOT_WRITTEN
    faults.host.start()
    async with opened(faults.host) as store:
        service = build(store)
        await asyncio.gather(*(service.apply(envelope(each), deadline()) for each in (1, 2)))
        assert (await counts(store))[service.name] == 2 * EVENTS


async def test_a_merge_whose_write_failed_loses_nothing(faults: Faults) -> None:
    """The engine puts a short part in place of whole ones: the host ends, and the next one has the whole ones again."""
    async with opened(faults.host) as store:
        for seq in range(4):
            await MessageEvents(store).apply(envelope(seq), deadline())
        faults.arm("merge")
        with contextlib.suppress(UnavailableError):  # the host may end before it answers
            await store.query("OPTIMIZE TABLE message_events FINAL")
        assert await asyncio.to_thread(faults.host.wait) == EXIT_CODE_NOT_WRITTEN
        assert not faults.file.exists(), "the fault was not met"
    faults.host.start()
    async with opened(faults.host) as store:
        raws = await store.query("SELECT raw FROM message_events WHERE marker_key = ''")
        assert len({raw for (raw,) in raws}) == 4 * EVENTS


async def apply_until_killed(
    host: StoreProcess, envelopes: list[Envelope], acknowledgements: int
) -> list[tuple[str, str]]:
    """Both services take everything at once until the kill; answers (table, key) of what was acknowledged."""
    acknowledged: list[tuple[str, str]] = []

    async def apply(service: Service, each: Envelope) -> None:
        try:
            await service.apply(each, deadline())
        except UnavailableError:
            return
        acknowledged.append((service.name, each.key))
        if len(acknowledged) == acknowledgements:
            host.kill()

    async with opened(host) as store:
        services: list[Service] = [MessageEvents(store), Metrics(store)]
        await asyncio.gather(*(apply(service, each) for service in services for each in envelopes))
    return acknowledged


async def test_a_kill_in_the_middle_of_inserts_is_mended_by_the_redo(tmp_path: Path) -> None:
    """Whatever the moment: after a restart, what was acknowledged stands, and the redo makes every count exact."""
    rng = random.Random(7)
    envelopes = [envelope(seq) for seq in range(40)]
    acknowledged: list[tuple[str, str]] = []
    with store_process(tmp_path) as host:
        for _ in range(3):
            acknowledged += await apply_until_killed(host, envelopes, acknowledgements=rng.randrange(5, 20))
            host.start()
        async with opened(host) as store:
            for table, key in acknowledged:
                assert await store.markers(table, [key])
            for service in (MessageEvents(store), Metrics(store)):
                for each in envelopes:
                    await service.apply(each, deadline())
            assert await counts(store) == {"message_events": 40 * EVENTS, "metrics": 40 * EVENTS}


async def test_a_stop_finishes_what_runs(tmp_path: Path) -> None:
    """SIGTERM: the running statement is answered, the process ends with 0, and a new one finds everything."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with store_process(tmp_path / "store") as host:
        async with opened(host) as store:
            await MessageEvents(store).apply(envelope(1), deadline())
            reading = asyncio.create_task(store.query(f"SELECT * FROM file('{pipe}', 'LineAsString')"))
            writer = await asyncio.to_thread(pipe.open, "w")  # returns when the statement reads
            stopping = asyncio.create_task(asyncio.to_thread(host.stop))
            while not host.refuses():
                await asyncio.sleep(0)
            writer.write("answered\n")
            writer.close()
            assert [tuple(row) for row in await reading] == [("answered",)]
        assert await stopping == 0
        host.start()
        async with opened(host) as store:
            assert (await counts(store))["message_events"] == EVENTS


async def test_a_directory_belongs_to_one_host(tmp_path: Path) -> None:
    """ChDB would let two processes destroy each other's parts."""
    host = StoreHost(tmp_path, password="p")
    with store_process(tmp_path), pytest.raises(SettingsError, match="held by a running store"):
        await host.start()


async def test_the_host_ends_with_its_starter(tmp_path: Path) -> None:
    """EOF on the pipe from the starter is enough, as after its kill -9."""
    with store_process(tmp_path) as host:
        host.let_go()
        assert await asyncio.to_thread(host.wait) != 0
