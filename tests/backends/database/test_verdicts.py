"""Verdicts: many in one transaction, each with its own answer."""

import asyncio

import pytest
from tests.backends.database.conftest import away
from tests.builders import envelope, line

from omni_etl import telemetry
from omni_etl.backends.database.engine import Database
from omni_etl.backends.database.outbox import DatabaseOutbox
from omni_etl.backends.database.verdicts import Verdict, Verdicts
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
    """The next in turn writes for itself and the rest."""
    verdicts = Verdicts(outbox_part)
    tasks = [asyncio.create_task(verdicts.pass_on(each, DELIVERED)) for each in due]
    await tasks[0]
    while not verdicts._turn.locked() or verdicts._waiting:
        await asyncio.sleep(0)
    tasks[1].cancel()
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    assert isinstance(results[1], asyncio.CancelledError)
    assert [results[0], *results[2:]] == [True] * 49


async def test_an_outage_is_told_to_all_who_waited(outbox_part: Database, due: list[DueBatch]) -> None:
    """Nobody waits for ever, and when it is back the same claims are good."""
    verdicts = Verdicts(outbox_part)
    async with away(outbox_part):
        results = await asyncio.gather(*(verdicts.pass_on(each, DELIVERED) for each in due), return_exceptions=True)
        assert {type(result) for result in results} == {UnavailableError}
    assert await asyncio.gather(*(verdicts.pass_on(each, DELIVERED) for each in due)) == [True] * 50
