"""backends.database.outbox_tidying: notes leave as fast as they come, and no time in the far future holds a batch for ever."""

from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect
from tests.builders import envelope, line
from tests.outboxes import batch, claim, delivered, ids, retry

from omni_etl.backends.database import DatabaseOutbox
from omni_etl.backends.database.engine import Database
from omni_etl.backends.database.outbox_limits import ATTEMPTS_KEPT_MS
from omni_etl.backends.database.outbox_tidying import DUE_AGAIN, LOOK_SECONDS
from omni_etl.backends.database.replays import DatabaseReplays
from omni_etl.backends.database.sqlite import Sqlite
from omni_etl.clock import ManualClock
from omni_etl.outbox import Cut
from omni_etl.replay import Replay

YEAR_SECONDS = 365 * 86_400


class WrongClock(ManualClock):
    """Tells the time of `ahead_seconds` from now; what passed it tells right."""

    ahead_seconds = 0.0

    def now(self) -> float:
        """As a machine has it whose time server lied."""
        return super().now() + self.ahead_seconds


async def notes(database: Database) -> int:
    """Of attempts."""
    return await database.read(
        lambda connection: int(connection.exec_driver_sql("SELECT count(*) FROM outbox_attempts").scalar_one())
    )


async def test_notes_of_a_thousand_attempts_leave_in_one_step(outbox_part: Database, clock: ManualClock) -> None:
    """One envelope for a thousand webhooks makes as many: what leaves with each envelope must not be fewer."""
    outbox = DatabaseOutbox(outbox_part, clock)
    names = [str(number) for number in range(1_100)]
    await outbox.put(envelope([line()]), Cut([batch(name) for name in names]))
    for _ in range(0, len(names), 100):
        for each in await claim(outbox, count_max=100):
            await outbox.settle(each, delivered())
    assert await notes(outbox_part) == 1_100
    await outbox.tidy()
    assert await notes(outbox_part) == 1_100
    clock.advance(ATTEMPTS_KEPT_MS / 1000 + 1)
    await outbox.tidy()
    assert await notes(outbox_part) == 0


async def test_what_a_wrong_clock_put_off_is_due_again(outbox_part: Database) -> None:
    """Put, claimed, and to be tried again a year from now: after the clock was set right they go within a minute."""
    clock = WrongClock()
    outbox = DatabaseOutbox(outbox_part, clock)
    clock.ahead_seconds = YEAR_SECONDS
    await outbox.put(envelope([line()], seq=1), Cut([batch("again"), batch("held")]))
    again, held = sorted(await claim(outbox), key=lambda each: each.batch.id)
    await outbox.settle(again, retry(300))
    await outbox.put(envelope([line()], seq=2), Cut([batch("fresh")]))
    clock.ahead_seconds = 0.0
    assert ids(await claim(outbox)) == []
    await outbox.tidy()
    assert sorted(ids(await claim(outbox))) == ["again", "fresh", "held"]
    assert not await outbox.settle(held, delivered())  # somebody else has it now


async def test_what_waits_as_it_should_stays(outbox_part: Database, clock: ManualClock) -> None:
    """The last wait of a schedule is of a day, and a claim is of half a minute."""
    outbox = DatabaseOutbox(outbox_part, clock)
    await outbox.put(envelope([line()]), Cut([batch("a"), batch("b")]))
    first, _ = await claim(outbox)
    await outbox.settle(first, retry(86_400 * 1.05))
    await outbox.tidy()
    assert ids(await claim(outbox)) == []


async def test_a_replay_of_a_wrong_clock_goes_on(outbox_part: Database) -> None:
    """Its turn would come in a year."""
    clock = WrongClock()
    outbox, replays = DatabaseOutbox(outbox_part, clock), DatabaseReplays(outbox_part, clock)
    clock.ahead_seconds = YEAR_SECONDS
    await replays.begin(Replay("job", "w", 0, 1, 1, "waiting", int(clock.now() * 1000)))
    clock.ahead_seconds = 0.0
    assert await replays.claim(claim_seconds=1) is None
    clock.advance(LOOK_SECONDS)
    await outbox.tidy()
    assert await replays.claim(claim_seconds=1) is not None


async def test_to_look_for_them_reads_no_table(outbox_part: Database) -> None:
    """Lanes, and for each a place in an index."""
    if not isinstance(outbox_part.product, Sqlite):
        return
    text = f"EXPLAIN QUERY PLAN {DUE_AGAIN.compile(dialect=sqlite_dialect())}"
    values = (0,) * text.count("?")
    steps = await outbox_part.read(
        lambda connection: [row[3] for row in connection.exec_driver_sql(text, values).all()]
    )
    assert not [each for each in steps if each.startswith("SCAN") and each != "SCAN outbox_lanes"], steps
