"""The queue in a database: a lease is a time in a row, set in a short transaction.

A receipt is good until the next receive or release: a lapsed lease that nobody else took can still be deleted (only
confirmed *done* deletes, so that is work saved), but not extended.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, bindparam, case, delete, func, insert, select, update

from omni_etl import telemetry
from omni_etl.backends.database.engine import Database
from omni_etl.backends.database.payload_days import PayloadDays
from omni_etl.backends.database.payloads import Payloads
from omni_etl.backends.database.postgresql import Postgresql
from omni_etl.backends.database.pruning import Pruning
from omni_etl.backends.database.tables import queue_messages
from omni_etl.bell import Bell
from omni_etl.clock import Clock
from omni_etl.envelope import LANES, SealedEnvelope
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
OTHERS_POLL_FACTOR: Final = 10
EXPIRED_ROWS_MAX: Final = 50  # a deleted row takes up to 1 MiB of payload with it

_held: Final = (
    queue_messages.c.id == bindparam("lease_id"),
    queue_messages.c.receipt == bindparam("lease_receipt"),
)

# Made once: to put a statement together costs more than to run it.
_ready: Final = (
    select(queue_messages.c.id)
    .where(queue_messages.c.queue_name == bindparam("name"), queue_messages.c.ready_at_ms <= bindparam("now_ms"))
    .order_by(queue_messages.c.ready_at_ms)
)
_send: Final = insert(queue_messages).returning(queue_messages.c.id)
_look: Final = _ready.limit(1)
_first: Final = _ready.limit(bindparam("count_max")).with_for_update(skip_locked=True).cte("first")
_take: Final = (
    update(queue_messages)
    .where(queue_messages.c.id.in_(select(_first.c.id)))
    .values(
        receipt=bindparam("new_receipt"),
        ready_at_ms=bindparam("lapses_at_ms"),
        receive_count=queue_messages.c.receive_count + 1,
    )
    .returning(queue_messages.c.id, queue_messages.c.receive_count, queue_messages.c.sent_at_ms)
)


class DatabaseQueue:
    """Several processes may send and receive at once. Waiting receivers look every `poll_seconds`.

    Into a siding or dead letters they look ten times less often: nothing there is urgent, and mostly there is nothing.
    """

    limits = QueueLimits(
        entry_bytes_max=MIB,
        batch_count_max=10,
        batch_bytes_max=4 * MIB,
        receive_count_max=10,
        lease_seconds_max=43_200,
    )

    def __init__(self, database: Database, clock: Clock, *, poll_seconds: float = 0.1) -> None:
        self._database = database
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._bells: defaultdict[str, Bell] = defaultdict(Bell)
        self._pruning: dict[str, Pruning] = {}
        in_days = isinstance(database.product, Postgresql)
        self._payloads = PayloadDays(database, clock) if in_days else Payloads()

    async def open(self, queue_names: Sequence[str]) -> None:
        """Connect and migrate; a queue exists by being named."""
        await self._database.open(self)
        for name in queue_names:
            self._pruning.setdefault(name, Pruning(self._database, self._clock, rows_max=EXPIRED_ROWS_MAX))

    async def close(self) -> None:
        """Give back connections."""
        await self._database.close(self)

    async def send(self, queue_name: str, envelopes: Sequence[SealedEnvelope]) -> Failures:
        """Keep envelopes durably, all in one transaction."""
        failures = check_send(envelopes, self.limits)
        good = [each for position, each in enumerate(envelopes) if position not in failures]
        if good:
            await self._insert(queue_name, good)
            self._bells[queue_name].ring()
        return failures

    async def receive(self, queue_name: str, *, count_max: int, wait_seconds: float, lease_seconds: int) -> list[Lease]:
        """Take up to `count_max` envelopes, those first that have been ready for longest."""
        check_leases([], self.limits, lease_seconds=lease_seconds)
        await self._expire()
        bell = self._bells[queue_name]
        until = self._clock.monotonic() + wait_seconds
        poll_seconds = self._poll_seconds if queue_name in LANES else self._poll_seconds * OTHERS_POLL_FACTOR
        while True:
            rings = bell.rings
            leases = await self._take(queue_name, min(count_max, self.limits.receive_count_max), lease_seconds)
            left_seconds = until - self._clock.monotonic()
            if leases or left_seconds <= 0:
                return leases
            await bell.wait(rings, clock=self._clock, seconds=min(poll_seconds, left_seconds))

    async def extend(self, leases: Sequence[Lease], *, lease_seconds: int) -> Failures:
        """Move the deadline of leases that have not lapsed; the others stay as they are."""
        check_leases(leases, self.limits, lease_seconds=lease_seconds)
        now_ms = self._now_ms()
        still = update(queue_messages).where(*_held, queue_messages.c.ready_at_ms > now_ms)
        return await self._change(still.values(ready_at_ms=now_ms + lease_seconds * 1000), leases)

    async def release(self, leases: Sequence[Lease], *, delay_seconds: int = 0) -> Failures:
        """Give back; the receipt ends here, so that a late heartbeat cannot take the delay away."""
        check_leases(leases, self.limits, lease_seconds=delay_seconds)
        ready_at_ms = self._now_ms() + delay_seconds * 1000
        failures = await self._change(
            update(queue_messages).where(*_held).values(ready_at_ms=ready_at_ms, receipt=None), leases
        )
        for name in {lease.queue_name for lease in leases}:
            self._bells[name].ring()
        return failures

    async def delete(self, leases: Sequence[Lease]) -> Failures:
        """Forget for ever what nobody else has taken since."""
        check_leases(leases, self.limits)
        return await self._change(delete(queue_messages).where(*_held), leases)

    async def depth(self, queue_name: str) -> Depth:
        """How full it is; what was released with a delay counts as leased."""
        now_ms = self._now_ms()
        is_ready = case((queue_messages.c.ready_at_ms <= now_ms, 1), else_=0)
        mine = queue_messages.c.queue_name == queue_name
        async with self._database.reading() as connection:
            counts = select(func.count(), func.coalesce(func.sum(is_ready), 0)).where(mine)
            count, ready = (await connection.execute(counts)).one()
            oldest = (await connection.execute(select(func.min(queue_messages.c.sent_at_ms)).where(mine))).scalar()
        age_seconds = 0.0 if oldest is None else max(0.0, (now_ms - oldest) / 1000)
        return Depth(ready=ready, leased=count - ready, oldest_age_seconds=age_seconds)

    async def _insert(self, queue_name: str, envelopes: Sequence[SealedEnvelope]) -> None:
        now_ms = self._now_ms()
        await self._payloads.prepare(queue_name, now_ms)
        message = {"queue_name": queue_name, "ready_at_ms": now_ms, "receive_count": 0, "sent_at_ms": now_ms}

        def send(connection: Connection) -> None:
            ids = connection.execute(_send, [message for _ in envelopes])
            kept = dict(zip(ids.scalars(), envelopes, strict=True))
            self._payloads.keep(connection, kept, queue_name=queue_name, sent_at_ms=now_ms)

        await self._database.write(send)

    async def _take(self, queue_name: str, count_max: int, lease_seconds: int) -> list[Lease]:
        now_ms = self._now_ms()
        ready = {"name": queue_name, "now_ms": now_ms}
        # A look costs writers nothing.
        if await self._database.read(lambda connection: connection.execute(_look, ready).first()) is None:
            return []
        receipt = secrets.token_hex(8)
        lease = {"count_max": count_max, "new_receipt": receipt, "lapses_at_ms": now_ms + lease_seconds * 1000}
        taken = await self._database.write(lambda connection: connection.execute(_take, {**ready, **lease}).all())
        return await self._leases(queue_name, receipt, taken)

    async def _leases(self, queue_name: str, receipt: str, taken: Sequence[Any]) -> list[Lease]:
        sent_at_ms = {row.id: row.sent_at_ms for row in taken}
        found = await self._database.read(
            lambda connection: self._payloads.find(connection, sent_at_ms, queue_name=queue_name)
        )
        return [
            Lease(
                queue_name=queue_name,
                receipt=f"{row.id}.{receipt}",
                envelope=found[row.id],
                receive_count=row.receive_count,
                sent_at=row.sent_at_ms / 1000,
            )
            for row in sorted(taken)
            if row.id in found  # unless its time was over in between
        ]

    async def _change(self, statement: Any, leases: Sequence[Lease]) -> Failures:
        if leases:
            receipts = [(int(id_), receipt) for id_, _, receipt in (each.receipt.partition(".") for each in leases)]
            # In order, so that two calls at the same time never wait for each other's rows.
            rows = [{"lease_id": id_, "lease_receipt": receipt} for id_, receipt in sorted(receipts)]
            await self._database.write(lambda connection: connection.execute(statement, rows))
        return {}

    async def _expire(self) -> None:
        for name, pruning in self._pruning.items():
            if not pruning.is_due(queue_messages):
                continue
            sent_at_ms = self._now_ms() - retention_seconds(name) * 1000
            too_old = (queue_messages.c.queue_name == name) & (queue_messages.c.sent_at_ms < sent_at_ms)
            gone = await pruning.run(queue_messages, too_old)
            if gone:
                telemetry.queue_envelopes_expired.labels(name).inc(gone)
                telemetry.get_logger().error("queue_envelopes_expired", queue=name, count=gone)
        await self._payloads.tend()

    def _now_ms(self) -> int:
        return int(self._clock.now() * 1000)
