"""EventHose: the whole hose without HTTP. Spool, batcher, committer and sender put together, started and stopped."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from omni_etl.clock import Clock
from omni_etl.envelope import LANES
from omni_etl.errors import IntakeError, SettingsError, SpoolFullError, UnavailableError
from omni_etl.event import LINE_BYTES_MAX
from omni_etl.hose.answer import Answer
from omni_etl.hose.batcher import HEADER_BYTES, Batcher, CutLimits
from omni_etl.hose.body import CheckedBody, Form
from omni_etl.hose.committer import Committer
from omni_etl.hose.examiner import Examined, Examiner, Request
from omni_etl.hose.owed import last_orders
from omni_etl.hose.records import Answered
from omni_etl.hose.recovery import History, read_history
from omni_etl.hose.requests import InFlight, RememberLimits, RequestMemory
from omni_etl.hose.reserve import REQUESTS_RESERVE_NAME
from omni_etl.hose.room import Room
from omni_etl.hose.sender import Sender
from omni_etl.hose.spool import Group, Spool, SpoolLimits, lock
from omni_etl.queue import Queue
from omni_etl.telemetry import (
    get_logger,
    hose_events_accepted,
    hose_events_rejected,
    hose_requests_repeated,
)

ENTRY_BYTES_MIN: Final = (
    LINE_BYTES_MAX + LINE_BYTES_MAX // 128 + HEADER_BYTES
)  # one longest line that does not compress
SPOOL_RETRY_SECONDS: Final = 10
UNCUT_RETRY_SECONDS: Final = 1


@dataclass(frozen=True, slots=True)
class HoseLimits:
    """Every limit of the hose; from the settings of the same names."""

    cuts: CutLimits
    requests: RememberLimits
    spool_bytes_max: int
    spool_segment_bytes: int
    body_bytes_max: int
    raw_bytes_max: int
    waiting_bytes_max: int
    uncut_bytes_max: int
    sends_in_flight_max: int
    event_age_seconds_max: int  # 0: of any age


class EventHose:
    """Takes events, answers when they are durable, and brings them to the queue in envelopes cut once."""

    def __init__(self, *, queue: Queue, clock: Clock, rng: random.Random, limits: HoseLimits, spool_dir: Path) -> None:
        self._queue = queue
        self._clock = clock
        self._rng = rng
        self.limits = limits
        self._directory = spool_dir
        self.hose_id = os.urandom(16).hex()  # never from `rng`: a seeded one would give the same id twice
        self.room = Room(limits.waiting_bytes_max)  # for bodies as sent
        self._lines_room = Room(limits.waiting_bytes_max)  # for their lines, until these are durable
        self._examiner = Examiner(
            raw_bytes_max=limits.raw_bytes_max, event_age_seconds_max=limits.event_age_seconds_max, clock=clock
        )
        self._in_flight = InFlight()
        self._tasks: list[asyncio.Task[None]] = []
        self._lock: int | None = None
        self._said_full = False

    async def start(self) -> None:
        """Take the spool directory, settle what earlier starts left, and be ready to accept.

        Raises:
            SettingsError: another hose holds the directory, or the queue can never take our envelopes.
            UnavailableError: the disk cannot be read; nothing was lost, and a later start goes on from here. One that
                only refuses writes is waited for: what was cut is sent meanwhile, and producers get 503.

        """
        self._check_queue()
        self._lock = lock(self._directory)
        try:
            await self._build(queue_is_open=await self._open_queue())
        except (OSError, sqlite3.Error) as error:
            os.close(self._lock)
            raise UnavailableError(f"the disk under {self._directory} refuses: {error}") from error
        except BaseException:
            os.close(self._lock)
            raise

    async def accept(
        self, body: bytes, *, encoding: str = "", form: Form = "any", key: str | None = None, old: bool = False
    ) -> Answer:
        """Keep the valid events of a request, those of any age where `old`; return when they are durable.

        A repetition of an answered request gets the same answer and changes nothing. Events without an id get one.

        Raises:
            SpoolFullError: no room now.
            IntakeError: the request is refused as a whole. Of what it says, nothing was kept.

        """
        self.check_room()
        with self._lines_room.hold(0) as lines_held:
            with self.room.hold(len(body)), self._committer.coming():
                bodies = [body]
                del body  # so that it goes as soon as it is split
                examined = await self._examiner.examine(bodies.pop(), Request(encoding, form, key, old), lines_held)
            if not examined.checked.accepted:
                return self._nothing_to_keep(examined.checked)
            if examined.name is None:
                return await self._keep(examined)
            async with self._in_flight.turn(examined.name):
                return self._answered_before(examined.name, examined.digest) or await self._keep(examined)

    async def watch(self) -> None:
        """Return when the hose was stopped; raise what ended a part of it unasked."""
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_EXCEPTION)
        self._raise_what_ended()

    async def stop(self, deadline_seconds: float) -> None:
        """Cut and close; send for at most this long. What is left goes out at the next start."""
        committing, sending = self._tasks
        self._committer.stop()
        await asyncio.wait([committing])
        await self._drain(deadline_seconds)
        sending.cancel()
        await asyncio.wait([sending])
        await self._close()
        get_logger().info("hose_stopped", hose_id=self.hose_id, unsent_envelopes=self._spool.unsent_count)
        self._raise_what_ended()

    def check_room(self) -> None:
        """Ask before reading a long body.

        Raises:
            SpoolFullError: no room now.

        """
        full = self._spool.size_bytes >= self.limits.spool_bytes_max
        if full and not self._said_full:
            get_logger().warning("hose_spool_full", spool_bytes=self._spool.size_bytes)
        self._said_full = full
        if full or self._memory.is_full:
            raise SpoolFullError("the spool of the hose is full", retry_after_seconds=SPOOL_RETRY_SECONDS)
        if self._batcher.raw_bytes >= self.limits.uncut_bytes_max:
            raise SpoolFullError("events come faster than envelopes are cut", retry_after_seconds=UNCUT_RETRY_SECONDS)

    @property
    def is_refusing(self) -> bool:
        """The disk refuses writes, or has no room to spare; producers are told 503."""
        return self._committer.is_refusing

    @property
    def spool_bytes(self) -> int:
        """Bytes in the spool."""
        return self._spool.size_bytes

    @property
    def unsent_count(self) -> int:
        """Envelopes cut and not confirmed by the queue."""
        return self._spool.unsent_count

    def _check_queue(self) -> None:
        allowed = self._queue.limits.entry_bytes_max
        if allowed < max(self.limits.cuts.envelope_bytes, ENTRY_BYTES_MIN):
            raise SettingsError(
                "OMNI_ENVELOPE_BYTES",
                f"{self.limits.cuts.envelope_bytes}, but the queue takes {allowed} bytes",
                f"Envelopes must fit the queue, and the queue must take at least {ENTRY_BYTES_MIN} bytes.",
            )

    async def _open_queue(self) -> bool:
        """Whether it is there; if not, the sender opens it when it is back."""
        try:
            await self._queue.open(LANES)
        except UnavailableError:
            return False
        return True

    async def _build(self, *, queue_is_open: bool) -> None:
        self._memory = self._open_memory()
        history = await asyncio.to_thread(read_history, self._directory, self._memory.remember)
        self._spool = Spool(
            self._directory,
            history=history,
            hose_id=self.hose_id,
            clock=self._clock,
            limits=SpoolLimits(self.limits.spool_segment_bytes, self.limits.cuts.envelope_bytes),
            memory=self._memory,
        )
        self._sender = Sender(
            self._queue,
            shelf=self._spool,
            clock=self._clock,
            rng=self._rng,
            in_flight_max=self.limits.sends_in_flight_max,
            queue_is_open=queue_is_open,
        )
        self._batcher = Batcher(self.limits.cuts, now=self._clock.monotonic())
        self._committer = Committer(
            hose_id=self.hose_id,
            spool=self._spool,
            batcher=self._batcher,
            sender=self._sender,
            clock=self._clock,
            rng=self._rng,
        )
        await self._recover(history)
        self._tasks = [asyncio.create_task(self._committer.run()), asyncio.create_task(self._sender.run())]
        get_logger().info("hose_started", hose_id=self.hose_id, unsent_envelopes=self._spool.unsent_count)

    def _open_memory(self) -> RequestMemory:
        try:
            return RequestMemory(self._directory, clock=self._clock, limits=self.limits.requests)
        except sqlite3.Error:  # even reading takes room that a full disk has only in the reserve
            (self._directory / REQUESTS_RESERVE_NAME).unlink(missing_ok=True)
            return RequestMemory(self._directory, clock=self._clock, limits=self.limits.requests)

    async def _recover(self, history: History) -> None:
        """Resend what was cut, cut what was accepted, close the ids of earlier starts; all durable before it is sent."""
        for lane in LANES:
            self._sender.add(lane, [place for place, of_lane in history.unsent.items() if of_lane == lane])
        open_hoses = {hose_id: self._spool.numbers(hose_id) for hose_id in self._spool.open_ids}
        orders = last_orders(self._directory, history.owed, hoses=open_hoses, limits=self.limits.cuts)
        if history.unsent or orders or history.cut_off_bytes:
            get_logger().info(
                "hose_recovered",
                resent_envelopes=len(history.unsent),
                cut_envelopes=len(orders),
                cut_off_bytes=history.cut_off_bytes,
            )
        await self._committer.begin(orders)

    async def _drain(self, deadline_seconds: float) -> None:
        drained = asyncio.create_task(self._sender.drained())
        deadline = asyncio.create_task(self._clock.sleep(deadline_seconds))
        await asyncio.wait((drained, deadline, self._tasks[1]), return_when=asyncio.FIRST_COMPLETED)
        drained.cancel()
        deadline.cancel()
        await asyncio.gather(drained, deadline, return_exceptions=True)

    def _raise_what_ended(self) -> None:
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()

    async def _close(self) -> None:
        try:
            await self._spool.commit(Group())  # what the queue confirmed last
            await self._spool.remove(self._spool.removable())
            await self._spool.close()
        except OSError as error:  # nothing is lost by it: a few envelopes are sent again under their old keys
            get_logger().error("hose_spool_failed", reason=str(error))
        self._memory.close()
        await self._queue.close()
        assert self._lock is not None
        os.close(self._lock)

    def _nothing_to_keep(self, checked: CheckedBody) -> Answer:
        hose_events_rejected.inc(checked.rejections.count)
        return checked.rejections.answer(0)

    def _answered_before(self, name: bytes, digest: bytes) -> Answer | None:
        known = self._memory.find(name)
        if known is None:
            return None
        if len(known.body) == len(digest) and known.body != digest:  # an earlier release kept longer ones
            raise IntakeError(422, "this Idempotency-Key came before with another body")
        hose_requests_repeated.inc()
        return known.answer

    async def _keep(self, examined: Examined) -> Answer:
        checked = examined.checked
        answer = checked.rejections.answer(checked.accepted)
        request = None
        if examined.name is not None:
            request = Answered(
                name=examined.name, body=examined.digest, answer=answer, at_seconds=int(self._clock.now())
            )
        await self._committer.make_durable(checked.parts, request, size_bytes=examined.size_bytes)
        hose_events_accepted.inc(checked.accepted)
        hose_events_rejected.inc(checked.rejections.count)
        return answer
