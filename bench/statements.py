"""Statements: how often the database is spoken to for each batch, from put to delivered, as the service does it."""

from __future__ import annotations

import asyncio
import tempfile
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.engine import Engine

from bench.bare_limit import packed
from bench.corpus import Corpus
from omni_etl.backends.database import open_database
from omni_etl.backends.database.outbox import DatabaseOutbox
from omni_etl.clock import SystemClock
from omni_etl.envelope import open_header, open_payload
from omni_etl.event import TYPES
from omni_etl.outbox import Verdict
from omni_etl.services.webhooks.match import cut
from omni_etl.webhook import Webhook

ENVELOPE_BYTES: Final = 256 * 1024
CLOCK: Final = SystemClock()


async def per_batch(load: Corpus) -> float:
    """One webhook for everything, whose customer takes each batch at the first attempt."""
    webhook = Webhook("bench", "bench", "https://customer.test/", TYPES)
    statements = batches = 0

    def count(*_: Any) -> None:
        nonlocal statements
        statements += 1

    with tempfile.TemporaryDirectory(prefix="omni-bench-") as directory:
        outbox = DatabaseOutbox(open_database(f"sqlite:///{directory}", "outbox", CLOCK), CLOCK)
        await outbox.open()
        event.listen(Engine, "before_cursor_execute", count)
        try:
            for header, payload in packed(load, ENVELOPE_BYTES):
                envelope = open_payload(open_header(header), payload)
                pieces = cut(envelope, [webhook])
                claimed = await outbox.put(envelope, pieces, eager=[webhook.id], claim_seconds=60) or []
                batches += len(claimed)
                verdict = Verdict(kind="delivered", answer="200")
                await asyncio.gather(*(outbox.settle(each, verdict) for each in claimed))
        finally:
            event.remove(Engine, "before_cursor_execute", count)
            await outbox.close()
    return round(statements / batches, 2)
