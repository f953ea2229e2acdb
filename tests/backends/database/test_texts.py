"""Texts that PostgreSQL would refuse: they come back as they were, sort as they did, and poison nothing."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, select
from tests.builders import envelope, line
from tests.outboxes import claim, closing, retry
from tests.secret_boxes import BOX

from omni_etl.backends.database.deliveries import DatabaseDeliveries
from omni_etl.backends.database.engine import Database
from omni_etl.backends.database.outbox import DatabaseOutbox
from omni_etl.backends.database.registry import DatabaseRegistry
from omni_etl.backends.database.suppression_list import DatabaseSuppressionList
from omni_etl.backends.database.tables import fleet_words
from omni_etl.backends.database.texts import KEY_BYTES_MAX, escaped, restored, shortened
from omni_etl.backends.database.webhooks import DatabaseWebhooks
from omni_etl.clock import ManualClock
from omni_etl.outbox import Batch, Cut, Segment
from omni_etl.service import Deadline
from omni_etl.services.suppressions import Suppressions, sayings_of
from omni_etl.suppression_list import Saying
from omni_etl.webhook import Webhook

TEXTS = st.text(st.sampled_from("\x00\x01\x02a\x1f\ud7ff\U0010ffff"), max_size=8)
NUL = "a\x00b\x01c"


@given(TEXTS)
def test_what_is_escaped_comes_back(text: str) -> None:
    """Whatever stands beside what, and the database sees no U+0000."""
    assert restored(escaped(text)) == text
    assert "\x00" not in escaped(text)


@given(TEXTS, TEXTS)
def test_what_is_escaped_sorts_as_before(one: str, two: str) -> None:
    """The greatest saying is the greatest on either side."""
    assert (one < two) == (escaped(one).encode() < escaped(two).encode())


def test_a_long_key_stays_itself() -> None:
    """Short enough for an index, different from its like, and the same when it comes again as it came out."""
    one, two = "x" * 100_000, "x" * 99_999
    assert len(shortened(one).encode()) <= KEY_BYTES_MAX
    assert shortened(one) != shortened(two)
    assert shortened(shortened(one)) == shortened(one)
    assert shortened("x" * KEY_BYTES_MAX) == "x" * KEY_BYTES_MAX


async def test_any_character_is_kept(control: Database) -> None:
    """As a key, as a value, in a comparison and in an order."""
    names = sorted([NUL, "a\x00", "a", "a\x01", "a\x02", "\U0001f4ec"])
    async with control.writing() as connection:
        await connection.execute(insert(fleet_words), [{"name": name, "value": name} for name in names])
    async with control.reading() as connection:
        rows = (await connection.execute(select(fleet_words).order_by(fleet_words.c.name))).all()
        [found] = await connection.execute(select(fleet_words.c.value).where(fleet_words.c.name == NUL))
    assert [tuple(row) for row in rows] == [(name, name) for name in names]
    assert found.value == NUL


@pytest.mark.parametrize("recipient", [f"{NUL}@example.com", "x" * 100_000])
async def test_an_address_that_no_server_would_take_poisons_nothing(
    control: Database, clock: ManualClock, recipient: str
) -> None:
    """U+0000 in every field, or a hundred thousand characters: applied, and found again."""
    odd = {"event_id": NUL, "raw_reason": NUL, "bounce_class": "10", "error_code": NUL}
    listed = DatabaseSuppressionList(control, clock)
    bounced = envelope([line("bounce", rcpt_to=recipient, **odd)])
    assert list(sayings_of(bounced))
    assert await listed.apply(bounced, list(sayings_of(bounced)))
    [entry] = await listed.check(recipient)
    assert entry.description == f"{NUL}: {NUL}"
    assert [each.recipient for each in await listed.check(entry.recipient)] == [entry.recipient]
    assert await listed.check(recipient + "x") == []


async def test_ties_are_broken_by_ids_of_any_characters(control: Database, clock: ManualClock) -> None:
    """In whatever order they arrive."""
    listed = DatabaseSuppressionList(control, clock)
    first = Saying(0, "ann@example.com", "transactional", True, 1, "a\x00", "Bounce Rule", "first")
    for each in (replace(first, said_id="a\x01", description="last"), first, replace(first, said_id="a")):
        await listed.say([each])
    assert [entry.description for entry in await listed.check("ann@example.com")] == ["last"]


async def test_webhooks_batches_and_reasons_hold_any_character(
    control: Database, outbox_part: Database, clock: ManualClock
) -> None:
    """Names, targets, headers, secrets, answers of customers' servers and reports of processes."""
    webhook = Webhook("w", NUL, NUL, frozenset({"open"}), custom_headers={NUL: NUL}, auth_header=NUL)
    await DatabaseWebhooks(control, clock, BOX).put(webhook)
    assert await DatabaseWebhooks(control, clock, BOX).all() == [webhook]
    registry = DatabaseRegistry(control, clock)
    await registry.report("run", NUL, {NUL: NUL})
    await registry.bury("metrics", NUL, NUL)
    assert [(each.instance, each.state) for each in await registry.reports()] == [(NUL, {NUL: NUL})]
    assert [(each.key, each.reason) for each in await registry.dead_letters()] == [(NUL, NUL)]
    outbox = DatabaseOutbox(outbox_part, clock)
    batch = Batch("b", NUL, NUL, {NUL: NUL}, b"[]", 1, NUL)
    await outbox.put(envelope([line()]), Cut([batch], [Segment(NUL, NUL, b"1", 1)]))
    [due] = await claim(outbox, NUL)
    assert due.batch == batch
    [joined] = await outbox.join([closing(NUL, is_claimed=True)], claim_seconds=30)
    assert joined.batch.webhook_id == NUL
    verdict = replace(retry(0, NUL), stop_reason=NUL, excerpt=NUL)
    assert await outbox.settle(due, verdict)
    deliveries = DatabaseDeliveries(outbox_part, clock)
    [attempt] = await deliveries.attempts(NUL, count_max=9)
    [lane] = (await deliveries.lanes([NUL])).values()
    assert (attempt.answer, attempt.excerpt, lane.webhook_id, lane.stopped_reason) == (NUL, NUL, NUL, NUL)


async def test_the_service_applies_such_an_envelope(control: Database, clock: ManualClock) -> None:
    """The whole way from a line that `event.check` passed."""
    service = Suppressions(DatabaseSuppressionList(control, clock))
    await service.apply(
        envelope([line("spam_complaint", rcpt_to=NUL)], lane="express"), Deadline(clock, clock.monotonic() + 1)
    )
    assert await service._list.count() == 1
