"""Webhooks in a database: other processes see a change at once."""

from omni_etl.backends.database.engine import Database, open_database
from omni_etl.backends.database.webhooks import DatabaseWebhooks
from omni_etl.clock import ManualClock
from omni_etl.webhook import Webhook


async def test_a_change_is_seen_by_others(control: Database, clock: ManualClock, database_url: str) -> None:
    """The API writes, the webhooks service reads through connections of its own."""
    other = open_database(database_url, "control", clock)
    await other.open("other")
    webhook = Webhook(id="w", name="w", target="https://x.test/", events=frozenset({"open"}))
    assert await DatabaseWebhooks(other, clock).all() == []
    await DatabaseWebhooks(control, clock).put(webhook)
    assert await DatabaseWebhooks(other, clock).all() == [webhook]
    await other.close("other")
