"""Mutants: the code broken on purpose, one promise at a time. The simulation must see each; else it proves nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from typing import Any, Final
from unittest.mock import patch

from omni_etl.backends.database import ledger
from omni_etl.backends.database.suppression_list import DatabaseSuppressionList
from omni_etl.backends.database.tables import suppressions_ledger
from omni_etl.backends.database.verdicts import GONE
from omni_etl.backends.memory_tracker import MemoryTracker
from omni_etl.hose import recovery
from omni_etl.hose.event_hose import EventHose
from omni_etl.hose.segments import SegmentWriter
from omni_etl.hose.sender import Sender
from omni_etl.hose.spool import Spool
from omni_etl.queue import siding
from omni_etl.service import Deadline
from omni_etl.services import store_service
from omni_etl.services.webhooks import attempt
from omni_etl.store import CLOCK_SKEW_SECONDS_MAX, _stands
from omni_etl.supervisor.aside import Aside
from omni_etl.supervisor.engines import NOTHING_KNOWN
from omni_etl.supervisor.held import Held
from omni_etl.supervisor.receive import Receiver
from omni_etl.supervisor.redrive import Mending
from omni_etl.tracker import Progress

SERVICE_NAMES: Final = ("message_events", "metrics", "suppressions", "webhooks")


@contextmanager
def delete_before_done() -> Iterator[None]:
    """What is handed out counts as done."""
    with patch.object(Held, "missing", lambda held: held.owed - held.marks.keys() - held.in_flight):
        yield


@contextmanager
def no_ledger() -> Iterator[None]:
    """The store is not asked before the work."""

    async def insert_once(store: Any, table: str, envelope: Any, *, columns: Any, check_deadline: Any) -> bool:
        rows = columns()
        for number in range(3):
            until = check_deadline() + CLOCK_SKEW_SECONDS_MAX
            await store.insert(table, rows, token=f"{envelope.key}-{table}-{number}", until=until)
            if await _stands(store, table, envelope):
                return True
        return False

    with patch.object(store_service, "insert_once", insert_once):
        yield


@contextmanager
def trust_ok() -> Iterator[None]:
    """An insert that answers OK is believed."""

    async def insert_once(store: Any, table: str, envelope: Any, *, columns: Any, check_deadline: Any) -> bool:
        if await _stands(store, table, envelope):
            return False
        until = check_deadline() + CLOCK_SKEW_SECONDS_MAX
        await store.insert(table, columns(), token=f"{envelope.key}-{table}-0", until=until)
        return True

    with patch.object(store_service, "insert_once", insert_once):
        yield


@contextmanager
def counter_in_place_of_hash() -> Iterator[None]:
    """The tracker counts marks and does not say whose they are: a repeated one makes another service done."""
    counted: Counter[tuple[int, str]] = Counter()
    mark, ask = MemoryTracker.mark, MemoryTracker.ask

    async def note(tracker: Any, key: str, *args: Any) -> Any:
        counted[id(tracker), key] += 1
        return await mark(tracker, key, *args)

    async def guess(tracker: Any, keys: Sequence[str]) -> list[Progress]:
        found = await ask(tracker, keys)
        marks = [dict.fromkeys(SERVICE_NAMES[: counted[id(tracker), key]], "done") for key in keys]
        return [Progress(guessed, settled=each.settled) for guessed, each in zip(marks, found, strict=True)]  # type: ignore[arg-type]  # a Literal

    with patch.object(MemoryTracker, "mark", note), patch.object(MemoryTracker, "ask", guess):
        yield


@contextmanager
def unstable_cut() -> Iterator[None]:
    """A new start cuts anew what an earlier one had cut and not confirmed."""
    read_cut = recovery._read_cut

    def read(history: Any, segment: int, framed: Any) -> None:
        before = {lane: list(owed.spans) for lane, owed in history.owed.items()}
        read_cut(history, segment, framed)
        cut = framed.record
        if (spans := before.get((cut.hose_id, cut.lane))) is not None and not cut.accepts:
            history.owed[cut.hose_id, cut.lane].spans.clear()
            history.owed[cut.hose_id, cut.lane].spans.extend(spans)
            del history.unsent[next(reversed(history.unsent))]
            history.segments[segment].unsent_count -= 1

    with patch.object(recovery, "_read_cut", read):
        yield


@contextmanager
def reused_hose_id() -> Iterator[None]:
    """A hose keeps its id over a restart, and counts from 1 again."""
    init = EventHose.__init__

    def keep(hose: Any, **kwargs: Any) -> None:
        init(hose, **kwargs)
        hose.hose_id = kwargs["spool_dir"].name * 4

    with patch.object(EventHose, "__init__", keep):
        yield


@contextmanager
def tombstone_eats_a_redrive() -> Iterator[None]:
    """What comes from a siding is judged by the tracker, too."""

    async def progress(receiver: Any, _source: Any, opened: list[Held]) -> list[Progress]:
        found = await receiver._engines.ask([held.tracked_as for held in opened]) if opened else []
        return [each or NOTHING_KNOWN for each in found]

    with patch.object(Receiver, "_progress", progress):
        yield


@contextmanager
def marked_before_sided() -> Iterator[None]:
    """The mark stands before the siding has it."""

    async def set_aside(aside: Any, setting: Any) -> None:
        aside._on_aside(setting)
        await aside._send(setting)

    with patch.object(Aside, "_set_aside", set_aside):
        yield


@contextmanager
def answered_before_fsync() -> Iterator[None]:
    """The hose believes what it wrote."""
    append = SegmentWriter.append

    def quick(writer: Any, frames: Any, start: Any, *, durable: bool) -> Any:
        return append(writer, frames, start, durable=False)

    with patch.object(SegmentWriter, "append", quick):
        yield


@contextmanager
def repetition_not_recognised() -> Iterator[None]:
    """The hose takes every request for a new one."""
    with patch.object(EventHose, "_answered_before", lambda *_: None):
        yield


@contextmanager
def ledger_apart_from_effect() -> Iterator[None]:
    """Noted in one transaction, and said in another."""

    async def apply(those: Any, envelope: Any, sayings: Any) -> bool:
        def note(connection: Any) -> bool:
            return ledger.enter(
                connection, those._database, suppressions_ledger, envelope=envelope, now_ms=those._now_ms()
            )

        if not sayings or not await those._database.write(note):
            return False
        await those._database.write(lambda connection: those._sayings.say(connection, sayings))
        return True

    with patch.object(DatabaseSuppressionList, "apply", apply):
        yield


@contextmanager
def deadline_not_checked() -> Iterator[None]:
    """A child goes on however late it is."""
    with patch.object(Deadline, "check", lambda deadline: deadline._at_wall + 1e9):
        yield


@contextmanager
def confirmed_before_sent() -> Iterator[None]:
    """The hose notes that the queue has an envelope as it sends it."""
    send, confirm = Sender._send, Spool.confirm

    def once(spool: Spool, places: Sequence[int]) -> None:
        noted = vars(spool).setdefault("noted", set())
        fresh = [place for place in places if place not in noted]
        noted.update(fresh)
        confirm(spool, fresh)

    async def quick(sender: Any, batch: Any) -> None:
        sender._shelf.confirm(batch.places)
        await send(sender, batch)

    with patch.object(Sender, "_send", quick), patch.object(Spool, "confirm", once):
        yield


@contextmanager
def read_and_not_synced() -> Iterator[None]:
    """A new start believes what it reads of a killed one, although it is perhaps in the kernel's memory alone."""
    with patch.object(recovery, "sync", lambda *_: None):
        yield


