"""Committer: the one loop that writes.

It takes all that waits (requests, cuts, confirmations), makes it durable with one fsync, and only then answers
producers and hands envelopes on.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from omni_etl.backoff import Backoff
from omni_etl.clock import Clock
from omni_etl.envelope import LANES, Lane
from omni_etl.errors import IntakeError
from omni_etl.hose.alarm import Alarm
from omni_etl.hose.batcher import Batcher, Cut, Runs
from omni_etl.hose.records import Answered
from omni_etl.hose.seal import Order
from omni_etl.hose.sender import Sender
from omni_etl.hose.spool import Committed, Group, Spool
from omni_etl.telemetry import get_logger, hose_envelopes_cut, hose_spool_bytes, hose_unsent_envelopes

ORDERS_AT_ONCE_MAX: Final = 8
CONFIRMATIONS_WAITING_MAX: Final = 256  # written down by themselves when nothing else takes them along


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A request that waits for its fsync."""

    lanes: dict[Lane, dict[str, list[bytes]]]
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
        self._orders: deque[Order] = deque()  # of earlier starts, not durable yet
        self._failures = 0
        self._stopping = False
        self._alarm = Alarm(clock)
        sender.on_confirmed = self._confirmed

    @property
    def is_refusing(self) -> bool:
        """The disk refused the last commit, or has no room to spare."""
        return self._failures > 0

    async def make_durable(self, lanes: dict[Lane, dict[str, list[bytes]]], request: Answered | None) -> None:
        """Return when these events are on the disk.

        Raises:
            IntakeError: 503, they are not.

        """
        if self._stopping:
            raise IntakeError(503, "the hose is stopping", retry_after_seconds=5)
        if self._failures:
            raise _disk_refuses()
        waiting = _Waiting(lanes, request, asyncio.get_running_loop().create_future())
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
            closing = [Cut(lane, closing=True) for lane in LANES]
            await self._commit([*self._batcher.due(self._clock.monotonic(), everything=True), *closing])
        finally:
            self._refuse(self._take())

    def stop(self) -> None:
        """Take no more; `run` ends when what is here is durable."""
        self._stopping = True
        self._alarm.ring()

    async def _until_work(self) -> None:
        if self._waiting or self._failures or self._stopping:
            return
        await self._alarm.wait(until=self._batcher.due_at(self._clock.monotonic()))

    async def _round(self) -> bool:
        """Commit, and tidy whatever came of it: on a full disk only that makes room. Answers whether the disk is well."""
        committed = not self._orders or await self._commit_orders()
        committed = committed and await self._commit(self._batcher.due(self._clock.monotonic()))
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

    async def _commit(self, cuts: Sequence[Cut]) -> bool:
        waiting = self._take()
        accepted: dict[Lane, Runs] = {lane: _merged([each.lanes[lane] for each in waiting]) for lane in LANES}
        group = Group(
            accepted=accepted,
            requests=tuple(each.request for each in waiting if each.request),
            orders=[Order(self._hose_id, cut) for cut in cuts],
        )
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
        now = self._clock.monotonic()
        for lane, runs in accepted.items():
            if runs:
                self._batcher.add(lane, runs, now=now)
        for each in waiting:
            if not each.durable.done():
                each.durable.set_result(None)
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


def _merged(requests: Sequence[dict[str, list[bytes]]]) -> Runs:
    """Lines of several requests, each type together: it packs better and the order within a type stays."""
    merged: dict[str, list[bytes]] = {}
    for by_type in requests:
        for type_name, lines in by_type.items():
            merged.setdefault(type_name, []).extend(lines)
    return list(merged.items())


def _disk_refuses() -> IntakeError:
    return IntakeError(503, "the disk of the hose refuses writes", retry_after_seconds=5)
