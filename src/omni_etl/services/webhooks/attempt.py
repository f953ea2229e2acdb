"""Attempt: one try of one batch, and what is written down of it.

A crash between the customer's answer and our record repeats the batch, with the same id and the same bytes: that is the
promise, and `X-MessageSystems-Batch-ID` is how a receiver sees it.
"""

from __future__ import annotations

import random
from http import HTTPStatus
from typing import Final

from omni_etl import telemetry
from omni_etl.backoff import Backoff
from omni_etl.clock import Clock
from omni_etl.errors import UnavailableError
from omni_etl.outbox import Batch, DueBatch, Outbox
from omni_etl.poster import Answer, Poster
from omni_etl.services.webhooks.subscriptions import Subscriptions
from omni_etl.services.webhooks.tokens import Tokens
from omni_etl.webhook import Webhook

# Seconds between attempts. SparkPost makes 12 attempts within 8 hours and publishes no times; these add up to 7 h 23 min.
RETRY_WAITS_SECONDS: Final = (5, 30, 120, 300, 600, 1_200, 2_400, 3_600, 5_400, 6_300, 6_600)
ATTEMPTS_MAX: Final = len(RETRY_WAITS_SECONDS) + 1
JITTER_SHARE: Final = 0.05  # either way; still under 8 hours, the attempts themselves included
RETRY_AFTER_SECONDS_MAX: Final = 3_600  # a customer may ask for more time than the table gives, up to this

TOKEN_REFUSED: Final = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED})  # as at SparkPost

# What custom headers may not replace: ours, and those by which HTTP finds the end of a request.
HEADERS_RESERVED: Final = frozenset({
    "connection", "content-length", "content-type", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding",
    "upgrade", "user-agent", "x-messagesystems-batch-id",
})  # fmt: skip


class Attempts:
    """Makes attempts and records them, for as long as the claim of the batch holds."""

    def __init__(
        self, *, subscriptions: Subscriptions, outbox: Outbox, poster: Poster, clock: Clock, rng: random.Random
    ) -> None:
        self._subscriptions = subscriptions
        self._outbox = outbox
        self._poster = poster
        self._tokens = Tokens(poster, clock)
        self._clock = clock
        self._rng = rng
        self._backoff = Backoff(first_seconds=0.2, wait_seconds_max=5.0)
        self._log = telemetry.get_logger(service="webhooks")

    async def make(self, due: DueBatch, *, begin_by: float, until: float) -> None:
        """Send the batch once and record the answer, as long as the claim, which ends at `until`, leaves time for both.

        `begin_by` is the last monotonic time at which to begin: what waited longer for the database is left to lapse,
        because someone else may have delivered it by the time the customer answers.

        A deleted webhook's batch goes out without its secret; one paused since the claim is left to lapse, untried.

        Raises:
            UnavailableError: the secret could not be read; nothing was sent.

        """
        webhook = await self._subscriptions.find(due.batch.webhook_id)
        if webhook is not None and not webhook.active:
            return
        authorized = webhook and await self._tokens.authorized(webhook)
        began = self._clock.monotonic()
        if began >= begin_by:
            return
        answer = authorized if isinstance(authorized, Answer) else await self._send(due.batch, authorized)
        latency_ms = round((self._clock.monotonic() - began) * 1000)
        await self._record(due, answer, latency_ms=latency_ms, until=until)

    async def _send(self, batch: Batch, webhook: Webhook | None) -> Answer:
        answer = await self._poster.post(batch.target, batch.body, headers_of(batch, webhook))
        if webhook is not None and answer.status in TOKEN_REFUSED:
            self._tokens.refused(webhook)
        return answer

    async def _record(self, due: DueBatch, answer: Answer, *, latency_ms: int, until: float) -> None:
        """Say it again while the outbox is away: cheaper than to trouble the customer again."""
        tries = 0
        while True:
            try:
                await self._say(due, answer, latency_ms)
            except UnavailableError as error:
                tries += 1
                if tries == 1:
                    self._log.warning("webhook_delivery_waiting", batch=due.batch.id, reason=str(error))
                wait_seconds = self._backoff.wait_seconds(tries, self._rng)
                if self._clock.monotonic() + wait_seconds >= until:
                    return
                await self._clock.sleep(wait_seconds)
            else:
                return

    async def _say(self, due: DueBatch, answer: Answer, latency_ms: int) -> None:
        if answer.ok:
            assert answer.status is not None
            await self._outbox.delivered(due, answer.status, latency_ms=latency_ms)
            return
        attempts = due.attempts + 1
        wait_seconds = retry_wait_seconds(attempts, answer.retry_after_seconds, self._rng)
        if not await self._outbox.failed(due, answer.reason, retry_in_seconds=wait_seconds, latency_ms=latency_ms):
            return
        said = {"webhook": due.batch.webhook_id, "batch": due.batch.id, "attempts": attempts, "reason": answer.reason}
        if wait_seconds is None:
            self._log.warning("webhook_batch_given_up", events=due.batch.event_count, **said)
        else:
            self._log.info("webhook_attempt_failed", retry_in_seconds=round(wait_seconds, 1), **said)


def headers_of(batch: Batch, webhook: Webhook | None) -> dict[str, str]:
    """What goes with the body: custom headers of the cut, secrets as they are now, and SparkPost's own."""
    secrets: dict[str, str] = {}
    if webhook is not None and webhook.auth_header is not None:
        secrets["Authorization"] = webhook.auth_header
    if webhook is not None and webhook.auth_token is not None:
        secrets["X-MessageSystems-Webhook-Token"] = webhook.auth_token
    hidden = HEADERS_RESERVED | {name.lower() for name in secrets}
    return {
        **{name: value for name, value in batch.headers.items() if name.lower() not in hidden},
        **secrets,
        "Content-Type": "application/json",
        "User-Agent": "SparkPost",  # receivers in the wild look for it
        "X-MessageSystems-Batch-ID": batch.id,
    }


def retry_wait_seconds(attempts: int, retry_after_seconds: float | None, rng: random.Random) -> float | None:
    """Seconds from the failure of attempt number `attempts` to the next, or None where that was the last."""
    if attempts >= ATTEMPTS_MAX:
        return None
    wait_seconds = RETRY_WAITS_SECONDS[attempts - 1] * rng.uniform(1 - JITTER_SHARE, 1 + JITTER_SHARE)
    return max(wait_seconds, min(retry_after_seconds or 0.0, RETRY_AFTER_SECONDS_MAX))
