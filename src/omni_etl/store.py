"""Store: the columnar engine (ClickHouse dialect); the contract, and the two ways to insert an envelope once.

**The part is the ledger.** One envelope into one table is one insert, one block and one part; a marker row in the same
block carries the envelope's key, checksum and row count where the primary key finds it. Only a key that was *found*
means done.

A ClickHouse server knows no "insert where absent", so `insert_once` puts it together, an envelope an insert: ask, insert,
ask again. OK alone is no proof (a ghost: the engine logs the deduplication token before it renames the part, and dies in
between; the redo is then taken for a repetition). The token closes the race of two parents at one moment; an insert that
comes later, from a process that was paused between its question and its insert, is refused by the engine itself, by its
own clock (`until`).

The store host is one process, so it asks and inserts under a lock of its own: `insert_absent`. That is exact whoever
comes when, needs no token and no clock, and lets several envelopes share one part, each with its marker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from omni_etl.envelope import Envelope
from omni_etl.errors import IdConflictError, PoisonError

GHOSTS_MAX: Final = 5  # more than one was never seen; five say that something else is wrong

CLOCK_SKEW_SECONDS_MAX: Final = 10
"""How far the clocks of our machines and of the engine's may be apart; `open` refuses more.

Each insert is allowed this long after its lease, so that an engine whose clock is ahead refuses no insert in time. It may
so come up to twice this late (where the engine's clock is behind), which is the time that the token has to cover: far
less than the thousands of inserts that the engine remembers.
"""


@dataclass(frozen=True, slots=True)
class Marker:
    """The ledger's word on one envelope in one table."""

    checksum: str
    row_count: int


LEDGER_DAYS: Final = 60
"""For which a marker stands at least, as long as the database's ledgers keep a key; what is kept less long takes its own along."""


@dataclass(frozen=True, slots=True)
class Retention:
    """Days for which rows are kept after the day of their envelope's cut."""

    events_days: int
    minutes_days: int  # of metrics by the minute
    hours_days: int  # of metrics by the hour; no less


class Store(Protocol):
    """Every method raises `UnavailableError` when the engine is away, full or too slow; then nothing is known."""

    async def open(self) -> None:
        """Connect and apply the schema.

        Raises:
            SettingsError: rejected credentials, or a schema that is not this program's.
            UnavailableError: also where the engine's clock and ours are further apart than `CLOCK_SKEW_SECONDS_MAX`.

        """
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...

    @property
    def inserts_absent(self) -> bool:
        """Whether `insert_absent` may be called; known once open."""
        ...

    async def markers(self, table: str, keys: Sequence[str]) -> Mapping[str, Marker]:
        """The marker rows of these envelopes in `table`, as far as they stand. Reads what is committed, in milliseconds."""
        ...

    async def insert_absent(self, table: str, columns: Any, *, keys: Sequence[str]) -> bool:
        """Insert a `pyarrow.Table` with the rows and markers of all these envelopes as one block, unless one stands.

        True: every marker was read back. False: at least one of the envelopes stands already, and nothing was written.
        However often it is called and by whom at once, each key is written once.
        """
        ...

    async def insert(self, table: str, columns: Any, *, token: str, until: float) -> None:
        """Insert a `pyarrow.Table` as one block; `token` is the engine's deduplication token.

        Raises:
            LeaseLapsedError: by the engine's clock it is `until` (seconds since the epoch) or later; nothing was written.

        """
        ...

    async def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Sequence[Sequence[Any]]:
        """Run a SELECT with `{name:Type}` parameters; rows in order."""
        ...


async def insert_once(
    store: Store, table: str, envelope: Envelope, *, columns: Callable[[], Any], check_deadline: Callable[[], float]
) -> bool:
    """Put one envelope into one table exactly once; True where this call wrote it, False where it stood there already.

    `columns` makes the rows *with* their marker row, and is only called when they are needed. On return the marker was
    read back. An error or time-out ends the try; a redo starts again from the ledger and from token number 0.
    `check_deadline` answers the wall's time of the deadline (`Deadline.check`).

    Raises:
        LeaseLapsedError: by `check_deadline`, directly before an insert, or by the engine where the insert came late.
        IdConflictError: the ledger holds this key with another checksum.
        UnavailableError: the engine is away; nothing is known.

    """
    if await _stands(store, table, envelope):
        return False
    rows = columns()
    for number in range(GHOSTS_MAX):
        until = check_deadline() + CLOCK_SKEW_SECONDS_MAX
        await store.insert(table, rows, token=f"{envelope.key}-{table}-{number}", until=until)
        if await _stands(store, table, envelope):
            return True
    raise PoisonError(f"{table}: {GHOSTS_MAX} inserts of {envelope.key} answered OK and wrote nothing")


def check_same(table: str, envelope: Envelope, marker: Marker) -> None:
    """The ledger's word on this key must be on this envelope.

    Raises:
        IdConflictError: the ledger holds this key with another checksum.

    """
    if marker.checksum != envelope.header.checksum:
        raise IdConflictError(
            f"{table} holds {envelope.key} with checksum {marker.checksum}, this one has {envelope.header.checksum}"
        )


async def _stands(store: Store, table: str, envelope: Envelope) -> bool:
    marker = (await store.markers(table, [envelope.key])).get(envelope.key)
    if marker is None:
        return False
    check_same(table, envelope, marker)
    return True
