"""Erasing from the outbox: a batch keeps its bytes for ever, so one that holds such events becomes another one, or none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid5

import msgspec
import zstandard
from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from omni_etl.backends.database.engine import Holder
from omni_etl.backends.database.tables import outbox_batches, outbox_bodies, outbox_counters
from omni_etl.envelope import ZSTD_LEVEL
from omni_etl.erasure import Rewritten
from omni_etl.suppression_list import address_key

NAMESPACE: Final = UUID("8d6f1c35-9b0a-4e55-a7c8-6f2b0d4b1e90")  # random, fixed for ever


class DatabaseOutboxEraser(Holder):
    """Works beside deliveries: what is claimed is left to its attempt."""

    async def batch_ids(self, after: str, *, count_max: int) -> Sequence[str]:
        """By id, which says nothing of time."""
        statement = select(_batches.id).where(_batches.id > after).order_by(_batches.id).limit(count_max)
        return await self._database.read(lambda connection: connection.execute(statement).scalars().all())

    async def rewrite(self, ids: Sequence[str], recipient: str) -> Rewritten:
        """Looked at first without a lock; only those that hold such events are locked, and looked at again."""
        held = await self._database.read(lambda connection: _held(connection, ids, recipient))
        if not held:
            return Rewritten()
        now_ms = self._now_ms()

        def work(connection: Connection) -> Rewritten:
            connection.execute(LOCK, {"ids": [each.id for each in held]}).all()
            found = _held(connection, [each.id for each in held], recipient)
            free = [each for each in found if each.claim is None or each.due_at_ms <= now_ms]
            for each in free:
                _replace(connection, each)
            return Rewritten(
                rewritten=sum(not each.is_empty for each in free),
                dropped=sum(each.is_empty for each in free),
                events=sum(each.erased_count for each in free),
                claimed=tuple(each.id for each in found if each not in free),
            )

        return await self._database.write(work)


@dataclass(frozen=True, slots=True)
class _Holding:
    """A batch that holds such events, and what it is without them."""

    row: Any
    lines: list[bytes]
    erased_count: int

    @property
    def id(self) -> str:
        return str(self.row.id)

    @property
    def claim(self) -> str | None:
        claim: str | None = self.row.claim
        return claim

    @property
    def due_at_ms(self) -> int:
        return int(self.row.due_at_ms)

    @property
    def is_empty(self) -> bool:
        return not self.lines


class _Recipients(msgspec.Struct, gc=False):
    rcpt_to: str | None = None
    raw_rcpt_to: str | None = None


class _Wrapped(msgspec.Struct, gc=False):
    msys: dict[str, _Recipients] = {}


def _held(connection: Connection, ids: Sequence[str], recipient: str) -> list[_Holding]:
    decompressor = zstandard.ZstdDecompressor()
    rows = connection.execute(WHOLE, {"ids": list(ids)})
    holding = (_without(row, decompressor.decompress(row.body), recipient) for row in rows)
    return [each for each in holding if each is not None]


def _without(row: Row[Any], body: bytes, recipient: str) -> _Holding | None:
    """None where the batch holds none of them."""
    events = list(_events(body))
    kept = [line for line, about in events if not any(_is_of(each, recipient) for each in about)]
    return None if len(kept) == len(events) else _Holding(row, kept, len(events) - len(kept))


def _events(body: bytes) -> Iterator[tuple[bytes, list[_Recipients]]]:
    """The bytes of each element as they stand, and whom it is about."""
    for line, wrapped in zip(_lines.decode(body), _wrapped.decode(body), strict=True):
        yield bytes(line), list(wrapped.msys.values())


def _is_of(event: _Recipients, recipient: str) -> bool:
    return any(spelling and address_key(spelling) == recipient for spelling in (event.rcpt_to, event.raw_rcpt_to))


def _replace(connection: Connection, holding: _Holding) -> None:
    """Another batch of the same age, tries and turn; its id comes from the old one's, so it says nothing new."""
    row = holding.row
    connection.execute(GONE, {"of": row.id})
    fewer = {"batches": int(holding.is_empty), "events": row.event_count if holding.is_empty else holding.erased_count}
    connection.execute(FEWER_WAITING if row.state == "waiting" else FEWER_GIVEN_UP, fewer)
    if holding.is_empty:
        return
    values = {name: getattr(row, name) for name in _batches.keys()}  # noqa: SIM118 columns, not a dict
    values |= {
        "id": str(uuid5(NAMESPACE, row.id)),
        "event_count": row.event_count - holding.erased_count,
        "claim": None,
    }
    connection.execute(insert(outbox_batches), values)
    compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True)
    body = b"[%b]" % b",".join(holding.lines)
    connection.execute(insert(outbox_bodies), {"batch_id": values["id"], "body": compressor.compress(body)})


def _fewer(batches: Any, events: Any) -> Any:
    return update(outbox_counters).values(
        {batches: batches - bindparam("batches"), events: events - bindparam("events")}
    )


_batches: Final = outbox_batches.c
_counters: Final = outbox_counters.c
_lines: Final = msgspec.json.Decoder(list[msgspec.Raw])
_wrapped: Final = msgspec.json.Decoder(list[_Wrapped])

WHOLE: Final = (
    select(outbox_batches, outbox_bodies.c.body)
    .join(outbox_bodies)
    .where(_batches.id.in_(bindparam("ids", expanding=True)))
    .order_by(_batches.id)
)
LOCK: Final = select(_batches.id).where(_batches.id.in_(bindparam("ids", expanding=True))).with_for_update()
GONE: Final = delete(outbox_batches).where(_batches.id == bindparam("of"))  # and its body with it
FEWER_WAITING: Final = _fewer(_counters.waiting_batches, _counters.waiting_events)
FEWER_GIVEN_UP: Final = _fewer(_counters.given_up_batches, _counters.given_up_events)
