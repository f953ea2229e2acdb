"""Attempt: one try of one batch, and what is written down of it.

A crash between the customer's answer and our record repeats the batch, with the same id and the same bytes: that is the
promise, and `X-MessageSystems-Batch-ID` is how a receiver sees it.
"""

from __future__ import annotations

import random
from dataclasses import replace
from http import HTTPStatus
from typing import Final

from omni_etl import telemetry
from omni_etl.backoff import Backoff
from omni_etl.clock import Clock
from omni_etl.errors import UnavailableError
from omni_etl.outbox import Batch, DueBatch, Outbox, Verdict, held_until_ms
from omni_etl.poster import Answer, Poster
from omni_etl.services.webhooks.hiding import without_secrets
from omni_etl.services.webhooks.lane import WebhookLane
from omni_etl.services.webhooks.signing import signature_headers
from omni_etl.services.webhooks.subscriptions import Subscriptions
from omni_etl.services.webhooks.tokens import Tokens
from omni_etl.services.webhooks.verdict import judge
from omni_etl.webhook import Webhook

NOTICES_MS: Final = (3_600_000, 86_400_000, 259_200_000)  # of failing, at which somebody is told
TOKEN_REFUSED: Final = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED})  # as at SparkPost

# What custom headers may not replace: ours, and those by which HTTP finds the end of a request.
HEADERS_RESERVED: Final = frozenset({
    "connection", "content-length", "content-type", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding",
    "upgrade", "user-agent", "webhook-id", "webhook-signature", "webhook-timestamp", "x-messagesystems-batch-id",
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

    async def make(self, due: DueBatch, lane: WebhookLane, *, begin_by: float, until: float) -> None:
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
        if isinstance(authorized, Answer):  # of the token's server: its status says nothing of the batch
            answer = replace(authorized, status=None)
        else:
            answer = await self._send(due.batch, authorized)
        seconds = self._clock.monotonic() - began
        schedule = "standard" if webhook is None else webhook.retry_schedule
        now_ms = int(self._clock.now() * 1000)
        sent_as = authorized if isinstance(authorized, Webhook) else webhook
        if sent_as is not None and not answer.ok:
            answer = without_secrets(answer, sent_as)
        verdict = judge(due, answer, lane=lane, schedule=schedule, now_ms=now_ms, rng=self._rng)
        if answer.ok:
            lane.succeeded_at_ms = now_ms
            lane.resume_at_ms = 0 if lane.is_open else lane.resume_at_ms
        lane.answered(answer, began=began, ended=began + seconds, is_probe=due.is_probe)
        held_ms = held_until_ms(lane.resume_at_ms, now_ms=now_ms)
        lane.resume_at_ms = max(held_ms, now_ms + int(verdict.hold_seconds * 1000))
        lane.is_stopped = lane.is_stopped or verdict.stop_reason is not None
        await self._record(due, replace(verdict, latency_ms=round(seconds * 1000)), until=until)
        self._tell(due, verdict, lane, now_ms)

    async def _send(self, batch: Batch, webhook: Webhook | None) -> Answer:
        headers = headers_of(batch, webhook, now_ms=int(self._clock.now() * 1000))
        answer = await self._poster.post(batch.target, batch.body, headers)
        if webhook is not None and answer.status in TOKEN_REFUSED:
            self._tokens.refused(webhook)
        return answer

    async def _record(self, due: DueBatch, verdict: Verdict, *, until: float) -> None:
        """Say it again while the outbox is away: cheaper than to trouble the customer again."""
        tries = 0
        while True:
            try:
                await self._outbox.settle(due, verdict)
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

    def _tell(self, due: DueBatch, verdict: Verdict, lane: WebhookLane, now_ms: int) -> None:
        """In the log, and of a webhook that fails for long a few times only."""
        if verdict.kind == "delivered":
            lane.notices = 0
            return
        said = {"webhook": due.batch.webhook_id, "batch": due.batch.id, "reason": verdict.answer}
        if verdict.kind == "given_up":
            self._log.warning("webhook_batch_given_up", events=due.batch.event_count, **said)
        else:
            self._log.info(
                "webhook_attempt_failed", next=verdict.kind, seconds=round(verdict.retry_in_seconds, 1), **said
            )
        if verdict.stop_reason is not None:
            self._log.error("webhook_stopped", webhook=due.batch.webhook_id, reason=verdict.stop_reason)
            return
        failing_ms = now_ms - (lane.failing_since_ms or now_ms)
        notices = sum(failing_ms >= each for each in NOTICES_MS)
        if notices > lane.notices:
            hours = round(failing_ms / 3_600_000)
            self._log.warning("webhook_failing", webhook=due.batch.webhook_id, hours=hours, reason=verdict.answer)
        lane.notices = notices


def headers_of(batch: Batch, webhook: Webhook | None, *, now_ms: int) -> dict[str, str]:
    """What goes with the body: custom headers of the cut, secrets as they are now, signatures, and SparkPost's own."""
    signing = () if webhook is None else webhook.signing_secrets(now_ms)
    secrets: dict[str, str] = {}
    if webhook is not None and webhook.auth_header is not None:
        secrets["Authorization"] = webhook.auth_header
    if webhook is not None and webhook.auth_token is not None:
        secrets["X-MessageSystems-Webhook-Token"] = webhook.auth_token
    hidden = HEADERS_RESERVED | {name.lower() for name in secrets}
    return {
        **{name: value for name, value in batch.headers.items() if name.lower() not in hidden},
        **secrets,
        **signature_headers(batch.id, batch.body, secrets=signing, at_seconds=now_ms // 1000),
        "Content-Type": "application/json",
        "User-Agent": "SparkPost",  # receivers in the wild look for it
        "X-MessageSystems-Batch-ID": batch.id,
    }
