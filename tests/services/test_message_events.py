"""services.message_events: every event is a row, byte for byte, findable by every field that the Events API searches by."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests import builders
from tests.store_process import StoreProcess

from omni_etl import event, sql
from omni_etl.backends.clickhouse import ClickHouseStore
from omni_etl.backends.memory_store import MemoryStore
from omni_etl.clock import SystemClock
from omni_etl.errors import LeaseLapsedError
from omni_etl.event import GROUP_OF, TYPES
from omni_etl.service import Deadline
from omni_etl.services.message_events import MessageEvents, SearchedFields, columns
from omni_etl.services.metrics import Metrics
from omni_etl.services.pieces import PIECE_BYTES

CLOCK = SystemClock()
OPEN_DEADLINE = Deadline(CLOCK, CLOCK.monotonic() + 86_400)


async def test_every_type_is_stored_once() -> None:
    """All 27, and a repetition adds nothing."""
    store = MemoryStore()
    service = MessageEvents(store)
    envelope = builders.envelope([builders.line(name) for name in sorted(TYPES)])
    for _ in range(2):
        await service.apply(envelope, OPEN_DEADLINE)
    assert await store.query(sql.query("message_events_count")) == [(27,)]


async def test_events_that_share_an_id_are_all_kept() -> None:
    """The vendor's own samples all carry one id; rows are never told apart by it."""
    store = MemoryStore()
    await MessageEvents(store).apply(builders.envelope([builders.line(event_id="1")] * 5), OPEN_DEADLINE)
    assert await store.query(sql.query("message_events_count")) == [(5,)]


async def test_a_lapsed_lease_stores_nothing() -> None:
    """Someone else may hold the envelope by now."""
    store = MemoryStore()
    with pytest.raises(LeaseLapsedError):
        await MessageEvents(store).apply(builders.envelope([builders.line()]), Deadline(CLOCK, CLOCK.monotonic()))
    assert await store.query(sql.query("message_events_count")) == [(0,)]


def test_each_line_stands_at_its_own_number() -> None:
    """The line, its number in the envelope and its decoded fields are of the same event, whatever the types."""
    lines = [builders.line(name, subject=f"{name} {each}") for name in ("open", "bounce", "click") for each in range(3)]
    envelope = builders.envelope(lines)
    rows = columns(envelope).to_pylist()[:-1]
    assert [row["raw"] for row in rows] == envelope.raw.splitlines()
    assert [row["line_number"] for row in rows] == list(range(9))
    for row in rows:
        told = orjson.loads(row["raw"])
        assert (row["type"], row["subject"]) == (told["type"], told["subject"])


async def test_each_searched_field_finds_its_event(clickhouse: ClickHouseStore) -> None:
    """Text as it is, the time in milliseconds, subaccounts as numbers."""
    fields = {name: f"value of {name}" for name in SearchedFields.__struct_fields__}
    fields |= {"timestamp": "1764000000", "subaccount_id": "42"}
    await MessageEvents(clickhouse).apply(
        builders.envelope([builders.line("bounce", **fields), builders.line("open")]), OPEN_DEADLINE
    )
    searched = {**fields, "type": "bounce", "timestamp": datetime(2025, 11, 24, 16, tzinfo=UTC), "subaccount_id": 42}
    for name, value in searched.items():
        kind = {"timestamp": "DateTime64(3, 'UTC')", "subaccount_id": "UInt32"}.get(name, "String")
        found = await clickhouse.query(
            f"SELECT raw FROM message_events WHERE marker_key = '' AND {name} = {{value:{kind}}}", {"value": value}
        )
        expected = 2 if name == "timestamp" else 1
        assert len(found) == expected, name


async def test_what_is_absent_is_empty(clickhouse: ClickHouseStore) -> None:
    """Absent, null and '' are one; the primary account is 0."""
    lines = [builders.line("open"), builders.line("open", subject=None, subaccount_id=None)]
    lines.append(builders.line("open", subject="", subaccount_id=""))
    await MessageEvents(clickhouse).apply(builders.envelope(lines), OPEN_DEADLINE)
    found = await clickhouse.query(
        "SELECT count() FROM message_events WHERE marker_key = '' AND subject = '' AND subaccount_id = 0"
    )
    assert [tuple(row) for row in found] == [(3,)]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"friendly_from": "a@News.Example.com"}, ("", "news.example.com")),
        ({"friendly_from": "Shop <a@example.com>"}, ("", "example.com")),
        ({"friendly_from": "nobody"}, ("", "")),
        ({"friendly_from": "a@example.com", "sending_domain": "other.example"}, ("", "other.example")),
        ({"rcpt_to": "x@y@Example.org"}, ("example.org", "")),
        ({"rcpt_to": "x@example.org", "recipient_domain": "given.example"}, ("given.example", "")),
    ],
)
async def test_a_domain_that_is_not_given_is_the_address_s(
    clickhouse: ClickHouseStore, fields: dict[str, str], expected: tuple[str, str]
) -> None:
    """Webhooks of SparkPost carry no sending_domain, yet it is searched and counted by; metrics judge the same way."""
    envelope = builders.envelope([builders.line("injection", **fields)])
    await MessageEvents(clickhouse).apply(envelope, OPEN_DEADLINE)
    await Metrics(clickhouse).apply(envelope, OPEN_DEADLINE)
    stored = await clickhouse.query("SELECT recipient_domain, sending_domain FROM message_events WHERE marker_key = ''")
    assert [tuple(row) for row in stored] == [expected]
    counted = await clickhouse.query("SELECT max(domain), max(sending_domain) FROM metrics")
    assert [tuple(row) for row in counted] == [expected]


