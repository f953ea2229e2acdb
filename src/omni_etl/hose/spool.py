"""Spool: what the hose has promised, on its own disk. One commit at a time; nothing is believed before its fsync.

A commit is all or nothing: numbers, places and memory change only after the disk has answered, so a refused one leaves
no trace here (and `ended` in the next segment leaves none on the disk). Segments go oldest first, when everything in
them was cut durably and confirmed by the queue.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Final

import msgspec

from omni_etl.clock import Clock
from omni_etl.envelope import Lane, SealedEnvelope
from omni_etl.errors import SettingsError
from omni_etl.hose import segments
from omni_etl.hose.batcher import Runs, rest_of
from omni_etl.hose.numbers import HoseNumbers
from omni_etl.hose.records import Accepted, Answered, Block, Confirmed, Cut, Run, Start, frame, pack_lines
from omni_etl.hose.recovery import History, SegmentContent
from omni_etl.hose.requests import RequestMemory
from omni_etl.hose.reserve import REQUESTS_RESERVE_NAME, SPOOL_RESERVE_NAME, Reserve, is_full
from omni_etl.hose.seal import Order, Sealed, seal_all
from omni_etl.telemetry import get_logger, hose_commit_seconds

LOCK_NAME: Final = "lock"


@dataclass(frozen=True, slots=True)
class SpoolLimits:
    """How large files, and envelopes, may become."""

    segment_bytes: int
    entry_bytes_max: int


@dataclass(frozen=True, slots=True)
class Group:
    """What becomes durable together."""

    accepted: dict[Lane, Runs] = field(default_factory=dict)  # not durable yet; the first may be in `orders` at once
    requests: tuple[Answered, ...] = ()
    orders: Sequence[Order] = ()


@dataclass(frozen=True, slots=True)
class Committed:
    """What is durable now."""

    cuts: list[tuple[int, Sealed]]  # place in the spool → envelope
    hoses: dict[str, HoseNumbers]
    accepted_to: dict[Lane, int]
    segment: int
    written_bytes: int


class Spool:
    """One directory, held by one process."""

    def __init__(
        self,
        directory: Path,
        *,
        history: History,
        hose_id: str,
        clock: Clock,
        limits: SpoolLimits,
        memory: RequestMemory,
    ) -> None:
        self._directory = directory
        self._hose_id = hose_id
        self._clock = clock
        self._limits = limits
        self._memory = memory
        self._hoses = {name: numbers for name, numbers in history.hoses.items() if not numbers.closed}
        self._hoses[hose_id] = HoseNumbers()
        self._segments = history.segments
        self._confirmed: list[int] = []
        self._writer = segments.SegmentWriter(
            directory, next_segment=history.next_segment, segment_bytes=limits.segment_bytes
        )
        self._writer.ended.update(history.ended)
        self._reserve = Reserve(directory / SPOOL_RESERVE_NAME, limits.segment_bytes)
        self._requests_reserve = Reserve(directory / REQUESTS_RESERVE_NAME, limits.segment_bytes)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")

    @property
    def open_ids(self) -> list[str]:
        """Earlier hose_ids that are not closed yet."""
        return [hose_id for hose_id in self._hoses if hose_id != self._hose_id]

    def numbers(self, hose_id: str) -> HoseNumbers:
        """How far an open hose_id has come."""
        return self._hoses[hose_id]

    @property
    def size_bytes(self) -> int:
        """Bytes on the disk."""
        return sum(content.size_bytes for content in self._segments.values())

    @property
    def unsent_count(self) -> int:
        """Envelopes cut and not confirmed."""
        return sum(content.unsent_count for content in self._segments.values())

    @property
    def confirmed_count(self) -> int:
        """Confirmations not yet written down."""
        return len(self._confirmed)

    async def commit(self, group: Group) -> Committed:
        """Make a group durable.

        Raises:
            OSError: the disk refused; nothing of the group counts, and the next commit begins a new segment. Where
                it was full, the next one finds the room of the reserve.

        """
        confirmed, self._confirmed = self._confirmed, []
        loop = asyncio.get_running_loop()
        try:
            committed = await loop.run_in_executor(self._thread, self._write, group, confirmed)
        except OSError as error:
            self._confirmed = confirmed + self._confirmed
            if is_full(error):
                self._reserve.release()
            raise
        self._apply(committed)
        return committed

    def confirm(self, places: Sequence[int]) -> None:
        """The queue keeps these envelopes. Written down with the next commit."""
        for place in places:
            self._segments[segments.segment_of(place)].unsent_count -= 1
        self._confirmed.extend(places)

    def read(self, place: int) -> SealedEnvelope | None:
        """An envelope; None where the disk has damaged it, which is said aloud and leaves a copy of the segment."""
        framed = segments.read_record(self._directory, place)
        if framed is not None:
            assert isinstance(framed.record, Cut), place
            return framed.record.envelope
        copy = segments.set_aside(self._directory, segments.segment_of(place))
        get_logger().error("hose_spool_damaged", segment=segments.segment_of(place), place=place, copy=str(copy))
        return None

    def removable(self) -> list[int]:
        """The oldest segments, as far as nobody needs them."""
        found = []
        for segment in sorted(self._segments):
            content = self._segments[segment]
            if segment == self._writer.segment or content.unsent_count or not self._is_cut(content):
                break
            found.append(segment)
        return found

    async def remove(self, removable: Sequence[int]) -> None:
        """Delete segments, once the memory of requests can stand alone."""
        loop = asyncio.get_running_loop()
        for segment in await loop.run_in_executor(self._thread, self._remove, removable):
            del self._segments[segment]

    async def hold_reserve(self) -> bool:
        """Whether there is room to make room: for one segment more, and as much for the memory of requests."""
        if self._reserve.is_held and self._requests_reserve.is_held:
            return True  # asked after every commit
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._hold_reserve)

    async def close(self) -> None:
        """End the segment. The directory is let go by whoever closes the descriptor that `lock` gave."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._writer.close)
        self._thread.shutdown()

    def _write(self, group: Group, confirmed: Sequence[int]) -> Committed:
        """In the spool's own thread: compressing, writing and syncing leave the loop free."""
        started = self._clock.monotonic()
        before = self._hoses[self._hose_id]
        numbers = before
        for lane, runs in group.accepted.items():
            numbers = numbers.accept(lane, before.lane(lane).accepted_to + _count(runs))
        sealed, hoses = seal_all(
            group.orders,
            {**self._hoses, self._hose_id: numbers},
            cut_at_ms=int(self._clock.now() * 1000),
            entry_bytes_max=self._limits.entry_bytes_max,
        )
        sealed = sorted(map(self._as_accepting, sealed), key=lambda each: each.record.accepts)
        blocks = self._blocks(group.accepted, hoses[self._hose_id])
        frames = [frame(Confirmed(tuple(confirmed)))] if confirmed else []
        cuts_from = len(frames)
        frames.extend(frame(each.record) for each in sealed)
        accepting_count = sum(each.record.accepts for each in sealed)
        if blocks or group.requests or accepting_count:
            accepted = Accepted(hose_id=self._hose_id, blocks=blocks, requests=group.requests, cuts=accepting_count)
            frames.append(frame(accepted))  # last, because with it all of them count
        start = Start(hose_id=self._hose_id, hoses=self._hoses)
        places = self._writer.append(frames, start, durable=len(frames) > cuts_from)
        self._memory.remember(group.requests)
        hose_commit_seconds.observe(self._clock.monotonic() - started)
        return Committed(
            cuts=list(zip(places[cuts_from:], sealed, strict=False)),
            hoses={
                hose_id: numbers for hose_id, numbers in hoses.items() if not numbers.closed or hose_id == self._hose_id
            },
            accepted_to={block.lane: block.last for block in blocks},
            segment=self._writer.segment,
            written_bytes=sum(map(len, frames)),
        )

    def _as_accepting(self, sealed: Sealed) -> Sealed:
        """One that holds arriving events says so. Those stand last in their group, so that recovery can tell two groups apart."""
        cut = sealed.record
        if cut.hose_id != self._hose_id or cut.events_to <= self._hoses[self._hose_id].lane(cut.lane).accepted_to:
            return sealed
        return replace(sealed, record=msgspec.structs.replace(cut, accepts=True))

    def _blocks(self, arriving: dict[Lane, Runs], after: HoseNumbers) -> tuple[Block, ...]:
        """What is in no envelope, as lines."""
        blocks = []
        for lane, runs in arriving.items():
            first = self._hoses[self._hose_id].lane(lane).accepted_to + 1
            cut_count = max(0, after.lane(lane).cut_to + 1 - first)
            if rest := list(rest_of(runs, skip=cut_count)):
                lines = pack_lines(list(chain.from_iterable(lines for _, lines in rest)))
                of_types = tuple(Run(type_name, len(lines)) for type_name, lines in rest)
                blocks.append(Block(lane=lane, first=first + cut_count, runs=of_types, lines=lines))
        return tuple(blocks)

    def _apply(self, committed: Committed) -> None:
        self._hoses = committed.hoses
        content = self._segments.setdefault(committed.segment, SegmentContent())
        content.size_bytes += committed.written_bytes
        content.unsent_count += len(committed.cuts)
        content.accepted_to.update({(self._hose_id, lane): last for lane, last in committed.accepted_to.items()})

    def _is_cut(self, content: SegmentContent) -> bool:
        return all(
            hose_id not in self._hoses or self._hoses[hose_id].lane(lane).cut_to >= last
            for (hose_id, lane), last in content.accepted_to.items()
        )

    def _hold_reserve(self) -> bool:
        return self._reserve.hold() and self._requests_reserve.hold()

    def _remove(self, removable: Sequence[int]) -> list[int]:
        if not self._memory.make_durable():
            self._requests_reserve.release()
            if not self._memory.make_durable():
                return []
        removed = []
        for segment in removable:  # oldest first, also if we die or the disk refuses in between
            try:
                segments.remove(self._directory, segment)
            except OSError as error:
                get_logger().error("hose_spool_failed", segment=segment, reason=str(error))
                break
            removed.append(segment)
        return removed


def _count(runs: Runs) -> int:
    return sum(len(lines) for _, lines in runs)


def lock(directory: Path) -> int:
    """Hold the directory as long as this process lives, or until the descriptor is closed.

    Raises:
        SettingsError: another hose holds it, or it cannot be made.

    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        handle = os.open(directory / LOCK_NAME, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SettingsError(
            "OMNI_SPOOL_DIR", f"{directory} ({error.strerror})", "Name a directory that can be written."
        ) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise SettingsError(
            "OMNI_SPOOL_DIR",
            f"{directory}, which another hose holds",
            "Stop that hose, or give this one a directory of its own.",
        ) from None
    return handle
