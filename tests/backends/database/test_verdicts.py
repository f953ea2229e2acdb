"""Verdicts: many in one transaction, each with its own answer."""

import asyncio

import pytest
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect
from tests.backends.database.conftest import away
from tests.builders import envelope, line

from omni_etl import telemetry
from omni_etl.backends.database.engine import Database
from omni_etl.backends.database.outbox import DatabaseOutbox
from omni_etl.backends.database.sqlite import Sqlite
from omni_etl.backends.database.verdicts import STANDING, Verdict, Verdicts
from omni_etl.clock import ManualClock
from omni_etl.errors import UnavailableError
from omni_etl.outbox import Batch, DueBatch

DELIVERED = Verdict("delivered", 0, "200")


@pytest.fixture
async def due(outbox_part: Database, clock: ManualClock) -> list[DueBatch]:
    """Fifty claimed batches."""
    outbox = DatabaseOutbox(outbox_part, clock)
    batches = [Batch(str(number), "w", "https://x.test/", {}, b"[]", 1) for number in range(50)]
    await outbox.put(envelope([line()]), batches)
    return await outbox.claim(count_max=50, claim_seconds=30)


def transactions() -> float:
    """Writing transactions of the outbox so far."""
    value = telemetry.NUMBERS.get_sample_value("omni_database_write_seconds_count", {"part": "outbox"})
    assert value is not None
    return value


async def test_those_who_wait_share_a_transaction(outbox_part: Database, due: list[DueBatch]) -> None:
    """The first writes its own at once, the others came meanwhile and are written together."""
    verdicts = Verdicts(outbox_part)
    before = transactions()
    assert await asyncio.gather(*(verdicts.pass_on(each, DELIVERED) for each in due)) == [True] * 50
    assert transactions() - before <= 2


async def test_each_gets_the_answer_to_its_own_claim(outbox_part: Database, due: list[DueBatch]) -> None:
    """A lapsed claim among good ones, and the same claim twice in one transaction: no word counts twice."""
    verdicts = Verdicts(outbox_part)
    foreign = DueBatch(due[1].batch, "foreign", 0, 0)
    too_late = Verdict("waiting", 0, "500")
    heard = await asyncio.gather(
        verdicts.pass_on(due[0], DELIVERED),
        verdicts.pass_on(foreign, DELIVERED),
        verdicts.pass_on(due[1], DELIVERED),
        verdicts.pass_on(due[1], too_late),
    )
    assert list(heard) == [True, False, True, False]


async def test_who_is_cancelled_while_writing_for_others_fails_them_not(
    outbox_part: Database, due: list[DueBatch]
) -> None:
    """Whoever began the transaction may go; the others hear what became of theirs."""
    verdicts = Verdicts(outbox_part)
    tasks = [asyncio.create_task(verdicts.pass_on(each, DELIVERED)) for each in due]
    while verdicts._clerk is None or verdicts._waiting:
        await asyncio.sleep(0)
    tasks[0].cancel()
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [True] * 49


async def test_a_fault_of_ours_is_told_to_all_who_waited(
    outbox_part: Database, due: list[DueBatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for an answer that never comes, and the next ones are written."""
    verdicts = Verdicts(outbox_part)
    with monkeypatch.context() as broken:
        broken.setattr(outbox_part, "write", _fail)
        results = await asyncio.gather(*(verdicts.pass_on(each, DELIVERED) for each in due), return_exceptions=True)
    assert {str(result) for result in results} == {"a fault of ours"}
    assert await verdicts.pass_on(due[0], DELIVERED)


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


async def test_an_outage_is_told_to_all_who_waited(outbox_part: Database, due: list[DueBatch]) -> None:
    """Nobody waits for ever, and when it is back the same claims are good."""
    verdicts = Verdicts(outbox_part)
    async with away(outbox_part):
        results = await asyncio.gather(*(verdicts.pass_on(each, DELIVERED) for each in due), return_exceptions=True)
        assert {type(result) for result in results} == {UnavailableError}
    assert await asyncio.gather(*(verdicts.pass_on(each, DELIVERED) for each in due)) == [True] * 50
