"""The queue on SQS standard queues: at least once, no order, a lease is a visibility timeout.

A receipt handle proves nothing: deletes and extensions of lapsed leases answer OK, and one that SQS calls invalid is with
somebody else, or gone. So the effect of an envelope rests on ledgers, never on a lease.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from omni_etl import telemetry
from omni_etl.backends.sqs.client import SEND_SECONDS_MAX, WAIT_SECONDS_MAX, SqsClient
from omni_etl.backends.sqs.entries import Payload, difference_kept, difference_received, to_entry, to_envelope
from omni_etl.backends.sqs.sizes import MIB, limits
from omni_etl.backends.sqs.standing import Standing, check_retention, require
from omni_etl.clock import Clock
from omni_etl.envelope import SealedEnvelope
from omni_etl.errors import SettingsError, UnavailableError
from omni_etl.queue import Depth, Failures, Lease, check_leases, check_send

POLL_MARGIN_SECONDS: Final = 10.0  # beyond the wait: up to ten envelopes on their way
COUNTS: Final = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
)
ASKED: Final = ["ApproximateReceiveCount", "SentTimestamp"]
ELSEWHERE: Final = frozenset(
    {"ReceiptHandleIsInvalid", "MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight"}
)


class SqsQueue:
    """Several processes may send and receive at once. `omni queues create` makes the queues; `open` only looks."""

    def __init__(
        self, client: SqsClient, clock: Clock, *, prefix: str, payload: Payload = "attribute", envelope_bytes: int = 0
    ) -> None:
        self.limits = limits(MIB, payload)
        self._client = client
        self._clock = clock
        self._prefix = prefix
        self._payload: Payload = payload
        self._envelope_bytes = envelope_bytes
        self._urls: dict[str, str] = {}
        self._sent_at: dict[str, float] = {}  # of the oldest envelope in the last receive
        self._released: dict[str, float] = {}  # receipt → when its delay ends, on our clock

    async def open(self, queue_names: Sequence[str]) -> None:
        """Look every queue up and read its limits.

        Raises:
            SettingsError: a queue is missing, takes less than an envelope, or keeps dead letters too short; credentials
                or region are refused.

        """
        try:
            standings = await self._standings(queue_names)
        except (SettingsError, UnavailableError):
            if not self._urls:  # what never opened holds no connection
                await self._client.close()
            raise
        self.limits = limits(min((each.message_bytes_max for each in standings), default=MIB), self._payload)
        self._urls.update({each.name: each.url for each in standings})

    async def close(self) -> None:
        """Give back connections; leases simply lapse."""
        self._urls.clear()
        await self._client.close()

    async def send(self, queue_name: str, envelopes: Sequence[SealedEnvelope]) -> Failures:
        """Keep envelopes; what SQS says it keeps is compared with what was sent, checksum by checksum."""
        failures = check_send(envelopes, self.limits)
        entries = {
            position: to_entry(position, each, self._payload)
            for position, each in enumerate(envelopes)
            if position not in failures
        }
        if not entries:
            return failures
        answer = await self._client.call(
            "send_message_batch",
            seconds_max=SEND_SECONDS_MAX,
            QueueUrl=self._url(queue_name),
            Entries=list(entries.values()),
        )
        failures |= _failures(answer, entries)
        for kept in answer.get("Successful", []):
            reason = difference_kept(entries[int(kept["Id"])], kept)
            if reason is not None:
                failures[int(kept["Id"])] = reason
        return failures

    async def receive(self, queue_name: str, *, count_max: int, wait_seconds: float, lease_seconds: int) -> list[Lease]:
        """Take up to `count_max` envelopes in one long poll, which ends after 20 s at most."""
        check_leases([], self.limits, lease_seconds=lease_seconds)
        wait = min(int(wait_seconds), WAIT_SECONDS_MAX)
        answer = await self._client.call(
            "receive_message",
            seconds_max=wait + POLL_MARGIN_SECONDS,
            QueueUrl=self._url(queue_name),
            MaxNumberOfMessages=min(count_max, self.limits.receive_count_max),
            WaitTimeSeconds=wait,
            VisibilityTimeout=lease_seconds,
            MessageAttributeNames=["All"],  # so that the checksum is that of what comes
            MessageSystemAttributeNames=ASKED,
        )
        leases = [_lease(queue_name, each) for each in answer.get("Messages", []) if _is_whole(queue_name, each)]
        if leases:
            self._sent_at[queue_name] = min(each.sent_at for each in leases)
        return leases

    async def extend(self, leases: Sequence[Lease], *, lease_seconds: int) -> Failures:
        """Move the deadline; a lease that this process released stays released.

        SQS would take the delay away again, because a delayed envelope still answers to its receipt (novuhq/novu#12437).
        """
        check_leases(leases, self.limits, lease_seconds=lease_seconds)
        self._forget_released()
        held = {position: each for position, each in enumerate(leases) if each.receipt not in self._released}
        return await self._change("change_message_visibility_batch", held, VisibilityTimeout=lease_seconds)

    async def release(self, leases: Sequence[Lease], *, delay_seconds: int = 0) -> Failures:
        """Give back; counts as a receive like any other end but deletion."""
        check_leases(leases, self.limits, lease_seconds=delay_seconds)
        self._forget_released()
        until = self._clock.monotonic() + delay_seconds
        self._released.update({each.receipt: until for each in leases if delay_seconds})
        return await self._change(
            "change_message_visibility_batch", dict(enumerate(leases)), VisibilityTimeout=delay_seconds
        )

    async def delete(self, leases: Sequence[Lease]) -> Failures:
        """Forget for ever; a copy on a server that is down may still come again, and ledgers make it one."""
        check_leases(leases, self.limits)
        return await self._change("delete_message_batch", dict(enumerate(leases)))

    async def depth(self, queue_name: str) -> Depth:
        """How full it is; the age is that of the oldest envelope this process received last.

        SQS's own metric hides what was received three times, which is what one worries about.
        """
        answer = await self._client.call(
            "get_queue_attributes", QueueUrl=self._url(queue_name), AttributeNames=list(COUNTS)
        )
        ready, delayed, leased = (int(answer.get("Attributes", {}).get(name, 0)) for name in COUNTS)
        sent_at = self._sent_at.get(queue_name)
        age_seconds = None if sent_at is None else max(0.0, self._client.now() - sent_at)
        if not ready + delayed + leased:
            age_seconds = 0.0
        return Depth(ready=ready, leased=leased + delayed, oldest_age_seconds=age_seconds)

    async def _standings(self, queue_names: Sequence[str]) -> list[Standing]:
        await self._client.open()
        standings = [await require(self._client, self._prefix, name) for name in queue_names]
        check_retention(standings)
        for each in standings:
            self._check_size(each)
        return standings

    def _check_size(self, standing: Standing) -> None:
        takes = limits(standing.message_bytes_max, self._payload).entry_bytes_max
        if takes < self._envelope_bytes:
            found = f"{self._envelope_bytes}, while {self._prefix}{standing.name} takes {takes} bytes"
            fix = "Lower it, or raise the queue's MaximumMessageSize: `omni queues create` does."
            raise SettingsError("OMNI_ENVELOPE_BYTES", found, fix)

    def _url(self, queue_name: str) -> str:
        url = self._urls.get(queue_name)
        if url is None:
            raise UnavailableError(f"the queue {queue_name} is not open")
        return url

    async def _change(self, operation: str, leases: Mapping[int, Lease], **change: int) -> Failures:
        """One batch call for each queue; who lost a lease to another is not told."""
        by_queue: defaultdict[str, list[int]] = defaultdict(list)
        for position, lease in leases.items():
            by_queue[lease.queue_name].append(position)
        failures: Failures = {}
        for name, positions in by_queue.items():
            entries = [
                {"Id": str(position), "ReceiptHandle": leases[position].receipt, **change} for position in positions
            ]
            answer = await self._client.call(operation, QueueUrl=self._url(name), Entries=entries)
            failures |= _failures(answer, positions)
        return failures

    def _forget_released(self) -> None:
        now = self._clock.monotonic()
        self._released = {receipt: until for receipt, until in self._released.items() if until > now}


def _failures(answer: Mapping[str, Any], positions: Iterable[int]) -> Failures:
    """Of a batch answer, HTTP 200 or not: what was not confirmed has failed, mentioned or not."""
    confirmed = {int(each["Id"]) for each in answer.get("Successful", [])}
    reasons = {int(each["Id"]): each for each in answer.get("Failed", [])}
    failures: Failures = {}
    for position in positions:
        failed = reasons.get(position)
        if failed is None and position not in confirmed:
            failures[position] = "SQS says nothing about it"
        elif failed is not None and not _is_elsewhere(failed):
            failures[position] = f"{failed.get('Code', 'no code')}: {failed.get('Message', 'no reason given')}"
    return failures


def _is_elsewhere(failed: Mapping[str, Any]) -> bool:
    """The envelope is with somebody else, or deleted: for a deleted one SQS blames the value of the handle."""
    code, said = str(failed.get("Code", "")), str(failed.get("Message", ""))
    return code in ELSEWHERE or (code.endswith("InvalidParameterValue") and "ReceiptHandle" in said)


def _is_whole(queue_name: str, message: Mapping[str, Any]) -> bool:
    """What was damaged on its way is left to lapse, and comes again."""
    reason = difference_received(message)
    if reason is not None:
        telemetry.get_logger().error(
            "queue_entry_damaged", queue=queue_name, message_id=message.get("MessageId"), reason=reason
        )
    return reason is None


def _lease(queue_name: str, message: Mapping[str, Any]) -> Lease:
    attributes = message.get("Attributes", {})
    return Lease(
        queue_name=queue_name,
        receipt=message["ReceiptHandle"],
        envelope=to_envelope(message),
        receive_count=int(attributes["ApproximateReceiveCount"]),
        sent_at=int(attributes["SentTimestamp"]) / 1000,
    )
