"""Queue and lease: the contract. At least once, no order, duplicates possible, in all its kinds.

What callers may not assume: that a lease is still theirs (a lapsed one may be with someone else already), that `delete`
or `extend` of a lapsed lease fails (it may answer OK and do nothing), that an envelope sent once arrives once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from omni_etl.envelope import LANES, SealedEnvelope

PAYLOAD_ATTRIBUTE: Final = "payload"
PAYLOAD_TYPE: Final = "Binary"
UNREADABLE: Final = "dead-unreadable"  # entries that are no envelope of ours, so no service can be named

LANE_RETENTION_SECONDS: Final = 7 * 86_400
DEAD_RETENTION_SECONDS: Final = 14 * 86_400  # the most SQS allows

T = TypeVar("T")

Failures = dict[int, str]
"""Of a batch call: position in the argument → reason. Empty means that all of it was done."""


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """What one call may hold; a caller splits its work accordingly."""

    entry_bytes_max: int  # of one envelope as `entry_bytes` counts it
    batch_count_max: int  # entries of one send, extend, release or delete call
    batch_bytes_max: int  # of all entries of one send call together
    receive_count_max: int
    lease_seconds_max: int


@dataclass(frozen=True, slots=True)
class Lease:
    """One received envelope, ours until a deadline. `receipt` belongs to this receive alone."""

    queue_name: str
    receipt: str
    envelope: SealedEnvelope
    receive_count: int  # receives so far, this one included; releases and restarts count too
    sent_at: float  # seconds since the epoch, the queue's clock


@dataclass(frozen=True, slots=True)
class Depth:
    """How full a queue is; approximate."""

    ready: int
    leased: int
    oldest_age_seconds: float | None  # None where the queue does not tell and this process has received nothing


class Queue(Protocol):
    """Named queues of envelopes: two lanes, and per service a siding and dead letters.

    Every method raises `UnavailableError` when the engine is away; then nothing is known about the call.
    """

    limits: QueueLimits

    async def open(self, queue_names: Sequence[str]) -> None:
        """Connect and make sure that these queues exist; may be called again after `UnavailableError`."""
        ...

    async def close(self) -> None:
        """Give back connections; leases simply lapse."""
        ...

    async def send(self, queue_name: str, envelopes: Sequence[SealedEnvelope]) -> Failures:
        """Keep envelopes durably. Confirmed entries are kept; a failed or unknown one may be kept too."""
        ...

    async def receive(self, queue_name: str, *, count_max: int, wait_seconds: float, lease_seconds: int) -> list[Lease]:
        """Take up to `count_max` envelopes, waiting up to `wait_seconds` for a first one. May answer fewer, or none."""
        ...

    async def extend(self, leases: Sequence[Lease], *, lease_seconds: int) -> Failures:
        """Move the deadline to now + `lease_seconds`. OK proves nothing about a lease that had lapsed."""
        ...

    async def release(self, leases: Sequence[Lease], *, delay_seconds: int = 0) -> Failures:
        """Give back: ready again after `delay_seconds`."""
        ...

    async def delete(self, leases: Sequence[Lease]) -> Failures:
        """Forget for ever. Only `supervisor/settle.py` calls this. Repeating it is harmless."""
        ...

    async def depth(self, queue_name: str) -> Depth:
        """How full it is."""
        ...


def siding(service: str) -> str:
    """The queue of envelopes that `service` could not take while the others were done."""
    return f"siding-{service}"


def dead_letters(service: str) -> str:
    """The queue of envelopes that `service` gave up, each with its reason in the registry."""
    return f"dead-{service}"


def queue_names(services: Sequence[str]) -> list[str]:
    """Every queue that these services need, lanes first."""
    return [*LANES, *(siding(each) for each in services), *(dead_letters(each) for each in services), UNREADABLE]


def batches(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """Slices of at most `size`, in order."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def entry_bytes(envelope: SealedEnvelope) -> int:
    """Size as AWS counts it: UTF-8 body, attribute name, type and raw value (botocore, SendMessage)."""
    return len(envelope.header.encode()) + len(PAYLOAD_ATTRIBUTE) + len(PAYLOAD_TYPE) + len(envelope.payload)


def retention_seconds(queue_name: str) -> int:
    """How long a queue keeps what nobody deletes, from the send on: lanes and sidings a week, dead letters two."""
    return DEAD_RETENTION_SECONDS if queue_name.startswith(dead_letters("")) else LANE_RETENTION_SECONDS


def check_send(envelopes: Sequence[SealedEnvelope], limits: QueueLimits) -> Failures:
    """Which entries no queue may take; every backend asks this first and sends the others.

    Raises:
        ValueError: the call as a whole is more than one call may hold, where SQS refuses all of it: a fault of the caller.

    """
    _check_count(len(envelopes), limits)
    failures: Failures = {}
    total_bytes = 0
    for position, envelope in enumerate(envelopes):
        reason = _refusal(envelope, limits)
        if reason is not None:
            failures[position] = reason
        else:
            total_bytes += entry_bytes(envelope)
    if total_bytes > limits.batch_bytes_max:
        raise ValueError(f"{total_bytes} bytes in one send; {limits.batch_bytes_max} are allowed")
    return failures


def check_leases(leases: Sequence[Lease], limits: QueueLimits, *, lease_seconds: int = 0) -> None:
    """Hold a call to the limits.

    Raises:
        ValueError: as in `check_send`.

    """
    _check_count(len(leases), limits)
    if not 0 <= lease_seconds <= limits.lease_seconds_max:
        raise ValueError(f"a lease of {lease_seconds} s; up to {limits.lease_seconds_max} are allowed")


def _check_count(count: int, limits: QueueLimits) -> None:
    if count > limits.batch_count_max:
        raise ValueError(f"{count} entries in one call; {limits.batch_count_max} are allowed")


def _refusal(envelope: SealedEnvelope, limits: QueueLimits) -> str | None:
    forbidden = _FORBIDDEN.search(envelope.header)
    if forbidden:
        return f"the header holds U+{ord(forbidden[0]):04X}, which SQS does not carry"
    if not envelope.header or not envelope.payload:
        return "header and payload may not be empty"
    if entry_bytes(envelope) > limits.entry_bytes_max:
        return f"{entry_bytes(envelope)} bytes; {limits.entry_bytes_max} are allowed"
    return None


_FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # botocore, SendMessage
