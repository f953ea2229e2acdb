"""Committer: the one loop that writes.

It takes all that waits (requests, cuts, confirmations), makes it durable with one fsync, and only then answers
producers and hands envelopes on.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final

from omni_etl.backoff import Backoff
from omni_etl.clock import Clock
from omni_etl.envelope import LANES, Lane
from omni_etl.errors import IntakeError
from omni_etl.hose.alarm import Alarm
from omni_etl.hose.batcher import Batcher, Cut, Runs
from omni_etl.hose.body import PART_LINES, ByLane
from omni_etl.hose.records import Answered
from omni_etl.hose.seal import Order
from omni_etl.hose.sender import Sender
from omni_etl.hose.spool import Committed, Group, Spool
from omni_etl.telemetry import get_logger, hose_envelopes_cut, hose_spool_bytes, hose_unsent_envelopes

ORDERS_AT_ONCE_MAX: Final = 8
LINGER_SECONDS_MAX: Final = 0.05  # for requests that are being checked: together they fill whole envelopes
LINGER_BYTES_MAX: Final = 12 * 1024 * 1024  # some envelopes; no reason to wait for more
CONFIRMATIONS_WAITING_MAX: Final = 256  # written down by themselves when nothing else takes them along


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A request that waits for its fsync."""

    parts: list[ByLane]
    size_bytes: int
    request: Answered | None
    durable: asyncio.Future[None]


