"""One look at the dead letters of a service: each is taken once, and goes back at the end unless it was removed.

While it lasts nobody else sees what was taken, and it lasts less than a lease. A process that dies in the middle loses
nothing: leases lapse.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Final, Self

from omni_etl.clock import Clock
from omni_etl.envelope import SealedEnvelope, open_header, open_payload
from omni_etl.errors import EnvelopeError, UnavailableError
from omni_etl.queue import Lease, Queue, batches, dead_letters
from omni_etl.supervisor.settle import delete_copied

LEASE_SECONDS: Final = 60
LOOK_SECONDS_MAX: Final = 40.0  # after the first letter that is kept from others
EMPTY_ANSWERS_MAX: Final = 5  # SQS may answer with nothing although something is there
NAME_CHARACTERS_MAX: Final = 200  # of what has no key, as `aside` notes it
_BLANK: Final = SealedEnvelope("", b"")


class Letters:
    """Iterate over it inside its block. `whole` says afterwards whether the look came to the end."""

    def __init__(self, queue: Queue, service: str, *, clock: Clock) -> None:
        self._queue = queue
        self._queue_name = dead_letters(service)
        self._clock = clock
        self._kept: dict[str, Lease] = {}  # by receipt; without contents, of which there may be a lot
        self._kept_since: float | None = None
        self.whole = False

    async def __aenter__(self) -> Self:
        """Nothing is taken yet."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        """Give back what was not removed."""
        with suppress(UnavailableError):  # then it lapses
            for call in batches(list(self._kept.values()), self._queue.limits.batch_count_max):
                await self._queue.release(call)

    async def __aiter__(self) -> AsyncIterator[Lease]:
        """Each letter, as long as the first that was kept is surely ours."""
        empty_answers = 0
        while not self._is_late():
            leases = await self._queue.receive(
                self._queue_name,
                count_max=self._queue.limits.receive_count_max,
                wait_seconds=0,
                lease_seconds=LEASE_SECONDS,
            )
            self._keep(leases)
            for lease in leases:
                yield lease
            if not leases:
                empty_answers += 1
                if empty_answers == EMPTY_ANSWERS_MAX or not (await self._queue.depth(self._queue_name)).ready:
                    self.whole = True
                    return

    async def remove(self, lease: Lease) -> None:
        """Delete it: it was copied elsewhere, or someone wants it gone and that is written down."""
        await delete_copied(self._queue, lease)
        self._kept.pop(lease.receipt)
        if not self._kept:
            self._kept_since = None

    def _keep(self, leases: list[Lease]) -> None:
        if leases and not self._kept:
            self._kept_since = self._clock.monotonic()
        self._kept.update({each.receipt: replace(each, envelope=_BLANK) for each in leases})

    def _is_late(self) -> bool:
        return self._kept_since is not None and self._clock.monotonic() > self._kept_since + LOOK_SECONDS_MAX


def name_of(envelope: SealedEnvelope) -> str:
    """Its key; of what is no envelope of ours the beginning of its header."""
    try:
        return open_header(envelope.header).key
    except EnvelopeError:
        return envelope.header[:NAME_CHARACTERS_MAX]


def events_of(envelope: SealedEnvelope) -> int | None:
    """How many events it holds, where that can be read."""
    try:
        return open_header(envelope.header).event_count
    except EnvelopeError:
        return None


def lines_of(envelope: SealedEnvelope) -> list[bytes] | None:
    """Its events, in the order in which they were packed; None where they cannot be read."""
    try:
        opened = open_payload(open_header(envelope.header), envelope.payload)
    except EnvelopeError:
        return None
    return [line for each in opened.header.types for line in opened.lines(each.type)]
