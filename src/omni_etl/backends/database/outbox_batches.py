"""Batches and segments as rows: how they are written, read and joined, in transactions that are another's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid5

import zstandard
from sqlalchemy import Connection, Row, bindparam, delete, insert, select

from omni_etl.backends.database.outbox_lanes import Moved
from omni_etl.backends.database.outbox_tables import outbox_batches, outbox_bodies, outbox_lanes, outbox_segments
from omni_etl.envelope import ZSTD_LEVEL
from omni_etl.outbox import Batch, Closing, DueBatch, Segment

JOINED_NAMESPACE: Final = UUID("0b5f7f0e-7c9c-4f0e-8f55-2c1f6f1f4d11")  # random, fixed for ever
BODY_BYTES_MAX: Final = 2 * 1024 * 1024  # Django refuses bodies above 2.5 MiB, for ever (DATA_UPLOAD_MAX_MEMORY_SIZE)
SEGMENTS_MAX: Final = 500  # joined in one transaction, see engine.py


@dataclass(frozen=True, slots=True)
class Fresh:
    """A batch as it is written first."""

    batch: Batch
    cut_at_ms: int
    due_at_ms: int
    claim: str | None = None
    state: str = "fresh"
    attempts: int = 0

    def due(self) -> DueBatch:
        """As its claimant has it."""
        assert self.claim is not None, "claimed"
        return DueBatch(self.batch, self.claim, self.attempts, self.cut_at_ms)


def write_batches(connection: Connection, fresh: Sequence[Fresh]) -> list[tuple[str, Moved]]:
    """Rows and compressed bodies; what that adds to each lane."""
    if not fresh:
        return []
    compressor = _compressor()
    bodies = [compressor.compress(each.batch.body) for each in fresh]
    connection.execute(BATCHES, [_row(each, len(body)) for each, body in zip(fresh, bodies, strict=True)])
    rows = [{"batch_id": each.batch.id, "body": body} for each, body in zip(fresh, bodies, strict=True)]
    connection.execute(BODIES, rows)
    return [
        (each.batch.webhook_id, Moved(1, each.batch.event_count, len(body)))
        for each, body in zip(fresh, bodies, strict=True)
    ]


def write_segments(connection: Connection, segments: Sequence[Segment], *, now_ms: int) -> list[tuple[str, Moved]]:
    """Rows with compressed elements; what that adds to each lane."""
    if not segments:
        return []
    compressor = _compressor()
    elements = [compressor.compress(each.elements) for each in segments]
    connection.execute(SEGMENTS, [_segment_row(each, of, now_ms) for each, of in zip(segments, elements, strict=True)])
    return [(each.webhook_id, Moved(0, each.event_count, len(of))) for each, of in zip(segments, elements, strict=True)]


def read_batches(rows: Iterable[Row[Any]]) -> list[DueBatch]:
    """Claimed ones, with their bodies."""
    decompressor = zstandard.ZstdDecompressor()
    return [_due_batch(row, decompressor) for row in rows]


def join_segments(
    connection: Connection, closings: Sequence[Closing], *, now_ms: int, claim: str, claim_seconds: int
) -> tuple[list[Fresh], list[tuple[str, Moved]]]:
    """The new batches, and what moves in each lane. Nothing of a webhook where someone else is at it."""
    wanted = {each.webhook_id: each for each in closings}
    ours = set(connection.execute(LOCK_LANES, {"ids": sorted(wanted)}).scalars())
    groups: list[tuple[Closing, list[Row[Any]]]] = []
    left = SEGMENTS_MAX
    for closing in (each for webhook_id, each in wanted.items() if webhook_id in ours):
        if left:
            mine = _fitting(connection, closing, segments_max=left)
            groups += [(closing, group) for group in mine]
            left -= sum(map(len, mine))
    if not groups:
        return [], []
    connection.execute(TAKEN, {"ids": [row.id for _, group in groups for row in group]})
    until_ms = now_ms + claim_seconds * 1000
    fresh = [
        Fresh(_joined(group, closing), now_ms, until_ms, claim)
        if closing.is_claimed
        else Fresh(_joined(group, closing), now_ms, now_ms)
        for closing, group in groups
    ]
    moved = [(closing.webhook_id, _gone(group)) for closing, group in groups]
    return fresh, moved + write_batches(connection, fresh)


def drop_segments(connection: Connection, webhook_id: str) -> Moved:
    """Up to `SEGMENTS_MAX`; none where someone else is at it."""
    ours = connection.execute(LOCK_LANES, {"ids": [webhook_id]}).all()
    rows = connection.execute(OPEN, {"of": webhook_id, "count": SEGMENTS_MAX}).all() if ours else []
    if rows:
        connection.execute(TAKEN, {"ids": [row.id for row in rows]})
    moved = _gone(rows)
    moved.dropped_events = -moved.waiting_events
    return moved


def _gone(rows: Sequence[Row[Any]]) -> Moved:
    events, size_bytes = sum(row.event_count for row in rows), sum(len(row.elements) for row in rows)
    return Moved(waiting_events=-events, waiting_bytes=-size_bytes)


def _fitting(connection: Connection, closing: Closing, *, segments_max: int) -> list[list[Row[Any]]]:
    """The oldest segments, a list for each batch. Where more are left than may be taken, the last batch waits for them."""
    rows = connection.execute(OPEN, {"of": closing.webhook_id, "count": segments_max}).all()
    is_everything = closing.is_everything and (len(rows) < segments_max or segments_max == SEGMENTS_MAX)
    return _groups(rows, events_max=closing.events_max, is_everything=is_everything)


def _groups(rows: Sequence[Row[Any]], *, events_max: int, is_everything: bool) -> list[list[Row[Any]]]:
    """Side by side, as many as fit a batch; the last, which would fit more, only where everything is wanted."""
    groups: list[list[Row[Any]]] = []
    events = body_bytes = 0
    for row in rows:
        is_full = events + row.event_count > events_max or body_bytes + row.element_bytes >= BODY_BYTES_MAX
        if not groups or is_full:
            groups.append([])
            events, body_bytes = 0, 1  # a bracket; behind each element comes a comma, or the other one
        groups[-1].append(row)
        events += row.event_count
        body_bytes += row.element_bytes + 1
    if groups and not is_everything and events < events_max:
        groups.pop()
    return groups


def _joined(group: Sequence[Row[Any]], closing: Closing) -> Batch:
    decompressor = zstandard.ZstdDecompressor()
    elements = [decompressor.decompress(row.elements) for row in group]
    return Batch(
        id=str(uuid5(JOINED_NAMESPACE, group[0].name)),
        webhook_id=closing.webhook_id,
        target=closing.target,
        headers=closing.headers,
        body=b"[%b]" % b",".join(elements),
        event_count=sum(row.event_count for row in group),
    )


def _row(fresh: Fresh, body_bytes: int) -> dict[str, object]:
    batch = fresh.batch
    return {
        "id": batch.id,
        "webhook_id": batch.webhook_id,
        "target": batch.target,
        "headers": dict(batch.headers),
        "event_count": batch.event_count,
        "body_bytes": body_bytes,
        "parent_id": batch.parent_id,
        "state": fresh.state,
        "attempts": fresh.attempts,
        "cut_at_ms": fresh.cut_at_ms,
        "due_at_ms": fresh.due_at_ms,
        "claim": fresh.claim,
    }


def _segment_row(segment: Segment, elements: bytes, now_ms: int) -> dict[str, object]:
    return {
        "webhook_id": segment.webhook_id,
        "name": segment.name,
        "event_count": segment.event_count,
        "element_bytes": len(segment.elements),
        "put_at_ms": now_ms,
        "elements": elements,
    }


def _due_batch(row: Row[Any], decompressor: zstandard.ZstdDecompressor) -> DueBatch:
    batch = Batch(
        id=row.id,
        webhook_id=row.webhook_id,
        target=row.target,
        headers=row.headers,
        body=decompressor.decompress(row.body),
        event_count=row.event_count,
        parent_id=row.parent_id,
    )
    return DueBatch(batch=batch, claim=row.claim, attempts=row.attempts, cut_at_ms=row.cut_at_ms)


def _compressor() -> zstandard.ZstdCompressor:
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True)  # one for all, and for no other thread


# Made once: to build a statement costs more than to run it.
BATCHES: Final = insert(outbox_batches)
BODIES: Final = insert(outbox_bodies)
SEGMENTS: Final = insert(outbox_segments)
WHOLE: Final = (
    select(outbox_batches, outbox_bodies.c.body)
    .join(outbox_bodies)
    .where(outbox_batches.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(outbox_batches.c.cut_at_ms)
)
LOCK_LANES: Final = (  # who holds one is closing that webhook's segments, until the transaction ends
    select(outbox_lanes.c.webhook_id)
    .where(outbox_lanes.c.webhook_id.in_(bindparam("ids", expanding=True)))
    .order_by(outbox_lanes.c.webhook_id)
    .with_for_update(skip_locked=True)
)
OPEN: Final = (
    select(outbox_segments)
    .where(outbox_segments.c.webhook_id == bindparam("of"))
    .order_by(outbox_segments.c.id)
    .limit(bindparam("count"))
)
TAKEN: Final = delete(outbox_segments).where(outbox_segments.c.id.in_(bindparam("ids", expanding=True)))
