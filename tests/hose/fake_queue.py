"""A queue in a list, with faults on order. The hose needs only `open`, `send` and `limits`; the rest is never called."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NoReturn

from omni_etl.envelope import Header, SealedEnvelope, open_header, open_payload
from omni_etl.errors import UnavailableError
from omni_etl.queue import Depth, Failures, Lease, QueueLimits, entry_bytes

LIMITS = QueueLimits(
    entry_bytes_max=256 * 1024,
    batch_count_max=10,
    batch_bytes_max=256 * 1024,
    receive_count_max=10,
    lease_seconds_max=43_200,
)

Fault = Callable[[Sequence[SealedEnvelope]], Failures | None]
"""Of one send call: the failures to answer; None = lose the answer, though everything was kept."""


class FakeQueue:
    """Keeps what was sent, in order, per lane."""

    def __init__(self, limits: QueueLimits = LIMITS) -> None:
        self.limits = limits
        self.sent: list[tuple[str, SealedEnvelope]] = []
        self.calls: list[int] = []
        self.away = False
        self.fault: Fault | None = None
        self._changed = asyncio.Event()

    async def open(self, queue_names: Sequence[str]) -> None:
        """Nothing to connect to."""
        if self.away:
            raise UnavailableError("the fake is away")

    async def send(self, queue_name: str, envelopes: Sequence[SealedEnvelope]) -> Failures:
        """Keep, unless a fault was ordered."""
        if self.away:
            raise UnavailableError("the fake is away")
        sizes = list(map(entry_bytes, envelopes))
        assert 0 < len(envelopes) <= self.limits.batch_count_max
        assert max(sizes) <= self.limits.entry_bytes_max
        assert sum(sizes) <= self.limits.batch_bytes_max
        self.calls.append(len(envelopes))
        failures = self.fault(envelopes) if self.fault else {}
        refused = failures or {}
        self.sent += [(queue_name, each) for at, each in enumerate(envelopes) if at not in refused]
        self._changed.set()
        if failures is None:
            raise UnavailableError("the answer was lost")
        return failures

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something was sent that makes this true."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    @property
    def headers(self) -> list[Header]:
        """Of all that was sent, copies included."""
        return [open_header(envelope.header) for _, envelope in self.sent]

    def unique(self) -> dict[str, SealedEnvelope]:
        """By key; a key with two contents is the one thing that must never be."""
        by_key: dict[str, SealedEnvelope] = {}
        for lane, envelope in self.sent:
            header = open_header(envelope.header)
            assert header.lane == lane
            assert by_key.setdefault(header.key, envelope) == envelope, header.key
        return by_key

    def lines(self) -> list[bytes]:
        """Every event in every envelope, each envelope once."""
        return [line for envelope in self.unique().values() for line in lines_of(envelope)]

    async def close(self) -> None:
        """Nothing to give back."""

    async def receive(self, queue_name: str, *, count_max: int, wait_seconds: float, lease_seconds: int) -> list[Lease]:
        """Never asked."""
        return _never()

    async def extend(self, leases: Sequence[Lease], *, lease_seconds: int) -> Failures:
        """Never asked."""
        return _never()

    async def release(self, leases: Sequence[Lease], *, delay_seconds: int = 0) -> Failures:
        """Never asked."""
        return _never()

    async def delete(self, leases: Sequence[Lease]) -> Failures:
        """Never asked."""
        return _never()

    async def depth(self, queue_name: str) -> Depth:
        """Never asked."""
        return _never()


def lines_of(envelope: SealedEnvelope) -> list[bytes]:
    """The events of one envelope."""
    opened = open_payload(open_header(envelope.header), envelope.payload)
    return [line for each in opened.header.types for line in opened.lines(each.type)]


def _never() -> NoReturn:
    raise AssertionError("the hose only sends")
