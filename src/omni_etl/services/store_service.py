"""A service whose whole effect is an insert into one table of the store, of the same name.

What an insert costs hardly depends on how many rows it has. So envelopes that wait while others are being inserted go
together, where the store can promise each of them once (`Store.insert_absent`): under load inserts grow. One that finds
nobody waits a moment for company, because nothing here is urgent: who asks for events or metrics does not notice.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from omni_etl import telemetry
from omni_etl.bell import Bell
from omni_etl.clock import Clock
from omni_etl.envelope import Envelope
from omni_etl.errors import IdConflictError, PoisonError
from omni_etl.event import TYPES
from omni_etl.service import Deadline
from omni_etl.store import Store, check_same, insert_once

MIB: Final = 1024 * 1024
GATHERED_BYTES: Final = 24 * MIB  # of lines; nobody waits for more company than this
INSERTS_AT_ONCE: Final = 2  # one is being written while the rows of the next are made
GROUP_BYTES_MAX: Final = 32 * MIB  # of lines, some 25,000: by then an insert's own price is small
DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Keeping:
    """How rows are put, and for how long that makes sense."""

    gather_seconds: float = 0.0  # for which an envelope waits for company
    kept_days: int | None = (
        None  # after the day of the cut: so long the table keeps an envelope's rows and its marker; None: for ever
    )


class StoreService:
    """`columns` makes the rows of an envelope, marker row included; it runs only where they are needed."""

    types = TYPES

    def __init__(
        self,
        name: str,
        store: Store,
        columns: Callable[[Envelope], Any],
        *,
        keeping: Keeping,
        clock: Clock,
    ) -> None:
        self.name = name
        self._store = store
        self._columns = columns
        self._gather_seconds = keeping.gather_seconds
        self._kept_days = keeping.kept_days
        self._clock = clock
        self._changed = Bell()
        self._waiting: deque[_Applying] = deque()
        self._turns = asyncio.Semaphore(INSERTS_AT_ONCE)

    async def open(self) -> None:
        """Reach the store and its tables."""
        await self._store.open()

    async def apply(self, envelope: Envelope, deadline: Deadline) -> None:
        """Put the envelope's rows into the table, once. Whoever has the turn does it for those who wait as well.

        One that comes so late that its rows would go at once, or that its marker may be gone while they stand, is done without
        them: only so its events never count twice.
        """
        if self._is_expired(envelope):
            telemetry.get_logger(service=self.name).warning("envelope_expired", key=envelope.key)
            return
        applying = _Applying(envelope, deadline)
        self._waiting.append(applying)
        self._changed.ring()
        async with self._turns:
            await self._gather(applying)
            while applying in self._waiting:
                await self._insert(self._take())
        await applying.done

    async def run(self) -> None:
        """Nothing of its own."""

    async def close(self) -> None:
        """Give back connections."""
        await self._store.close()

    def _is_expired(self, envelope: Envelope) -> bool:
        if self._kept_days is None:
            return False
        return self._clock.now() * 1000 // DAY_MS - envelope.header.cut_at_ms // DAY_MS > self._kept_days

    async def _gather(self, applying: _Applying) -> None:
        """A moment for company, until there is enough, or another turn took it along."""
        if not self._store.inserts_absent:
            return
        until = self._clock.monotonic() + self._gather_seconds
        while applying in self._waiting and (seconds := until - self._clock.monotonic()) > 0:
            rings = self._changed.rings
            if sum(each.raw_bytes for each in self._waiting) >= GATHERED_BYTES:
                return
            await self._changed.wait(rings, clock=self._clock, seconds=seconds)

    def _take(self) -> list[_Applying]:
        """Those who waited longest, as many as may share an insert: of one partition, and no key twice."""
        self._changed.ring()
        group = [self._waiting.popleft()]
        if not self._store.inserts_absent:
            return group
        keys = {group[0].key}
        raw_bytes = group[0].raw_bytes
        for each in tuple(self._waiting):
            raw_bytes += each.raw_bytes
            if raw_bytes > GROUP_BYTES_MAX:
                break
            if each.cut_day == group[0].cut_day and each.key not in keys:
                keys.add(each.key)
                self._waiting.remove(each)
                group.append(each)
        return group

    async def _insert(self, group: list[_Applying]) -> None:
        """Every one of them has its answer afterwards."""
        try:
            if self._store.inserts_absent:
                await self._insert_together(group)
            else:
                await self._insert_alone(group[0])
        except Exception as error:  # noqa: BLE001 not swallowed: each of them raises it where it is awaited
            for each in group:
                each.fail(error)
        finally:
            for each in group:
                each.done.cancel()  # means nothing where the answer is there

    async def _insert_alone(self, applying: _Applying) -> None:
        await insert_once(
            self._store,
            self.name,
            applying.envelope,
            columns=lambda: self._columns(applying.envelope),
            check_deadline=applying.deadline.check,
        )
        applying.succeed()

    async def _insert_together(self, group: Sequence[_Applying]) -> None:
        while ready := [each for each in group if not each.done.done() and self._is_ready(each)]:
            try:
                absent = await self._store.insert_absent(
                    self.name, pa.concat_tables([each.rows for each in ready]), keys=[each.key for each in ready]
                )
            except PoisonError as error:
                if len(ready) == 1:
                    ready[0].fail(error)
                    return
                for each in ready:  # one by one, to find whose rows they are
                    await self._insert_together([each])
                return
            if absent:
                for each in ready:
                    each.succeed()
            else:
                await self._find_standing(ready)

    async def _find_standing(self, group: Sequence[_Applying]) -> None:
        """Those that the table holds already are done, if it holds the same."""
        standing = await self._store.markers(self.name, [each.key for each in group])
        for each in group:
            if marker := standing.get(each.key):
                try:
                    check_same(self.name, each.envelope, marker)
                except IdConflictError as error:
                    each.fail(error)
                else:
                    each.succeed()

    def _is_ready(self, applying: _Applying) -> bool:
        """Whether its rows are made and its lease holds; otherwise it has failed, and the others go on."""
        try:
            if applying.rows is None:
                applying.rows = self._columns(applying.envelope)
            applying.deadline.check()
        except Exception as error:  # noqa: BLE001 not swallowed: raised where it is awaited
            applying.fail(error)
            return False
        return True


@dataclass(eq=False, slots=True)
class _Applying:
    """One envelope on its way into the table."""

    envelope: Envelope
    deadline: Deadline
    rows: Any = None
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def key(self) -> str:
        return self.envelope.key

    @property
    def raw_bytes(self) -> int:
        return self.envelope.header.raw_bytes

    @property
    def cut_day(self) -> int:
        """The table's partition."""
        return self.envelope.header.cut_at_ms // DAY_MS

    def succeed(self) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)
