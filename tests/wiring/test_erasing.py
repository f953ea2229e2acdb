"""wiring.erasing: erasing on real engines, the whole way but for processes."""

import json
from typing import Any

from tests import builders
from tests.wiring.conftest import Make

from omni_etl.clock import SystemClock
from omni_etl.outbox import Batch, Cut, Segment, Wanted
from omni_etl.service import Deadline
from omni_etl.services.message_events import MessageEvents
from omni_etl.suppression_list import Wish
from omni_etl.wiring.databases import build_agreements, build_outbox, build_suppression_list
from omni_etl.wiring.erasing import open_erasing, read_receipts
from omni_etl.wiring.opened import opened
from omni_etl.wiring.stores import build_store

WHO = "a@x.test"


async def test_a_recipient_is_erased_from_everything(make_settings: Make, store_url: str) -> None:
    """Store, outbox, suppression list; the receipt is in the database, and so is the hash that parents hear of."""
    mine = make_settings(store_url=store_url)
    clock = SystemClock()
    lines = [builders.line(rcpt_to=each, event_id=each) for each in (WHO, "b@x.test")]
    found = builders.envelope(lines, cut_at_ms=int(clock.now() * 1000))
    elements = b",".join(json.dumps({"msys": {"message_event": json.loads(each)}}).encode() for each in lines)
    said: list[Any] = []
    async with (
        opened(build_store(mine)) as store,
        opened(build_outbox(mine, clock)) as outbox,
        opened(build_suppression_list(mine, clock)) as entries,
    ):
        await MessageEvents(store, clock=clock).apply(found, Deadline(clock, clock.monotonic() + 60))
        batch = Batch("one", "w", "https://x.test/", {}, b"[%b]" % elements, event_count=2)
        await outbox.put(found, Cut([batch], [Segment("v", "two", elements, event_count=2)]))
        await entries.put([Wish(0, WHO, "transactional")])
        async with open_erasing(mine, lambda *each: said.append(each)) as erasing:
            erased = await erasing.erase(WHO, with_suppressions=True)
        assert [
            tuple(row) for row in await store.query("SELECT rcpt_to FROM message_events WHERE marker_key = ''")
        ] == [("b@x.test",)]
        [due] = await outbox.claim({"w": Wanted(fresh=9)}, claim_seconds=9)
        assert [(each.webhook_id, each.event_count) for each in await outbox.open_segments()] == [("v", 1)]
        assert (due.batch.event_count, WHO.encode() in due.batch.body) == (1, False)
        assert await entries.check(WHO) == []
    receipt = erased.receipt
    assert (receipt.events, receipt.batches_rewritten, receipt.batch_events, receipt.suppressions) == (1, 1, 2, 1)
    assert await read_receipts(mine) == [receipt]
    assert said
    registry, erasures = build_agreements(mine, clock)
    async with opened(registry), opened(erasures):
        known = await erasures.known()
    assert known is not None
    assert len(known.erasures) == 1
