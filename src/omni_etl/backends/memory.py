"""A queue in memory, as strict as AWS and, when asked, as unkind. For tests and simulation: it forgets with its process.

moto is too lax to trust alone (it accepts oversize bodies, uncounted attributes and forbidden characters and has no
limit on what is in flight), so whatever passes here should pass at SQS.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from omni_etl.bell import Bell
from omni_etl.clock import Clock
from omni_etl.envelope import SealedEnvelope
from omni_etl.errors import UnavailableError
from omni_etl.queue import (
    Depth,
    Failures,
    Lease,
    QueueLimits,
    check_leases,
    check_send,
    retention_seconds,
)

MIB: Final = 1024 * 1024
AWS_LIMITS: Final = QueueLimits(
    entry_bytes_max=MIB,
    batch_count_max=10,
    batch_bytes_max=MIB,
    receive_count_max=10,
    lease_seconds_max=43_200,
)
IN_FLIGHT_MAX: Final = 120_000  # of a standard queue (AWS, SQS quotas); a receive beyond it brings nothing


@dataclass(slots=True)
class Faults:
    """What may go wrong, as shares of 1, drawn from one seeded generator; change them while the queue runs."""

    rng: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311 repeatable, not secret
    unavailable: bool = False  # every call fails and does nothing
    duplicate_share: float = 0.0  # an envelope is kept twice: each copy is delivered, and deleted, by itself
    entry_failure_share: float = 0.0  # one entry of a batch call fails and is not done
    answer_lost_share: float = 0.0  # a call is done and answers UnavailableError

    def happens(self, share: float) -> bool:
        """Whether it happens this time; draws nothing where the share is 0, so that seeds stay comparable."""
        return share > 0 and self.rng.random() < share


@dataclass(slots=True)
class _Message:
    id: int
    envelope: SealedEnvelope
    sent_at: float
    ready_at: float
    receive_count: int = 0
    receipt: str = ""
    received_at: float = 0.0


class _Shelf:
    """One named queue."""

    def __init__(self) -> None:
        self.messages: dict[int, _Message] = {}
        self.ready: list[tuple[float, int]] = []  # a heap; an entry counts while its message still says the same time
        self.in_flight: dict[int, float] = {}  # message → deadline
        self.bell = Bell()

    def put(self, message: _Message) -> None:
        self.messages[message.id] = message
        self.make_ready(message, message.ready_at)

    def make_ready(self, message: _Message, at: float) -> None:
        message.ready_at = at
        heapq.heappush(self.ready, (at, message.id))

    def next_ready(self, now: float) -> _Message | None:
        """The one that has been ready for longest; it leaves the heap."""
        while self.ready and self.ready[0][0] <= now:
            at, message_id = heapq.heappop(self.ready)
            message = self.messages.get(message_id)
            if message is not None and message.ready_at == at:
                return message
        return None

    def forget(self, message_id: int) -> None:
        self.messages.pop(message_id, None)
        self.in_flight.pop(message_id, None)

    def count_in_flight(self, now: float) -> int:
        self.in_flight = {id_: until for id_, until in self.in_flight.items() if until > now}
        return len(self.in_flight)


class MemoryQueue:
    """A receipt is good until the next receive or release; extending a lapsed lease answers OK and does nothing."""

    def __init__(
        self,
        clock: Clock,
        *,
        limits: QueueLimits = AWS_LIMITS,
        in_flight_max: int = IN_FLIGHT_MAX,
        faults: Faults | None = None,
    ) -> None:
        self.limits = limits
        self.faults = faults or Faults()
        self._clock = clock
        self._in_flight_max = in_flight_max
        self._shelves: defaultdict[str, _Shelf] = defaultdict(_Shelf)
        self._ids = itertools.count(1)

    async def open(self, queue_names: Sequence[str]) -> None:
        """Make sure that these queues exist."""
        self._fail_when_away()
        for name in queue_names:
            self._shelves[name]

    async def close(self) -> None:
        """Nothing to give back; what was sent stays, for whoever opens this object again."""

    async def send(self, queue_name: str, envelopes: Sequence[SealedEnvelope]) -> Failures:
        """Keep envelopes until this process ends."""
        self._fail_when_away()
        failures = check_send(envelopes, self.limits)
        shelf, now = self._shelves[queue_name], self._clock.now()
        for position, envelope in enumerate(envelopes):
            if position in failures or self._entry_fails(failures, position):
                continue
            for _ in range(2 if self.faults.happens(self.faults.duplicate_share) else 1):
                shelf.put(_Message(next(self._ids), envelope, sent_at=now, ready_at=now))
        shelf.bell.ring()
        self._lose_answer()
        return failures

    async def receive(self, queue_name: str, *, count_max: int, wait_seconds: float, lease_seconds: int) -> list[Lease]:
        """Take up to `count_max` envelopes; wakes when one was sent, released or lapsed on the clock."""
        check_leases([], self.limits, lease_seconds=lease_seconds)
        shelf = self._shelves[queue_name]
        until = self._clock.now() + wait_seconds
        while True:
            self._fail_when_away()
            self._expire(queue_name, shelf)
            leases = self._take(queue_name, min(count_max, self.limits.receive_count_max), lease_seconds)
            now = self._clock.now()
            if leases or now >= until:
                break
            wake_at = min([until, *(at for at, _ in shelf.ready[:1] if at > now)])
            await shelf.bell.wait(shelf.bell.rings, clock=self._clock, seconds=wake_at - now)
        self._lose_answer()
        return leases

    async def extend(self, leases: Sequence[Lease], *, lease_seconds: int) -> Failures:
        """Move the deadline; refused per entry beyond 12 hours from the receive, as SQS does."""
        self._fail_when_away()
        check_leases(leases, self.limits, lease_seconds=lease_seconds)
        failures: Failures = {}
        now = self._clock.now()
        for position, lease in enumerate(leases):
            message = self._held(lease)
            if message is None or message.ready_at <= now or self._entry_fails(failures, position):
                continue
            if now + lease_seconds > message.received_at + self.limits.lease_seconds_max:
                failures[position] = f"a lease ends {self.limits.lease_seconds_max} s after its receive"
                continue
            self._lease(self._shelves[lease.queue_name], message, now + lease_seconds)
        self._lose_answer()
        return failures

    async def release(self, leases: Sequence[Lease], *, delay_seconds: int = 0) -> Failures:
        """Give back; the receipt ends here."""
        self._fail_when_away()
        check_leases(leases, self.limits, lease_seconds=delay_seconds)
        failures: Failures = {}
        for position, lease in enumerate(leases):
            message = self._held(lease)
            if message is None or self._entry_fails(failures, position):
                continue
            shelf = self._shelves[lease.queue_name]
            message.receipt = ""
            shelf.in_flight.pop(message.id, None)
            shelf.make_ready(message, self._clock.now() + delay_seconds)
            shelf.bell.ring()
        self._lose_answer()
        return failures

    async def delete(self, leases: Sequence[Lease]) -> Failures:
        """Forget for ever what nobody else has received since."""
        self._fail_when_away()
        check_leases(leases, self.limits)
        failures: Failures = {}
        for position, lease in enumerate(leases):
            message = self._held(lease)
            if message is not None and not self._entry_fails(failures, position):
                self._shelves[lease.queue_name].forget(message.id)
        self._lose_answer()
        return failures

    async def depth(self, queue_name: str) -> Depth:
        """How full it is; exact here."""
        self._fail_when_away()
        shelf, now = self._shelves[queue_name], self._clock.now()
        self._expire(queue_name, shelf)
        ready = sum(message.ready_at <= now for message in shelf.messages.values())
        oldest = min((message.sent_at for message in shelf.messages.values()), default=now)
        return Depth(ready=ready, leased=len(shelf.messages) - ready, oldest_age_seconds=now - oldest)

    def _take(self, queue_name: str, count_max: int, lease_seconds: int) -> list[Lease]:
        shelf, now = self._shelves[queue_name], self._clock.now()
        leases: list[Lease] = []
        room = self._in_flight_max - shelf.count_in_flight(now)
        while len(leases) < min(count_max, room) and (message := shelf.next_ready(now)):
            message.receive_count += 1
            message.receipt = f"{message.id}.{message.receive_count}"
            message.received_at = now
            self._lease(shelf, message, now + lease_seconds)
            leases.append(
                Lease(
                    queue_name=queue_name,
                    receipt=message.receipt,
                    envelope=message.envelope,
                    receive_count=message.receive_count,
                    sent_at=message.sent_at,
                )
            )
        return leases

    def _lease(self, shelf: _Shelf, message: _Message, until: float) -> None:
        shelf.in_flight[message.id] = until
        shelf.make_ready(message, until)

    def _held(self, lease: Lease) -> _Message | None:
        message = self._shelves[lease.queue_name].messages.get(int(lease.receipt.partition(".")[0]))
        return message if message is not None and message.receipt == lease.receipt else None

    def _expire(self, queue_name: str, shelf: _Shelf) -> None:
        # Messages stand in the order in which they were sent, so the oldest is the first.
        sent_before = self._clock.now() - retention_seconds(queue_name)
        for message in list(itertools.takewhile(lambda each: each.sent_at < sent_before, shelf.messages.values())):
            shelf.forget(message.id)

    def _fail_when_away(self) -> None:
        if self.faults.unavailable:
            raise UnavailableError("the queue is away, as this test wants it")

    def _entry_fails(self, failures: Failures, position: int) -> bool:
        if self.faults.happens(self.faults.entry_failure_share):
            failures[position] = "failed, as this test wants it"
        return position in failures

    def _lose_answer(self) -> None:
        if self.faults.happens(self.faults.answer_lost_share):
            raise UnavailableError("the answer was lost, as this test wants it")
