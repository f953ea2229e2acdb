"""The ledger: an envelope is noted once, in the transaction of its effect."""

import pytest
from sqlalchemy import func, select
from tests.builders import envelope, line

from omni_etl.backends.database import ledger
from omni_etl.backends.database.engine import Database
from omni_etl.backends.database.tables import suppressions_ledger
from omni_etl.errors import IdConflictError

ONE = envelope([line("bounce")], seq=1)
SAME_KEY = envelope([line("open")], seq=1)


async def enter(database: Database) -> bool:
    """Note ONE in a transaction of its own."""
    async with database.writing() as connection:
        return await connection.run_sync(ledger.enter, database, suppressions_ledger, envelope=ONE, now_ms=1)


async def test_an_envelope_is_noted_once(control: Database) -> None:
    """The second time it was known."""
    assert await enter(control)
    assert not await enter(control)


async def test_a_note_goes_with_its_effect(control: Database) -> None:
    """An effect that fails takes its note with it: the redo is a first time."""

    async def fail() -> None:
        async with control.writing() as connection:
            assert await connection.run_sync(ledger.enter, control, suppressions_ledger, envelope=ONE, now_ms=1)
            raise RuntimeError("the effect failed")

    with pytest.raises(RuntimeError):
        await fail()
    assert await enter(control)


async def test_another_checksum_is_a_conflict(control: Database) -> None:
    """Whether it would be noted or is only looked up; what stands stays."""
    await enter(control)
    async with control.writing() as connection:
        with pytest.raises(IdConflictError, match=ONE.key):
            await connection.run_sync(ledger.check, suppressions_ledger, SAME_KEY)
        with pytest.raises(IdConflictError, match=ONE.key):
            await connection.run_sync(ledger.enter, control, suppressions_ledger, envelope=SAME_KEY, now_ms=1)
    async with control.reading() as connection:
        assert (await connection.execute(select(func.count()).select_from(suppressions_ledger))).scalar() == 1
        await connection.run_sync(ledger.check, suppressions_ledger, ONE)