@contextmanager
def a_new_id_for_each_attempt() -> Iterator[None]:
    """A batch that is sent again is another one to the customer."""
    headers_of = attempt.headers_of
    numbers = count()

    def renamed(batch: Any, webhook: Any, *, now_ms: int) -> dict[str, str]:
        headers = headers_of(batch, webhook, now_ms=now_ms)
        return {**headers, "X-MessageSystems-Batch-ID": f"{batch.id}.{next(numbers)}"}

    with patch.object(attempt, "headers_of", renamed):
        yield


@contextmanager
def delivered_before_posted() -> Iterator[None]:
    """A batch leaves the outbox as it leaves for the customer."""
    send = attempt.Attempts._send

    async def quick(attempts: Any, batch: Any, webhook: Any) -> Any:
        await attempts._outbox._database.write(lambda connection: connection.execute(GONE, {"ids": [batch.id]}))
        return await send(attempts, batch, webhook)

    with patch.object(attempt.Attempts, "_send", quick):
        yield


@contextmanager
def outbox_without_ledger() -> Iterator[None]:
    """An envelope that comes again is cut for customers again."""
    with patch.object(ledger, "enter", lambda *_, **__: True):
        yield


@contextmanager
def redriven_before_sent() -> Iterator[None]:
    """A dead letter is deleted before the siding has it."""

    async def put_back(mending: Any, letters: Any, service: str, lease: Any) -> bool:
        await letters.remove(lease)
        return not await mending._queue.send(siding(service), [lease.envelope])

    with patch.object(Mending, "_put_back", put_back):
        yield


Mutant = Callable[[], AbstractContextManager[None]]
MUTANTS: Final[dict[str, Mutant]] = {
    each.__name__: each
    for each in (
        delete_before_done, no_ledger, trust_ok, counter_in_place_of_hash, unstable_cut, reused_hose_id,
        tombstone_eats_a_redrive, marked_before_sided, answered_before_fsync, repetition_not_recognised,
        ledger_apart_from_effect, deadline_not_checked, confirmed_before_sent, read_and_not_synced,
        a_new_id_for_each_attempt, delivered_before_posted, outbox_without_ledger, redriven_before_sent,
    )
}  # fmt: skip
