"""backends.database.audit: ledgers counted by the database, the same on each kind."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import insert

from omni_etl.audit import Span, Tally
from omni_etl.backends.database import open_database
from omni_etl.backends.database.audit import DatabaseLedger, DatabaseLedgers
from omni_etl.backends.database.outbox_tables import webhooks_ledger
from omni_etl.backends.database.tables import suppressions_ledger
from omni_etl.clock import ManualClock

HOSE, OTHER = "a" * 32, "b" * 32


@pytest.fixture(params=["sqlite", "postgresql"])
async def ledgers(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[DatabaseLedgers]:
    """Empty, open ones of each kind."""
    url = f"sqlite:///{tmp_path}" if request.param == "sqlite" else str(request.getfixturevalue("postgresql_url"))
    clock = ManualClock()
    control, outbox = open_database(url, "control", clock), open_database(url, "outbox", clock)
    subject = DatabaseLedgers(control, outbox)
    await subject.open()
    keys = [f"{HOSE}-bulk-{seq}" for seq in (1, 2, 5, 9, 10, 12)]
    keys += [f"{HOSE}-express-3", f"{OTHER}-bulk-4", "no key of ours", f"{HOSE}-bulkier-1"]
    rows = [{"key": key, "checksum": "", "applied_at_ms": 0} for key in keys]
    for database, table in ((control, suppressions_ledger), (outbox, webhooks_ledger)):
        async with database.writing() as connection:
            await connection.execute(insert(table), rows)
    yield subject
    await subject.close()


@pytest.fixture(params=["suppressions", "webhooks"])
def ledger(request: pytest.FixtureRequest, ledgers: DatabaseLedgers) -> DatabaseLedger:
    """Each of them."""
    found = ledgers.ledger(request.param)
    assert found is not None
    return found


def span(low: int, settled: int, high: int, *, hose_id: str = HOSE) -> Span:
    """Of the bulk lane."""
    return Span(hose_id, "bulk", low, settled, high)


async def test_numbers_are_counted(ledger: DatabaseLedger) -> None:
    """Up to the settled one, and beyond; as numbers, not as texts; of no other hose or lane."""
    spans = [span(2, 9, 12), span(1, 99, 99, hose_id=OTHER), span(1, 5, 5, hose_id="c" * 32)]
    assert await ledger.tallies(spans) == {
        spans[0].prefix: Tally(3, 2),
        spans[1].prefix: Tally(1, 0),
        spans[2].prefix: Tally(0, 0),
    }


async def test_gaps_are_named(ledger: DatabaseLedger) -> None:
    """Before the first, between, and behind the last; no more than are asked for."""
    assert await ledger.gaps(span(1, 14, 20), count_max=10) == [(3, 4), (6, 8), (11, 11), (13, 14)]
    assert await ledger.gaps(span(1, 14, 20), count_max=2) == [(3, 4), (6, 8)]
    assert await ledger.gaps(span(9, 10, 12), count_max=10) == []
    assert await ledger.gaps(span(1, 3, 3, hose_id="c" * 32), count_max=10) == [(1, 3)]


async def test_keys_are_looked_up(ledger: DatabaseLedger) -> None:
    """More than one statement takes."""
    asked = [f"{HOSE}-bulk-{seq}" for seq in range(1, 1200)]
    assert await ledger.held(asked) == {f"{HOSE}-bulk-{seq}" for seq in (1, 2, 5, 9, 10, 12)}
    assert await ledger.held([]) == frozenset()


async def test_numbers_are_told(ledgers: DatabaseLedgers) -> None:
    """For what must be compared one by one."""
    assert await ledgers.numbers("suppressions", span(2, 9, 12)) == {2, 5, 9}


def test_other_services_have_none_here(ledgers: DatabaseLedgers) -> None:
    """Those of the store, and a fifth."""
    assert ledgers.ledger("metrics") is None
