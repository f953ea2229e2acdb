"""services.webhooks.subscriptions: the webhooks as they are now, or an error."""

import asyncio

import pytest
from tests.services.webhooks.fakes import Table

from omni_etl.clock import ManualClock
from omni_etl.errors import UnavailableError
from omni_etl.event import TYPES
from omni_etl.services.webhooks.subscriptions import Subscriptions
from omni_etl.webhook import Webhook


def webhook(name: str) -> Webhook:
    """Any webhook."""
    return Webhook(name, name, "https://x.test/", TYPES)


async def test_matching_reads_anew() -> None:
    """An event accepted after a webhook was made is sent to it, however soon after."""
    table, clock = Table(), ManualClock()
    subscriptions = Subscriptions(table, clock)
    assert await subscriptions.now() == []
    await table.put(webhook("a"))
    assert await subscriptions.now() == [webhook("a")]
    assert table.reads == 2


async def test_delivery_reads_once_a_second_whoever_asks() -> None:
    """Many attempts at the same time cost one read; a second later the next asker sees what is new."""
    table, clock = Table(), ManualClock()
    subscriptions = Subscriptions(table, clock)
    answers = await asyncio.gather(*(subscriptions.recent() for _ in range(10)))
    assert (answers, table.reads) == ([[]] * 10, 1)
    await table.put(webhook("a"))
    clock.advance(0.9)
    assert await subscriptions.recent() == []
    clock.advance(0.1)
    assert await subscriptions.find("a") == webhook("a")
    assert await subscriptions.recent() == [webhook("a")]
    assert table.reads == 2


async def test_what_was_just_made_is_found() -> None:
    """Whatever the list of a second ago says: its first batch is not sent as if it had been deleted."""
    table, clock = Table(), ManualClock()
    subscriptions = Subscriptions(table, clock)
    assert await subscriptions.recent() == []
    await table.put(webhook("a"))
    assert await subscriptions.find("a") == webhook("a")
    assert table.reads == 2


async def test_what_was_deleted_is_looked_for_once() -> None:
    """A backlog of its batches costs no read for each; no id is given twice."""
    table, clock = Table(), ManualClock()
    subscriptions = Subscriptions(table, clock)
    for _ in range(10):
        assert await subscriptions.find("gone") is None
    assert table.reads == 2


async def test_what_matching_read_is_recent_to_delivery() -> None:
    """One read serves both."""
    table, clock = Table(), ManualClock()
    subscriptions = Subscriptions(table, clock)
    await subscriptions.recent()
    await table.put(webhook("a"))
    await subscriptions.now()
    assert await subscriptions.recent() == [webhook("a")]
    assert table.reads == 2


async def test_a_stale_list_is_no_answer() -> None:
    """When it cannot be read the caller hears so; delivery may use what was read within the second."""
    table, clock = Table(), ManualClock()
    subscriptions = Subscriptions(table, clock)
    assert await subscriptions.recent() == []
    table.is_away = True
    with pytest.raises(UnavailableError):
        await subscriptions.now()
    assert await subscriptions.recent() == []
    clock.advance(1.0)
    for _ in range(2):
        with pytest.raises(UnavailableError):
            await subscriptions.recent()
