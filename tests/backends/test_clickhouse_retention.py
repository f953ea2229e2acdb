"""backends.clickhouse_retention: the engine drops what is too old, markers never before what they mark."""

import asyncio

from tests import builders

from omni_etl.backends.clickhouse import ClickHouseStore
from omni_etl.backends.clickhouse_retention import MARKERS_MORE_DAYS
from omni_etl.clock import SystemClock
from omni_etl.services import message_events
from omni_etl.services.metrics import families
from omni_etl.store import LEDGER_DAYS, Retention

RETENTION = Retention(events_days=10, minutes_days=31, hours_days=731)
DAY_MS = 86_400_000
LATER = 4e9


async def opened(url: str, retention: Retention | None = RETENTION) -> ClickHouseStore:
    """An open store that keeps for so long."""
    store = ClickHouseStore(url, timeout_seconds=30, retention=retention)
    await store.open()
    return store


async def kept(store: ClickHouseStore, table: str, what: str) -> set[int]:
    """How many days ago envelopes were cut of which such rows stand, once the engine has merged."""
    await store.command(f"OPTIMIZE TABLE {table} FINAL")
    rows = await store.query(f"SELECT DISTINCT toDate(now('UTC')) - cut_day FROM {table} WHERE {what}")
    return {int(days) for (days,) in rows}


async def changes(store: ClickHouseStore) -> int:
    """How often a TTL was changed."""
    [(count,)] = await store.query("SELECT count() FROM system.mutations WHERE database = currentDatabase()")
    return int(count)


async def test_each_kind_of_rows_is_kept_for_its_days(store_url: str) -> None:
    """Whole days after the day of the cut. A marker of metrics outlives all that a child still takes, a marker of events its rows."""
    store = await opened(store_url)
    markers = LEDGER_DAYS + MARKERS_MORE_DAYS
    ages = (0, 10, 11, 31, 32, LEDGER_DAYS, markers - 1, markers, 731, 732)
    now_ms = int(SystemClock().now() * 1000)
    for seq, days in enumerate(ages):
        found = builders.envelope([builders.line()] * 3, seq=seq, cut_at_ms=now_ms - days * DAY_MS)
        await store.insert("message_events", message_events.columns(found), token=found.key, until=LATER)
        await store.insert("metrics", families.columns(found), token=found.key, until=LATER)
    expected = {
        ("message_events", "marker_key = ''"): 10,
        ("message_events", "marker_key != ''"): 10,
        ("metrics", "marker_key = '' AND family != 'hour'"): 31,
        ("metrics", "marker_key != ''"): markers - 1,
        ("metrics", "family = 'hour'"): 731,
    }
    for (table, what), days in expected.items():
        assert await kept(store, table, what) == {each for each in ages if each <= days}, (table, what)
    await store.close()


async def test_the_tables_follow_the_setting(store_url: str) -> None:
    """Also back; and where nothing differs, nothing is done."""
    first = await opened(store_url)
    made = await changes(first)
    again = await opened(store_url)
    assert await changes(again) == made
    longer = await opened(store_url, Retention(events_days=20, minutes_days=31, hours_days=731))
    assert await changes(longer) == made + 1
    found = builders.envelope([builders.line()], cut_at_ms=int(SystemClock().now() * 1000) - 15 * DAY_MS)
    await longer.insert("message_events", message_events.columns(found), token="t", until=LATER)
    assert await kept(longer, "message_events", "marker_key = ''") == {15}
    shorter = await opened(store_url)
    assert await kept(shorter, "message_events", "marker_key = ''") == set()
    for each in (first, again, longer, shorter):
        await each.close()


async def test_a_store_that_is_told_nothing_changes_nothing(store_url: str) -> None:
    """As one that keeps for ever, or that was told by another process."""
    untold = await opened(store_url, None)
    assert await changes(untold) == 0
    told = await opened(store_url)
    made = await changes(told)
    again = await opened(store_url, None)
    assert await changes(again) == made
    for each in (untold, told, again):
        await each.close()


async def test_many_may_bring_it_at_once(store_url: str) -> None:
    """Children and parent open an empty store at the same moment."""
    stores = await asyncio.gather(*(opened(store_url) for _ in range(4)))
    for each in stores:
        await each.close()
