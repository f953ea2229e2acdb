"""Seal: turn cuts into envelopes with their numbers, each within the queue's limit. Pure, and done beside the loop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import zstandard

from omni_etl import envelope
from omni_etl.envelope import Stamp
from omni_etl.hose import records
from omni_etl.hose.batcher import Cut, Runs
from omni_etl.hose.numbers import HoseNumbers
from omni_etl.queue import entry_bytes


@dataclass(frozen=True, slots=True)
class Order:
    """A cut to be sealed under a hose_id: our own, or one that an earlier start left open."""

    hose_id: str
    cut: Cut


@dataclass(frozen=True, slots=True)
class Sealed:
    """An envelope ready for the spool."""

    record: records.Cut
    count: int
    raw_bytes: int
    packed_bytes: int


def seal(order: Order, numbers: HoseNumbers, *, cut_at_ms: int, entry_bytes_max: int) -> Iterator[Sealed]:
    """One envelope, or halves of halves where the estimate of the batcher was wrong. One event is never split."""
    cut = order.cut
    before = numbers.lane(cut.lane)
    first = before.cut_to + 1 if cut.first is None else cut.first
    after = numbers.cut(cut.lane, seq=before.seq + 1, events_to=first + cut.count - 1, closing=cut.closing)
    stamp = Stamp(
        hose_id=order.hose_id,
        lane=cut.lane,
        seq=before.seq + 1,
        cut_at_ms=cut_at_ms,
        last_seq=after.last_seq,
        accepted_count=numbers.accepted_count,
        closing=cut.closing,
    )
    sealed = envelope.pack(_by_type(cut.runs), stamp)
    packed_bytes = entry_bytes(sealed)
    if packed_bytes <= entry_bytes_max or cut.count <= 1:
        record = records.Cut(
            hose_id=order.hose_id,
            lane=cut.lane,
            seq=stamp.seq,
            events_to=after.lane(cut.lane).cut_to,
            closing=cut.closing,
            header=sealed.header,
            payload=sealed.payload,
        )
        yield Sealed(record, cut.count, zstandard.frame_content_size(sealed.payload), packed_bytes)
        return
    for half in _halves(cut):
        for each in seal(Order(order.hose_id, half), numbers, cut_at_ms=cut_at_ms, entry_bytes_max=entry_bytes_max):
            numbers = cut_into(numbers, each.record)
            yield each


def seal_all(
    orders: Iterable[Order], hoses: dict[str, HoseNumbers], *, cut_at_ms: int, entry_bytes_max: int
) -> tuple[list[Sealed], dict[str, HoseNumbers]]:
    """Seal in order, and answer how far each hose has come then."""
    hoses = dict(hoses)
    done: list[Sealed] = []
    for order in orders:
        numbers = hoses[order.hose_id]
        for each in seal(order, numbers, cut_at_ms=cut_at_ms, entry_bytes_max=entry_bytes_max):
            hoses[order.hose_id] = cut_into(hoses[order.hose_id], each.record)
            done.append(each)
    return done, hoses


def cut_into(numbers: HoseNumbers, cut: records.Cut) -> HoseNumbers:
    """The numbers after this cut."""
    return numbers.cut(cut.lane, seq=cut.seq, events_to=cut.events_to, closing=cut.closing)


def _by_type(runs: Runs) -> dict[str, Sequence[bytes]]:
    lists: dict[str, list[list[bytes]]] = {}
    for type_name, lines in runs:
        lists.setdefault(type_name, []).append(lines)
    return {name: parts[0] if len(parts) == 1 else list(chain.from_iterable(parts)) for name, parts in lists.items()}


def _halves(cut: Cut) -> tuple[Cut, Cut]:
    """By number, not by type: what is cut must always be the next events of the lane."""
    first: list[tuple[str, list[bytes]]] = []
    second: list[tuple[str, list[bytes]]] = []
    left = cut.count // 2
    for type_name, lines in cut.runs:
        if left:
            first.append((type_name, lines[:left]))
        if left < len(lines):
            second.append((type_name, lines[left:]))
        left = max(0, left - len(lines))
    second_first = None if cut.first is None else cut.first + cut.count // 2
    return Cut(cut.lane, first, first=cut.first), Cut(cut.lane, second, closing=cut.closing, first=second_first)
