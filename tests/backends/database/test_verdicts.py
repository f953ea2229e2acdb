"""Verdicts: many in one transaction, each with its own answer."""

import asyncio

import pytest
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect
from tests.backends.database.conftest import away
from tests.builders import envelope, line
from tests.outboxes import batch, delivered, retry

from omni_etl import telemetry
from omni_etl.backends.database.engine import Database
from omni_etl.backends.database.outbox import DatabaseOutbox
from omni_etl.backends.database.outbox_lanes import LaneRows
from omni_etl.backends.database.sqlite import Sqlite
from omni_etl.backends.database.verdicts import STANDING, Verdicts
from omni_etl.clock import ManualClock
from omni_etl.errors import UnavailableError
from omni_etl.outbox import Cut, DueBatch

DELIVERED = delivered()


@pytest.fixture
async def due(outbox_part: Database, clock: ManualClock) -> list[DueBatch]:
    """Fifty claimed batches."""
    outbox = DatabaseOutbox(outbox_part, clock)
    batches = [batch(str(number)) for number in range(50)]
    return await outbox.put(envelope([line()]), Cut(batches), eager={"w"}, claim_seconds=30) or []


@pytest.fixture
def verdicts(outbox_part: Database) -> Verdicts:
    """The subject."""
    return Verdicts(outbox_part, LaneRows(outbox_part))


def transactions() -> float:
    """Writing transactions of the outbox so far."""
    value = telemetry.NUMBERS.get_sample_value("omni_database_write_seconds_count", {"part": "outbox"})
    assert value is not None
    return value


async def test_those_who_wait_share_a_transaction(verdicts: Verdicts, due: list[DueBatch]) -> None:
    """The first writes its own at once, the others came meanwhile and are written together."""
    before = transactions()
    assert await asyncio.gather(*(verdicts.pass_on(each, DELIVERED, 0) for each in due)) == [True] * 50
    assert transactions() - before <= 2


async def test_each_gets_the_answer_to_its_own_claim(verdicts: Verdicts, due: list[DueBatch]) -> None:
    """A lapsed claim among good ones, and the same claim twice in one transaction: no word counts twice."""
    foreign = DueBatch(due[1].batch, "foreign", 0, 0)
    too_late = retry(0)
    heard = await asyncio.gather(
        verdicts.pass_on(due[0], DELIVERED, 0),
        verdicts.pass_on(foreign, DELIVERED, 0),
        verdicts.pass_on(due[1], DELIVERED, 0),
        verdicts.pass_on(due[1], too_late, 0),
    )
    assert list(heard) == [True, False, True, False]


async def test_who_is_cancelled_while_writing_for_others_fails_them_not(
    verdicts: Verdicts, due: list[DueBatch]
) -> None:
    """Whoever began the transaction may go; the others hear what became of theirs."""
    tasks = [asyncio.create_task(verdicts.pass_on(each, DELIVERED, 0)) for each in due]
    while verdicts._clerk is None or verdicts._waiting:
        await asyncio.sleep(0)
    tasks[0].cancel()
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [True] * 49


async def test_a_fault_of_ours_is_told_to_all_who_waited(
    outbox_part: Database, verdicts: Verdicts, due: list[DueBatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for an answer that never comes, and the next ones are written."""
    with monkeypatch.context() as broken:
        broken.setattr(outbox_part, "write", _fail)
        results = await asyncio.gather(*(verdicts.pass_on(each, DELIVERED, 0) for each in due), return_exceptions=True)
    assert {str(result) for result in results} == {"a fault of ours"}
    assert await verdicts.pass_on(due[0], DELIVERED, 0)


async def _fail(_work: object) -> None:
    raise RuntimeError("a fault of ours")


async def test_a_long_backlog_costs_a_verdict_nothing(outbox_part: Database) -> None:
    """What stands is looked up by id and not searched for: SQLite would read the whole table for pairs."""
    if not isinstance(outbox_part.product, Sqlite):
        return
    question = str(
        STANDING.params(ids=["a"]).compile(dialect=sqlite_dialect(), compile_kwargs={"render_postcompile": True})
    )
    plan = await outbox_part.read(
        lambda connection: connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {question}", ("a",)).all()
    )
    assert [row[3] for row in plan] == ["SEARCH outbox_batches USING INDEX sqlite_autoindex_outbox_batches_1 (id=?)"]


async def test_an_outage_is_told_to_all_who_waited(
    outbox_part: Database, verdicts: Verdicts, due: list[DueBatch]
) -> None:
    """Nobody waits for ever, and when it is back the same claims are good."""
    async with away(outbox_part):
        results = await asyncio.gather(*(verdicts.pass_on(each, DELIVERED, 0) for each in due), return_exceptions=True)
        assert {type(result) for result in results} == {UnavailableError}
    assert await asyncio.gather(*(verdicts.pass_on(each, DELIVERED, 0) for each in due)) == [True] * 50
