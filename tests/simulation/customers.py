"""Customers: servers that take batches, refuse, hang, lose answers and are broken by an event; and what each of them got."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson
from tests.simulation.database import DatabaseFile
from tests.simulation.faults import Faults, LoopClock

from omni_etl.backends.database.deliveries import DatabaseDeliveries
from omni_etl.backends.database.outbox import DatabaseOutbox
from omni_etl.backends.database.replays import DatabaseReplays
from omni_etl.backends.database.secret_box import KEY_BYTES, SecretBox
from omni_etl.backends.database.webhooks import DatabaseWebhooks
from omni_etl.poster import Answer
from omni_etl.services.webhooks import DeliveryLimits, WebhooksParts, WebhooksService
from omni_etl.webhook import Webhook, new_signing_secret

ATTEMPT_SECONDS_MAX: Final = 10.0
LIMITS: Final = DeliveryLimits(in_flight_max=8, in_flight_webhook_max=3, attempt_seconds_max=ATTEMPT_SECONDS_MAX)
WANTED: Final = (
    frozenset({"delivery", "bounce", "spam_complaint"}),
    frozenset({"open", "click", "delivery", "injection", "list_unsubscribe"}),
)
ROWS_AT_ONCE: Final = 1_000


class Customers:
    """All of them, and the outbox for them."""

    def __init__(self, faults: Faults, clock: LoopClock, control: DatabaseFile) -> None:
        rng = faults.rng
        self.control = control
        self.outbox = DatabaseFile("outbox", faults)
        self.webhooks = [
            Webhook(
                f"w{number}",
                f"w{number}",
                f"https://w{number}.example/",
                events,
                batch_events_max=rng.choice((2, 5, 100)),
                signing_secret=new_signing_secret(),
            )
            for number, events in enumerate(WANTED)
        ]
        self.bodies: dict[str, set[bytes]] = defaultdict(set)  # batch id → its bytes, as ever seen
        self.accepted: dict[tuple[str, str], set[str]] = defaultdict(set)  # (webhook, number) → ids of batches
        self.posts: Counter[str] = Counter()
        self._faults = faults
        self._clock = clock
        self._box = SecretBox([bytes(KEY_BYTES)])
        self._spoils = rng.choice((0, 0, 20))  # one in so many events breaks a customer

    async def subscribe(self) -> None:
        """Before anything is accepted, so that all of it is owed to them."""
        kept = DatabaseWebhooks(self.control.connect(self._clock), self._clock, self._box)
        for webhook in self.webhooks:
            await kept.put(webhook)

    def service(self, clock: LoopClock, rng: random.Random) -> WebhooksService:
        """One process's own."""
        outbox = self.outbox.connect(clock)
        nobody: Any = _NoSearch()
        parts = WebhooksParts(
            webhooks=DatabaseWebhooks(self.control.connect(clock), clock, self._box),
            outbox=DatabaseOutbox(outbox, clock),
            replays=DatabaseReplays(outbox, clock),
            search=nobody,
            poster=self,
        )
        return WebhooksService(parts, clock=clock, rng=rng, limits=LIMITS)

    @property
    def owed(self) -> int:
        """Events that wait in the outbox, or were given up."""
        rows = self.outbox.raw.execute("SELECT coalesce(sum(event_count), 0) FROM outbox_batches").fetchone()
        return int(rows[0]) + int(
            self.outbox.raw.execute("SELECT coalesce(sum(event_count), 0) FROM outbox_segments").fetchone()[0]
        )

    async def mend(self) -> None:
        """What the operator does when customers are well again: resume, and try now."""
        deliveries = DatabaseDeliveries(self.outbox.connect(self._clock), self._clock)
        for webhook in self.webhooks:
            await deliveries.resume(webhook.id)
            await deliveries.retry(webhook.id, count_max=ROWS_AT_ONCE)

    # The poster

    async def open(self) -> None:
        """No pool."""

    async def close(self) -> None:
        """None either."""

    async def post(self, target: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """One attempt, within its time; the customer may have it although nobody hears so."""
        batch_id = headers["X-MessageSystems-Batch-ID"]
        webhook_id = target.removeprefix("https://").partition(".")[0]
        self.posts[batch_id] += 1
        self.bodies[batch_id].add(body)

        spoiled = self._is_spoiled(webhook_id, body)  # as it is now, also where the bytes arrive when all is mended

        async def effect() -> Answer:
            return Answer(413, "413") if spoiled else self._take(webhook_id, batch_id, body)

        try:
            async with asyncio.timeout(ATTEMPT_SECONDS_MAX):
                return await self._faults.call("customer", effect, error=lambda _: TimeoutError())
        except TimeoutError:
            return Answer(None, "timeout")

    def _take(self, webhook_id: str, batch_id: str, body: bytes) -> Answer:
        for status, share in ((500, "customer broke"), (429, "customer was full"), (410, "customer left")):
            if self._faults.happens(share, shares=(0.0, 0.0, 0.02, 0.1)):
                return Answer(status, str(status), retry_after_seconds=3.0 if status == 429 else None)
        for number in _numbers(body):
            self.accepted[webhook_id, number].add(batch_id)
        return Answer(200, "200")

    def _is_spoiled(self, webhook_id: str, body: bytes) -> bool:
        """Some events break some customers, until they are mended; a half without them does not."""
        if not (self._faults.on and self._spoils):
            return False
        spoiled = any(hash((each, webhook_id)) % self._spoils == 0 for each in _numbers(body))
        self._faults.counted["customer spoiled"] += spoiled
        return spoiled

    def close_files(self) -> None:
        """Connections of the world's end."""
        self.outbox.close()


class _NoSearch:
    async def close(self) -> None:
        """Nothing to close."""


def _numbers(body: bytes) -> Iterator[str]:
    for element in orjson.loads(body):
        for event in element["msys"].values():
            yield event["subject"]
