"""services.webhooks.subscriptions: a list at most a second old, or an error."""

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


async def test_it_reads_once_a_second_whoever_asks() -> None:
    """Many envelopes at the same time cost one read; a second later the next asker sees what is new."""
    table, clock = Table(), ManualClock()
    subscriptions = Subscriptions(table, clock)
    answers = await asyncio.gather(*(subscriptions.now() for _ in range(10)))
    assert (answers, table.reads) == ([[]] * 10, 1)
    await table.put(webhook("a"))
    clock.advance(0.9)
    assert await subscriptions.now() == []
    clock.advance(0.1)
    assert await subscriptions.now() == [webhook("a")]
    assert await subscriptions.find("a") == webhook("a")
    assert await subscriptions.find("b") is None
    assert table.reads == 2


async def test_a_stale_list_is_no_answer() -> None:
    """When it cannot be read again the caller hears so, and the next one tries again."""
    table, clock = Table(), ManualClock()
    subscriptions = Subscriptions(table, clock)
    table.is_away = True
    with pytest.raises(UnavailableError):
        await subscriptions.now()
    table.is_away = False
    assert await subscriptions.now() == []
    table.is_away = True
    assert await subscriptions.now() == []
    clock.advance(1.0)
    for _ in range(2):
        with pytest.raises(UnavailableError):
            await subscriptions.now()
