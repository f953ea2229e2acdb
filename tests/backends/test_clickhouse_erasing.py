"""backends.clickhouse_erasing: every event of a recipient goes, however it is spelled, and nothing else; what stays names nobody."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests import builders

from omni_etl import sql
from omni_etl.backends import clickhouse_erasing
from omni_etl.backends.clickhouse import ClickHouseStore
from omni_etl.backends.clickhouse_erasing import ClickHouseEraser
from omni_etl.clock import SystemClock
from omni_etl.envelope import Envelope
from omni_etl.errors import UnavailableError
from omni_etl.service import Deadline
from omni_etl.services import message_events
from omni_etl.services.metrics import Metrics
from omni_etl.suppression_list import address_key

CLOCK = SystemClock()
DAY_MS = 86_400_000


class Scene:
    """An empty store and who erases from it."""

    def __init__(self, store: ClickHouseStore) -> None:
        self.store = store
        self.eraser = ClickHouseEraser(store, CLOCK)

    async def put(self, lines: list[bytes], *, seq: int = 1, days_later: int = 0) -> Envelope:
        """One envelope, into both tables."""
        found = builders.envelope(lines, seq=seq, cut_at_ms=builders.CUT_AT_MS + days_later * DAY_MS)
        await self.put_again(found)
        return found

    async def put_again(self, found: Envelope) -> None:
        """As a child does."""
        for service in (message_events.MessageEvents(self.store), Metrics(self.store)):
            await service.apply(found, Deadline(CLOCK, CLOCK.monotonic() + 60))

    async def erase(self, recipient: str) -> int:
        """From every day."""
        return sum([await self.eraser.erase_events(recipient, day) for day in await self.eraser.days()])

    async def ids(self) -> list[str]:
        """Of the events that stand."""
        rows = await self.store.query("SELECT event_id FROM message_events WHERE marker_key = '' ORDER BY event_id")
        return [str(each) for (each,) in rows]


@pytest.fixture
async def scene(store_url: str) -> AsyncIterator[Scene]:
    """Open."""
    subject = Scene(ClickHouseStore(store_url, timeout_seconds=30))
    await subject.eraser.open()
    yield subject
    await subject.eraser.close()


def line(event_id: str, **fields: Any) -> bytes:
    """An event by its id."""
    return builders.line(fields.pop("type", "delivery"), event_id=event_id, **fields)


SPELLINGS = {
    "a@x.test": ["a@x.test", "A@X.test", " a@x.TEST\t", "a@x.test\u2003"],
    "bücher@bücher.example": ["BÜCHER@bücher.example", "bu\u0308cher@xn--bcher-kva.example"],
    'a"\\b"@x.test': ['A"\\b"@x.test'],
    "k@x.test": ["\u212a@x.test"],
}


@pytest.mark.parametrize("field", ["rcpt_to", "raw_rcpt_to"])
@pytest.mark.parametrize("who", SPELLINGS)
async def test_every_spelling_in_either_field_goes(scene: Scene, who: str, field: str) -> None:
    """As the suppression list reads them."""
    spellings = SPELLINGS[who]
    assert {address_key(each) for each in spellings} == {address_key(who)}
    await scene.put([line(f"gone{at}", **{field: each}) for at, each in enumerate(spellings)] + [line("stays")])
    await scene.put([line("gone", **{"rcpt_to": "other@x.test", field: spellings[0]})], seq=2)
    assert await scene.erase(address_key(who)) == len(spellings) + 1
    assert await scene.ids() == ["stays"]


async def test_nobody_else_goes(scene: Scene) -> None:
    """Not who is like them, nor who writes to them, nor who is mentioned beside them."""
    lines = [
        line("1", rcpt_to="aa@x.test"),
        line("2", rcpt_to="a@x.test.example"),
        line("3", rcpt_to="b@x.test", friendly_from="a@x.test", subject="for a@x.test", raw_rcpt_to="b@x.test"),
        line("4", rcpt_to="b@x.test", rcpt_meta={"raw_rcpt_to": "a@x.test", "rcpt_to": "a@x.test"}),
        line("5"),
    ]
    await scene.put(lines)
    assert await scene.erase("a@x.test") == 0
    assert await scene.ids() == ["1", "2", "3", "4", "5"]


async def test_the_ledger_stays_true(scene: Scene) -> None:
    """An envelope that comes again brings nobody back and doubles nobody, in events and in metrics."""
    found = await scene.put([line("gone", rcpt_to="a@x.test"), line("stays", rcpt_to="b@x.test")])
    markers = await scene.store.markers("message_events", [found.key])
    assert await scene.erase("a@x.test") == 1
    assert await scene.store.markers("message_events", [found.key]) == markers
    await scene.put_again(found)
    assert await scene.ids() == ["stays"]
    assert [tuple(each) for each in await scene.store.query(sql.query("metrics_by_type"))] == [("delivery", 2)]


async def test_only_parts_that_hold_them_are_rewritten(scene: Scene) -> None:
    """Those of other days, and of this one without such an event, keep their files under another name."""
    for seq, days_later, who in ((1, 0, "b"), (2, 1, "a"), (3, 1, "b")):
        await scene.put([line(str(seq), rcpt_to=f"{who}@x.test")], seq=seq, days_later=days_later)
    before = await files(scene.store)
    assert await scene.erase("a@x.test") == 1
    assert len(before & await files(scene.store)) == 2
    assert await scene.ids() == ["1", "3"]


async def files(store: ClickHouseStore) -> set[int]:
    """The inodes of the parts' rows."""
    parts = "SELECT path FROM system.parts WHERE active AND database = currentDatabase() AND table = 'message_events'"
    return {Path(path, "data.bin").stat().st_ino for (path,) in await store.query(parts)}


