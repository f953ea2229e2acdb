"""Erasing from the outbox: a batch keeps its bytes for ever, so one that holds such events becomes another one, or none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from uuid import UUID, uuid5

import msgspec
import zstandard
from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from omni_etl.backends.database.engine import Database, Holder
from omni_etl.backends.database.outbox_lanes import LOCKED, LaneRows, Moved, total
from omni_etl.backends.database.outbox_tables import (
    outbox_attempts,
    outbox_batches,
    outbox_bodies,
    outbox_replays,
    outbox_segments,
)
from omni_etl.clock import Clock
from omni_etl.envelope import ZSTD_LEVEL
from omni_etl.erasure import Rewritten
from omni_etl.outbox import half_ids
from omni_etl.suppression_list import address_key

SEGMENTS_AT_ONCE: Final = 200
NAMESPACE: Final = UUID("8d6f1c35-9b0a-4e55-a7c8-6f2b0d4b1e90")  # random, fixed for ever


class DatabaseOutboxEraser(Holder):
    """Works beside deliveries: what is claimed is left to its attempt, and who closes waits."""

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__(database, clock)
        self._lanes = LaneRows(database)

    async def rewrite_segments(self, recipient: str) -> Rewritten:
        """Looked at first without a lock; then one webhook after another, with its lane locked, as who closes does."""
        ids: dict[str, list[int]] = {}
        after = 0
        while rows := await self._segments_after(after):
            for each in _held_segments(rows, recipient):
                ids.setdefault(each.row.webhook_id, []).append(each.row.id)
            after = rows[-1].id
        events = 0
        for webhook_id, mine in sorted(ids.items()):
            for start in range(0, len(mine), SEGMENTS_AT_ONCE):
                part = mine[start : start + SEGMENTS_AT_ONCE]
                events += await self._database.write(partial(self._rewrite_segments, webhook_id, part, recipient))
        return Rewritten(events=events)

    async def _segments_after(self, after: int) -> Sequence[Row[Any]]:
        where = {"after": after, "count": SEGMENTS_AT_ONCE}
        return await self._database.read(lambda connection: connection.execute(SEGMENTS, where).all())

    def _rewrite_segments(self, webhook_id: str, ids: Sequence[int], recipient: str, connection: Connection) -> int:
        connection.execute(LOCKED, {"ids": [webhook_id]}).all()
        found = list(_held_segments(connection.execute(SEGMENTS_OF, {"ids": ids, "of": webhook_id}), recipient))
        self._lanes.add(connection, total([(webhook_id, _rewrite_segment(connection, each)) for each in found]))
        return sum(each.erased_count for each in found)

    async def batch_ids(self, after: str, *, count_max: int) -> Sequence[str]:
        """By id, which says nothing of time."""
        statement = select(_batches.id).where(_batches.id > after).order_by(_batches.id).limit(count_max)
        return await self._database.read(lambda connection: connection.execute(statement).scalars().all())

    async def recall_replays(self) -> None:
        """A page is read anew by whoever takes the job next."""
        now_ms = self._now_ms()
        await self._database.write(lambda connection: connection.execute(RECALL, {"now_ms": now_ms}))

    async def halves_since(self, at_ms: int) -> Sequence[str]:
        """By the notes of attempts, which are written with the split."""
        where = {"since_ms": at_ms}
        ids = await self._database.read(lambda connection: connection.execute(SPLIT, where).scalars().all())
        return [half for each in ids for half in half_ids(each)]

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
            self._lanes.add(connection, total([(each.row.webhook_id, _replace(connection, each)) for each in free]))
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


def _held_segments(rows: Iterable[Row[Any]], recipient: str) -> Iterator[_Holding]:
    decompressor = zstandard.ZstdDecompressor()
    for row in rows:
        holding = _without(row, b"[%b]" % decompressor.decompress(row.elements), recipient)
        if holding is not None:
            yield holding


def _rewrite_segment(connection: Connection, holding: _Holding) -> Moved:
    """Under the same name: no batch was given an id for it yet."""
    row = holding.row
    if holding.is_empty:
        connection.execute(SEGMENT_GONE, {"of": row.id})
        return Moved(waiting_events=-holding.erased_count, waiting_bytes=-len(row.elements))
    compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True)
    text = b",".join(holding.lines)
    elements = compressor.compress(text)
    values = {"left_events": len(holding.lines), "left_bytes": len(text), "left": elements}
    connection.execute(SEGMENT_LESS, {"of": row.id, **values})
    return Moved(waiting_events=-holding.erased_count, waiting_bytes=len(elements) - len(row.elements))


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


def _replace(connection: Connection, holding: _Holding) -> Moved:
    """Another batch of the same age, tries and turn; its id comes from the old one's, so it says nothing new."""
    row = holding.row
    connection.execute(GONE, {"of": row.id})
    if holding.is_empty:
        return _fewer(row, batches=1, events=row.event_count, body_bytes=row.body_bytes)
    compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True)
    body = compressor.compress(b"[%b]" % b",".join(holding.lines))
    values = {name: getattr(row, name) for name in _batches.keys()}  # noqa: SIM118 columns, not a dict
    values |= {
        "id": str(uuid5(NAMESPACE, row.id)),
        "event_count": row.event_count - holding.erased_count,
        "body_bytes": len(body),
        "claim": None,
    }
    connection.execute(insert(outbox_batches), values)
    connection.execute(insert(outbox_bodies), {"batch_id": values["id"], "body": body})
    return _fewer(row, batches=0, events=holding.erased_count, body_bytes=row.body_bytes - len(body))


def _fewer(row: Any, *, batches: int, events: int, body_bytes: int) -> Moved:
    if row.state == "given_up":
        return Moved(given_up_batches=-batches, given_up_events=-events)
    return Moved(-batches, -events, -body_bytes)


_batches: Final = outbox_batches.c
_segments: Final = outbox_segments.c
_lines: Final = msgspec.json.Decoder(list[msgspec.Raw])
_wrapped: Final = msgspec.json.Decoder(list[_Wrapped])

WHOLE: Final = (
    select(outbox_batches, outbox_bodies.c.body)
    .join(outbox_bodies)
    .where(_batches.id.in_(bindparam("ids", expanding=True)))
    .order_by(_batches.id)
)
LOCK: Final = (  # in order of ids, as verdicts do
    select(_batches.id).where(_batches.id.in_(bindparam("ids", expanding=True))).order_by(_batches.id).with_for_update()
)
GONE: Final = delete(outbox_batches).where(_batches.id == bindparam("of"))  # and its body with it
RECALL: Final = (
    update(outbox_replays).where(outbox_replays.c.state == "waiting").values(claim=None, due_at_ms=bindparam("now_ms"))
)
SPLIT: Final = select(outbox_attempts.c.batch_id).where(
    outbox_attempts.c.at_ms >= bindparam("since_ms"), outbox_attempts.c.kind == "split"
)
SEGMENTS: Final = (
    select(outbox_segments).where(_segments.id > bindparam("after")).order_by(_segments.id).limit(bindparam("count"))
)
SEGMENTS_OF: Final = select(outbox_segments).where(
    _segments.id.in_(bindparam("ids", expanding=True)), _segments.webhook_id == bindparam("of")
)
SEGMENT_GONE: Final = delete(outbox_segments).where(_segments.id == bindparam("of"))
SEGMENT_LESS: Final = (
    update(outbox_segments)
    .where(_segments.id == bindparam("of"))
    .values(event_count=bindparam("left_events"), element_bytes=bindparam("left_bytes"), elements=bindparam("left"))
)
