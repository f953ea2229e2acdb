"""The store's contract, on every backend: a block with its marker stands whole or not at all, and `insert_once` keeps it one."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import msgspec
import pyarrow as pa
import pytest
from tests import builders

from omni_etl import sql
from omni_etl.backends.clickhouse import ClickHouseStore
from omni_etl.backends.memory_store import MemoryStore
from omni_etl.clock import SystemClock
from omni_etl.envelope import Envelope
from omni_etl.errors import IdConflictError, LeaseLapsedError, PoisonError
from omni_etl.services.message_events import columns
from omni_etl.services.metrics import families
from omni_etl.store import CLOCK_SKEW_SECONDS_MAX, GHOSTS_MAX, Marker, Store, insert_once

TABLE = "message_events"
LATER = 4e9
NOW = SystemClock().now()


@pytest.fixture(params=["memory", "clickhouse"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """An open, empty store of each kind."""
    made: Store = MemoryStore()
    if request.param == "clickhouse":
        made = ClickHouseStore(request.getfixturevalue("store_url"), timeout_seconds=30)
    await made.open()
    yield made
    await made.close()


class GhostlyStore:
    """Notes the token of the next inserts, answers OK and writes nothing: what a killed engine's redo looks like."""

    def __init__(self, store: Store, ghosts: int) -> None:
        self._store = store
        self.ghosts = ghosts
        self.markers = store.markers
        self.tokens: list[str] = []

    async def insert(self, table: str, columns: Any, *, token: str, until: float) -> None:
        """As the engine's, but for the ghosts."""
        self.tokens.append(token)
        if self.ghosts:
            self.ghosts -= 1
            return
        await self._store.insert(table, columns, token=token, until=until)


def envelope(seq: int = 1, *, events: int = 3) -> Envelope:
    """An envelope of a few events."""
    return builders.envelope([builders.line(subject=str(each)) for each in range(events)], seq=seq)


async def put(store: Any, found: Envelope) -> bool:
    """Insert once, with a lease that never lapses."""
    return await insert_once(store, TABLE, found, columns=lambda: columns(found), check_deadline=lambda: LATER)


async def count(store: Store) -> int:
    """Events stored."""
    [(found,)] = await store.query(sql.query("message_events_count"))
    return int(found)


async def test_a_marker_is_found_with_its_block(store: Store) -> None:
    """The ledger's word stands where the rows do, and for nothing else."""
    found = envelope()
    assert not await store.markers(TABLE, [found.key])
    await store.insert(TABLE, columns(found), token="t", until=LATER)
    assert await store.markers(TABLE, [found.key]) == {found.key: Marker(found.header.checksum, 3)}
    assert not await store.markers(TABLE, [found.key + "0"])
    assert not await store.markers("metrics", [found.key])
    assert await count(store) == 3


async def test_a_repeated_token_writes_nothing(store: Store) -> None:
    """Two parents with one envelope race to one block."""
    found = envelope()
    await store.insert(TABLE, columns(found), token="t", until=LATER)
    await store.insert(TABLE, columns(found), token="t", until=LATER)
    assert await count(store) == 3


async def test_the_token_decides_and_not_the_rows(store: Store) -> None:
    """A spent token writes nothing whatever its rows are; the same rows under the next number are written."""
    first, second = envelope(1), envelope(2)
    await store.insert(TABLE, columns(first), token="t", until=LATER)
    await store.insert(TABLE, columns(second), token="t", until=LATER)
    assert not await store.markers(TABLE, [second.key])
    await store.insert(TABLE, columns(first), token="u", until=LATER)
    assert await count(store) == 6


async def test_an_envelope_without_events_leaves_its_marker(store: Store) -> None:
    """A heartbeat is done like any other."""
    found = envelope(events=0)
    assert await put(store, found)
    assert await store.markers(TABLE, [found.key]) == {found.key: Marker(found.header.checksum, 0)}
    assert await count(store) == 0


async def test_an_envelope_is_inserted_once(store: Store) -> None:
    """The ledger is asked before the work, so a repetition makes no rows at all."""
    found = envelope()
    assert await put(store, found)

    def no_rows() -> Any:
        raise AssertionError("rows were made for an envelope that stands")

    assert not await insert_once(store, TABLE, found, columns=no_rows, check_deadline=lambda: LATER)
    assert await count(store) == 3


async def test_parents_that_work_at_once_insert_once(store: Store) -> None:
    """Many tries at the same moment, each envelope stands once."""
    found = [envelope(seq) for seq in range(1, 5)]
    await asyncio.gather(*(put(store, each) for each in found * 6))
    assert await count(store) == 4 * 3


async def test_a_ghost_is_followed_by_the_next_number(store: Store) -> None:
    """OK is no proof: only a marker that was found is, and a ghost's token is spent."""
    ghostly = GhostlyStore(store, ghosts=2)
    found = envelope()
    assert await put(ghostly, found)
    assert ghostly.tokens == [f"{found.key}-{TABLE}-{number}" for number in range(3)]
    assert await count(store) == 3


async def test_a_store_that_only_makes_ghosts_is_reported(store: Store) -> None:
    """After five something else is wrong; nobody tries for ever."""
    with pytest.raises(PoisonError, match="answered OK and wrote nothing"):
        await put(GhostlyStore(store, ghosts=GHOSTS_MAX), envelope())