async def test_many_events_go_some_at_a_time(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a request may hold is no limit to what is erased."""
    monkeypatch.setattr(clickhouse_erasing, "ROWS_AT_ONCE", 7)
    await scene.put([line(f"gone{at}", rcpt_to="a@x.test") for at in range(20)] + [line("stays")])
    assert await scene.erase("a@x.test") == 20
    assert await scene.ids() == ["stays"]
    await scene.put([line(f"gone{at}", rcpt_to="a@x.test") for at in range(clickhouse_erasing.ROWS_AT_ONCE)], seq=2)
    monkeypatch.undo()
    await scene.put([line(f"gone{at}", rcpt_to="a@x.test") for at in range(clickhouse_erasing.ROWS_AT_ONCE + 5)], seq=3)
    assert await scene.erase("a@x.test") == 7 + clickhouse_erasing.ROWS_AT_ONCE + 5


async def test_replies_that_name_the_address_are_no_longer_counted_by(scene: Scene) -> None:
    """A remote server's words may hold it; what counts events by anything else still counts them."""
    reply = "550 5.1.1 <A@x.test>: user unknown"
    bounce = {"type": "bounce", "bounce_class": "10", "recipient_domain": "x.test"}
    await scene.put([line(str(at), reason=each, **bounce) for at, each in enumerate((reply, "550 no", reply))])
    await scene.put([line("4", reason=reply, **bounce)], seq=2, days_later=1)
    assert await scene.eraser.erase_reasons("a@x.test") == 2
    assert await scene.eraser.erase_reasons("a@x.test") == 0
    by = "SELECT family, sum(events) FROM metrics WHERE marker_key = '' AND family IN ('reason', 'type', 'domain') GROUP BY 1 ORDER BY 1"
    assert [tuple(row) for row in await scene.store.query(by)] == [("domain", 4), ("reason", 1), ("type", 4)]


async def test_nothing_that_is_left_names_them(scene: Scene) -> None:
    """A mutation stands on the disk until a hundred others came."""
    await scene.put([line("1", rcpt_to="findme@x.test"), line("2", reason="550 <findme@x.test>", type="bounce")])
    assert await scene.erase("findme@x.test") == 1
    assert await scene.eraser.erase_reasons("findme@x.test") == 1
    mutations = [str(each) for (each,) in await scene.store.query("SELECT command FROM system.mutations")]
    assert len(mutations) >= 2
    assert not any("findme" in each for each in mutations)


async def test_a_part_that_cannot_be_rewritten_is_said(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of waiting for ever; the engine tries on."""
    await scene.put([line("1", rcpt_to="a@x.test")])
    query = scene.store.query

    async def failing(statement: str, parameters: Any = None) -> Any:
        if statement == sql.query("mutations_left"):
            return [(1, 1, "no space left on device")]
        return await query(statement, parameters)

    monkeypatch.setattr(scene.store, "query", failing)
    with pytest.raises(UnavailableError, match="no space left on device"):
        await scene.erase("a@x.test")