TEXTS = st.text(max_size=40) | st.sampled_from(
    ["null", "\0", "\u2028", '"', "\\", "'", "😀", "NaN", "\r\n", "\x7f", "{}"]
)
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
TOLD_AS_THEY_ARE = set(SearchedFields.__struct_fields__) - {
    "timestamp", "subaccount_id", "recipient_domain", "sending_domain",
}  # fmt: skip
EVENTS = st.builds(
    lambda type_name, timestamp, hot, odd: {**odd, **hot, "type": type_name, "timestamp": timestamp},
    st.sampled_from(sorted(TYPES)),
    st.integers(0, event.TIMESTAMP_MAX).map(str) | st.integers(0, event.TIMESTAMP_MAX),
    st.dictionaries(
        st.sampled_from(sorted(event.STRING_FIELDS - {"type", "timestamp", "event_id", "subaccount_id"})),
        TEXTS | st.none() | st.integers(0, 2**63),
    ),
    st.dictionaries(TEXTS.filter(lambda name: name not in ("type", "timestamp", "msys")), VALUES, max_size=4),
)


def _lines(events: list[dict[str, Any]]) -> list[bytes]:
    """The lines that may enter."""
    passed = []
    for each in events:
        try:
            checked = event.check(orjson.dumps(each))
        except event.Refused:
            continue
        assert checked is not None
        passed.append(checked.line)
    return passed


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(events=st.lists(EVENTS, min_size=30, max_size=60))
async def test_what_may_enter_no_later_stage_refuses(
    events: list[dict[str, Any]], store_host: StoreProcess, next_database: Callable[[], str]
) -> None:
    """One judge at intake: ClickHouse, orjson and the webhook encoder take every line that passed it, and keep it."""
    lines = _lines(events)
    envelope = builders.envelope(lines)
    store = ClickHouseStore(store_host.url(next_database()), timeout_seconds=60)
    await store.open()
    await MessageEvents(store).apply(envelope, OPEN_DEADLINE)
    await Metrics(store).apply(envelope, OPEN_DEADLINE)

    stored = await store.query(
        "SELECT raw, isValidJSON(raw), JSONExtractString(raw, 'type'), type FROM message_events"
        " WHERE marker_key = '' ORDER BY line_number"
    )
    assert [raw.encode() for raw, *_ in stored] == envelope.raw.splitlines()
    assert all(valid == 1 and told == kept for _, valid, told, kept in stored)
    counted = await store.query("SELECT family, sum(events) FROM metrics WHERE family != '' GROUP BY family")
    assert dict(map(tuple, counted)).get("type", 0) == len(lines)

    await store._client.command("CREATE TABLE told (type String, timestamp String) ENGINE = Memory")
    await store._client.raw_insert(
        "told", column_names=["type", "timestamp"], insert_block=envelope.raw, fmt="JSONEachRow",
        settings={"input_format_skip_unknown_fields": "1"},
    )  # fmt: skip
    assert [tuple(row) for row in await store.query("SELECT count() FROM told")] == [(len(lines),)]
    await store.close()

    for line in lines:
        told = orjson.loads(line)
        body = b'[{"msys":{"%b":%b}}]' % (GROUP_OF[told["type"]].encode(), line)
        assert orjson.loads(body) == [{"msys": {GROUP_OF[told["type"]]: told}}]
        assert orjson.dumps(orjson.loads(body)) == body


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(events=st.lists(EVENTS, max_size=20))
def test_each_row_is_its_event(events: list[dict[str, Any]]) -> None:
    """Every searched field of every event, as it came; more of them than are decoded at once."""
    long = [builders.line(name, raw_reason="x" * (PIECE_BYTES // 3)) for name in ("click", "injection") * 3]
    lines = [*_lines(events), *long]
    envelope = builders.envelope(lines)
    *rows, marker = columns(envelope).to_pylist()
    assert [row["raw"] for row in rows] == envelope.raw.splitlines()
    for row in rows:
        told = orjson.loads(row["raw"])
        assert row["type"] == told["type"]
        assert row["timestamp"] == datetime.fromtimestamp(int(told["timestamp"]), UTC)
        assert (row["subaccount_id"] or 0) == int(told.get("subaccount_id") or 0)
        for name in TOLD_AS_THEY_ARE:
            assert row[name] == told.get(name), name
    assert (marker["marker_key"], marker["row_count"], marker["raw"]) == (envelope.key, len(lines), b"")