async def test_one_key_with_two_checksums_is_a_conflict(store: Store) -> None:
    """Two envelopes under one name: neither may be guessed at, and nothing is written."""
    await put(store, envelope())
    with pytest.raises(IdConflictError):
        await put(store, envelope(events=5))
    assert await count(store) == 3


async def test_a_lapsed_lease_writes_nothing(store: Store) -> None:
    """The deadline is checked directly before the insert."""

    def lapsed() -> float:
        raise LeaseLapsedError("too late")

    found = envelope()
    with pytest.raises(LeaseLapsedError):
        await insert_once(store, TABLE, found, columns=lambda: columns(found), check_deadline=lapsed)
    assert await count(store) == 0


async def test_a_late_insert_is_refused_by_the_engine(store: Store) -> None:
    """By its own clock and in every table, whatever the token; before that time the same insert is written."""
    found = envelope()
    for table, rows in ((TABLE, columns(found)), ("metrics", families.columns(found))):
        with pytest.raises(LeaseLapsedError):
            await store.insert(table, rows, token="t", until=NOW - 1)
        assert not await store.markers(table, [found.key])
        await store.insert(table, rows, token="t", until=NOW + 86_400)
        assert await store.markers(table, [found.key]) == {found.key: Marker(found.header.checksum, 3)}
    assert await count(store) == 3


async def test_a_parent_that_wakes_late_writes_nothing(store: Store) -> None:
    """Paused between its question and its insert, beyond its lease and the window of tokens, while another did the work."""
    found = envelope()

    class Paused:
        markers = store.markers

        async def insert(self, table: str, columns: Any, *, token: str, until: float) -> None:
            await put(store, found)
            await store.insert(table, columns, token=f"{token}, forgotten by now", until=until)

    with pytest.raises(LeaseLapsedError):
        await insert_once(
            cast("Store", Paused()),
            TABLE,
            found,
            columns=lambda: columns(found),
            check_deadline=lambda: NOW - CLOCK_SKEW_SECONDS_MAX,
        )
    assert await count(store) == 3


async def test_keys_that_resemble_each_other_are_apart(store: Store) -> None:
    """`…-1` is neither `…-10` nor another hose's `…-1`."""
    first, tenth = envelope(1), envelope(10)
    foreign = Envelope(msgspec.structs.replace(first.header, hose_id="f" * 32), first.raw)
    for each in (tenth, foreign):
        await put(store, each)
    assert not await store.markers(TABLE, [first.key])


async def test_events_are_read_back_as_they_came(store: Store) -> None:
    """Byte for byte, newest first, by their ids or all."""
    lines = [builders.line(timestamp=str(1764000000 + each), event_id=f"e{each}", odd="ü\n\0") for each in range(4)]
    await put(store, builders.envelope(lines))
    everything = await store.query(sql.query("message_events_raw"), {"event_ids": [], "limit": 3})
    assert [raw.encode() for (raw,) in everything] == lines[:0:-1]
    named = await store.query(sql.query("message_events_raw"), {"event_ids": ["e2", "no such"], "limit": 3})
    assert [raw.encode() for (raw,) in named] == [lines[2]]


async def test_opening_again_keeps_what_stands(store: Store) -> None:
    """`open` is called after every outage."""
    await put(store, envelope())
    await store.open()
    assert await count(store) == 3


def together(found: list[Envelope]) -> Any:
    """The rows of several envelopes, for one insert."""
    return pa.concat_tables([columns(each) for each in found])


async def test_several_envelopes_share_one_insert(store: Store) -> None:
    """Each has its marker in the one block, and is asked for by itself or with others."""
    assert store.inserts_absent
    found = [envelope(seq) for seq in range(1, 4)]
    keys = [each.key for each in found]
    assert await store.insert_absent(TABLE, together(found), keys=keys)
    assert await store.markers(TABLE, keys) == {each.key: Marker(each.header.checksum, 3) for each in found}
    assert await store.markers(TABLE, [*keys[:1], "absent"]) == {keys[0]: Marker(found[0].header.checksum, 3)}
    assert await count(store) == 9


async def test_nothing_is_written_where_one_stands(store: Store) -> None:
    """All or none, whichever of them it is; another table is not asked."""
    first, second = envelope(1), envelope(2)
    assert await store.insert_absent(TABLE, columns(second), keys=[second.key])
    for keys in ([first.key, second.key], [second.key, first.key]):
        assert not await store.insert_absent(TABLE, together([first, second]), keys=keys)
    assert await count(store) == 3
    assert await store.insert_absent("metrics", families.columns(second), keys=[second.key])
    assert await store.insert_absent(TABLE, columns(first), keys=[first.key])
    assert await count(store) == 6


async def test_inserts_that_share_an_envelope_write_it_once(store: Store) -> None:
    """Many groups at one moment, as parents that were given the same envelope make them: each envelope stands once."""
    found = [envelope(seq) for seq in range(1, 6)]
    groups = [[found[start % 5], found[(start + step) % 5]] for start in range(5) for step in (1, 2)]
    written = await asyncio.gather(
        *(store.insert_absent(TABLE, together(each), keys=[one.key for one in each]) for each in groups)
    )
    assert await count(store) == 6 * sum(written)
    standing = await store.markers(TABLE, [each.key for each in found])
    assert len(standing) == 2 * sum(written)