class Committer:
    """Group commit."""

    def __init__(
        self, *, hose_id: str, spool: Spool, batcher: Batcher, sender: Sender, clock: Clock, rng: random.Random
    ) -> None:
        self._hose_id = hose_id
        self._spool = spool
        self._batcher = batcher
        self._sender = sender
        self._clock = clock
        self._rng = rng
        self._backoff = Backoff(wait_seconds_max=5.0)
        self._waiting: list[_Waiting] = []
        self._coming = 0  # requests that are being checked
        self._orders: deque[Order] = deque()  # of earlier starts, not durable yet
        self._failures = 0
        self._stopping = False
        self._alarm = Alarm(clock)
        sender.on_confirmed = self._confirmed

    @property
    def is_refusing(self) -> bool:
        """The disk refused the last commit, or has no room to spare."""
        return self._failures > 0

    @contextmanager
    def coming(self) -> Iterator[None]:
        """Say that a request may soon have something to make durable."""
        self._coming += 1
        try:
            yield
        finally:
            self._coming -= 1
            self._alarm.ring()

    async def make_durable(self, parts: list[ByLane], request: Answered | None, *, size_bytes: int) -> None:
        """Return when these events are on the disk.

        Raises:
            IntakeError: 503, they are not.

        """
        if self._stopping:
            raise IntakeError(503, "the hose is stopping", retry_after_seconds=5)
        if self._failures:
            raise _disk_refuses()
        waiting = _Waiting(parts, size_bytes, request, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._alarm.ring()
        await waiting.durable

    async def begin(self, orders: Iterable[Order]) -> None:
        """Make durable what recovery cuts. What the disk refuses now, `run` tries again before it accepts anything."""
        self._orders.extend(orders)
        await self._is_well(committed=await self._commit_orders())

    async def run(self) -> None:
        """Commit whatever comes until `stop`, then cut what is left and close both lanes."""
        try:
            while not self._stopping or self._waiting:
                await self._until_work()
                if not await self._round() and not self._stopping:
                    await self._clock.sleep(self._backoff.wait_seconds(self._failures, self._rng))
            if self._orders:
                await self._commit_orders()
            await self._commit(everything=True)
        finally:
            self._refuse(self._take())

    def stop(self) -> None:
        """Take no more; `run` ends when what is here is durable."""
        self._stopping = True
        self._alarm.ring()

    async def _until_work(self) -> None:
        if not (self._waiting or self._failures or self._stopping):
            await self._alarm.wait(until=self._batcher.due_at(self._clock.monotonic()))
        until = self._clock.monotonic() + LINGER_SECONDS_MAX
        while self._waits_for_more() and self._clock.monotonic() < until:
            await self._alarm.wait(until=until)

    def _waits_for_more(self) -> bool:
        """Whether others come that can share a commit, and an envelope that needs no lines in the spool."""
        enough = sum(each.size_bytes for each in self._waiting) >= LINGER_BYTES_MAX
        return bool(self._waiting and self._coming) and not (enough or self._stopping or self._failures)

    async def _round(self) -> bool:
        """Commit, and tidy whatever came of it: on a full disk only that makes room. Answers whether the disk is well."""
        committed = not self._orders or await self._commit_orders()
        committed = committed and await self._commit()
        await self._tidy()
        return await self._is_well(committed=committed)

    async def _is_well(self, *, committed: bool) -> bool:
        if committed and await self._spool.hold_reserve():
            self._failures = 0
            return True
        if committed:
            self._disk_refused("no room for the reserve")
        self._refuse(self._take())
        return False

    async def _commit_orders(self) -> bool:
        """A few at a time, so that what is durable can be sent and make room for the rest."""
        while True:
            orders = list(islice(self._orders, ORDERS_AT_ONCE_MAX))
            try:
                committed = await self._spool.commit(Group(orders=orders))
            except OSError as error:
                self._disk_refused(str(error))
                return False
            for _ in orders:
                self._orders.popleft()
            self._hand_on(committed)
            if not self._orders:
                return True

    async def _commit(self, *, everything: bool = False) -> bool:
        """One group: what waits, and the envelopes that it fills or that are old enough; `everything` closes the lanes."""
        waiting = self._take()
        arriving: dict[Lane, Runs] = {lane: runs for lane in LANES if (runs := _runs(waiting, lane))}
        now = self._clock.monotonic()
        for lane, runs in arriving.items():
            self._batcher.add(lane, runs, now=now)
        cuts = self._batcher.due(now, everything=everything)
        if everything:
            cuts.extend(Cut(lane, closing=True) for lane in LANES)
        group = Group(
            accepted=arriving,
            requests=tuple(each.request for each in waiting if each.request),
            orders=[Order(self._hose_id, cut) for cut in cuts],
        )
        if not await self._is_durable(group, waiting):
            for lane in arriving:
                self._batcher.take_back(lane)
            return False
        for each in waiting:
            if not each.durable.done():
                each.durable.set_result(None)
        return True

    async def _is_durable(self, group: Group, waiting: Sequence[_Waiting]) -> bool:
        try:
            committed = await self._spool.commit(group)
        except OSError as error:
            self._disk_refused(str(error))
            self._refuse(waiting)
            return False
        except BaseException:
            self._refuse(waiting)
            raise
        self._hand_on(committed)
        return True

    def _hand_on(self, committed: Committed) -> None:
        now = self._clock.monotonic()
        places: dict[Lane, list[int]] = {"express": [], "bulk": []}
        for place, sealed in committed.cuts:
            lane = sealed.record.lane
            if sealed.record.hose_id == self._hose_id:
                self._batcher.forget(lane, sealed.count, now=now)
            self._batcher.learn(lane, raw_bytes=sealed.raw_bytes, packed_bytes=sealed.packed_bytes)
            hose_envelopes_cut.labels(lane).inc()
            places[lane].append(place)
        for lane in LANES:
            self._sender.add(lane, places[lane])
        self._count()

    async def _tidy(self) -> None:
        if removable := self._spool.removable():
            await self._spool.remove(removable)
            self._count()

    def _take(self) -> list[_Waiting]:
        waiting, self._waiting = self._waiting, []
        return waiting

    def _disk_refused(self, reason: str) -> None:
        if not self._failures:
            get_logger().error("hose_spool_failed", reason=reason, owed_envelopes=len(self._orders))
        self._failures += 1

    def _refuse(self, waiting: Sequence[_Waiting]) -> None:
        """Of these, and of those that came meanwhile, nothing was kept."""
        for each in [*waiting, *self._take()]:
            if not each.durable.done():
                each.durable.set_exception(_disk_refuses())

    def _confirmed(self) -> None:
        self._count()
        if self._spool.confirmed_count >= CONFIRMATIONS_WAITING_MAX or self._spool.removable():
            self._alarm.ring()

    def _count(self) -> None:
        hose_spool_bytes.set(self._spool.size_bytes)
        hose_unsent_envelopes.set(self._spool.unsent_count)


def _runs(waiting: Sequence[_Waiting], lane: Lane) -> Runs:
    """Lines in the order in which they came, those that came close together by type.

    Were all of one type together, an envelope would hold little else, and what one email's events share is in several.
    """
    runs: list[tuple[str, list[bytes]]] = []
    near: dict[str, list[bytes]] = {}
    count = 0
    for part in chain.from_iterable(each.parts for each in waiting):
        for type_name, lines in part[lane].items():
            near.setdefault(type_name, []).extend(lines)
            count += len(lines)
        if count >= PART_LINES:
            runs.extend(near.items())
            near, count = {}, 0
    return [*runs, *near.items()]


def _disk_refuses() -> IntakeError:
    return IntakeError(503, "the disk of the hose refuses writes", retry_after_seconds=5)
