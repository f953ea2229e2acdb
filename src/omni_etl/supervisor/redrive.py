"""Redrive and discard: the two ways in which a dead letter leaves.

Put back, it goes into its service's siding (what no service could be named for: into its lane), when what killed it is
mended. Discarded, its events are lost to that service for good; that is written down first, so that the audit can explain it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from omni_etl.clock import Clock
from omni_etl.dead_letters import DeadLetters
from omni_etl.envelope import SealedEnvelope, lane_of
from omni_etl.queue import UNREADABLE, Lease, Queue, siding
from omni_etl.supervisor.dead_letters import Letters, events_of, name_of

Step = Callable[[Letters, str, Lease], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which dead letters of a service are meant: one key, or up to so many of all."""

    service: str
    count_max: int
    key: str | None = None

    def means(self, envelope: SealedEnvelope) -> bool:
        """Whether this is one of them."""
        return self.key is None or name_of(envelope) == self.key


@dataclass(frozen=True, slots=True)
class Went:
    """How many went."""

    envelopes: int = 0
    events: int = 0  # as far as headers could be read

    def plus(self, envelope: SealedEnvelope) -> Went:
        """And this one."""
        return Went(self.envelopes + 1, self.events + (events_of(envelope) or 0))


class Mending:
    """Dead letters on their way out; `on_one` hears of each."""

    def __init__(
        self, queue: Queue, known: DeadLetters, *, clock: Clock, on_one: Callable[[], None] = lambda: None
    ) -> None:
        self._queue = queue
        self._known = known
        self._clock = clock
        self._on_one = on_one

    async def redrive(self, choice: Choice) -> Went:
        """Put back. A crash in between leaves a copy, which the ledger makes one."""
        return await self._each(choice, self._put_back)

    async def discard(self, choice: Choice) -> Went:
        """Give up for good."""
        return await self._each(choice, self._give_up)

    async def _each(self, choice: Choice, step: Step) -> Went:
        went = Went()
        async with Letters(self._queue, choice.service, clock=self._clock) as letters:
            async for lease in letters:
                if went.envelopes == choice.count_max:
                    break
                if choice.means(lease.envelope) and await step(letters, choice.service, lease):
                    went = went.plus(lease.envelope)
                    self._on_one()
        return went

    async def _put_back(self, letters: Letters, service: str, lease: Lease) -> bool:
        is_nobodys = lease.queue_name == UNREADABLE
        target = lane_of(lease.envelope.header) if is_nobodys else siding(service)
        if await self._queue.send(target, [lease.envelope]):
            return False
        await letters.remove(lease)
        await self._known.leave(service, name_of(lease.envelope), "redriven")
        return True

    async def _give_up(self, letters: Letters, service: str, lease: Lease) -> bool:
        events = events_of(lease.envelope)
        await self._known.leave(service, name_of(lease.envelope), "discarded", event_count=events)
        await letters.remove(lease)
        return True
