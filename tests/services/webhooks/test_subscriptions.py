"""services.webhooks.subscriptions: the webhooks as they are now, or an error."""

import asyncio
from collections.abc import Sequence

import pytest

from omni_etl.clock import ManualClock
from omni_etl.errors import UnavailableError
from omni_etl.event import TYPES
from omni_etl.services.webhooks.subscriptions import Subscriptions
from omni_etl.webhook import Webhook


class Table:
    """Webhooks in a list; counts how often it was read, and may be away."""

    def __init__(self) -> None:
        self.rows: list[Webhook] = []
        self.reads = 0
        self.is_away = False

    async def open(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to give back."""

    async def all(self) -> Sequence[Webhook]:
        """Every row."""
        self.reads += 1
        await asyncio.sleep(0)
        if self.is_away:
            raise UnavailableError("away")
        return list(self.rows)

    async def find(self, webhook_id: str) -> Webhook | None:
        """One row."""
        return next((each for each in self.rows if each.id == webhook_id), None)

    async def change(self, before: Webhook, after: Webhook) -> bool:
        """Replace a row."""
        self.rows = [after if each == before else each for each in self.rows]
        return after in self.rows

    async def put(self, webhook: Webhook) -> None:
        """Add a row."""
        self.rows.append(webhook)

    async def delete(self, webhook_id: str) -> bool:
        """Drop every row."""
        self.rows.clear()
        return True


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
    assert await subscriptions.find("a") is None
    clock.advance(0.1)
    assert await subscriptions.find("a") == webhook("a")
    assert await subscriptions.find("b") is None
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
