"""The contract of deliveries: what people see of attempts is what the outbox was told; and stop, resume, retry."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from sqlalchemy import text
from tests.builders import envelope, line
from tests.outboxes import batch, claim, delivered, given_up, ids, retry, segment, split

from omni_etl.backends.database import DatabaseDeliveries, DatabaseOutbox, open_database
from omni_etl.backends.database.engine import Database
from omni_etl.backends.database.outbox_limits import ATTEMPTS_KEPT_MS, TROUBLES_KEPT_MS
from omni_etl.clock import ManualClock
from omni_etl.deliveries import AttemptNote, Deliveries, Trouble
from omni_etl.outbox import Cut, DueBatch, Lane, Outbox, Verdict, Wanted


@pytest.fixture
async def part(database_url: str, clock: ManualClock) -> AsyncIterator[Database]:
    """Where both live."""
    database = open_database(database_url, "outbox", clock)
    await database.open(clock)
    yield database
    await database.close(clock)


@pytest.fixture
def outbox(part: Database, clock: ManualClock) -> Outbox:
    """Where attempts are told."""
    return DatabaseOutbox(part, clock)


@pytest.fixture
def deliveries(part: Database, clock: ManualClock) -> Deliveries:
    """The subject."""
    return DatabaseDeliveries(part, clock)


def now_ms(clock: ManualClock) -> int:
    """As tables count it."""
    return int(clock.now() * 1000)


async def claimed(outbox: Outbox, *names: str, webhook_id: str = "w") -> list[DueBatch]:
    """New batches of three events each."""
    batches = [batch(name, webhook_id, event_count=3) for name in names]
    sent = envelope([line()], seq=int(names[0], 36))
    return await outbox.put(sent, Cut(batches), eager={webhook_id}, claim_seconds=30) or []


async def test_a_webhook_without_attempts_has_none(deliveries: Deliveries) -> None:
    """Nothing is made up."""
    assert await deliveries.lanes(["w"]) == {}
    assert await deliveries.lanes([]) == {}
    assert await deliveries.oldest(["w"]) == {}
    assert await deliveries.waiting() == []
    assert await deliveries.troubles("w", count_max=10) == []
    assert await deliveries.attempts("w", count_max=10) == []
    assert not await deliveries.resume("w")
    assert await deliveries.retry("w", count_max=10) == 0


async def test_the_last_success_and_failure_are_known(
    outbox: Outbox, deliveries: Deliveries, clock: ManualClock
) -> None:
    """Each by itself, the newest of each, of the webhooks that are asked for."""

    async def last() -> tuple[int | None, int | None]:
        many = [str(number) for number in range(70_000)]
        lanes = await deliveries.lanes([*many, "w", "v"])
        assert lanes.keys() <= {"w", "v"}
        return lanes["w"].succeeded_at_ms, lanes["w"].failed_at_ms

    one, two, three, other = await claimed(outbox, "1", "2", "3", "4")
    assert await last() == (None, None)
    began_ms = now_ms(clock)
    await outbox.settle(one, delivered())
    assert await last() == (began_ms, None)
    clock.advance(1)
    await outbox.settle(two, retry(60, "500"))
    assert await last() == (began_ms, began_ms + 1_000)
    clock.advance(1)
    await outbox.settle(three, delivered())
    [foreign] = await claimed(outbox, "5", webhook_id="v")
    await outbox.settle(foreign, delivered())
    assert await last() == (began_ms + 2_000, began_ms + 1_000)
    assert not await outbox.settle(three, delivered())
    clock.advance(1)
    assert not await outbox.settle(replace(other, claim="lapsed"), given_up("500"))
    assert await last() == (began_ms + 2_000, began_ms + 1_000)


async def test_a_batch_in_trouble_is_told_of(outbox: Outbox, deliveries: Deliveries, clock: ManualClock) -> None:
    """As it was after its last attempt: it waits, it went through, it was given up. One that went through at once: never."""
    fine, slow, lost = await claimed(outbox, "fine", "slow", "lost")
    await outbox.settle(fine, delivered(latency_ms=5))
    await outbox.settle(slow, retry(60, latency_ms=7))
    at_ms = now_ms(clock)
    waits = Trouble("slow", 3, 1, "503", is_delivered=False, latency_ms=7, at_ms=at_ms)
    assert await deliveries.troubles("w", count_max=10) == [waits]
    clock.advance(1)
    await outbox.settle(lost, given_up("timeout after 10 s", latency_ms=10_000))
    gone = Trouble("lost", 3, 1, "timeout after 10 s", is_delivered=False, latency_ms=10_000, at_ms=at_ms + 1_000)
    assert await deliveries.troubles("w", count_max=10) == [gone, waits]
    clock.advance(60)
    [again] = await claim(outbox)
    await outbox.settle(again, delivered("202", latency_ms=9))
    went = Trouble("slow", 3, 1, "202", is_delivered=True, latency_ms=9, at_ms=at_ms + 61_000)
    assert await deliveries.troubles("w", count_max=10) == [went, gone]
    assert await deliveries.troubles("w", count_max=1) == [went]
    assert await deliveries.troubles("v", count_max=10) == []


async def test_each_attempt_is_noted(outbox: Outbox, deliveries: Deliveries, clock: ManualClock) -> None:
    """Number, verdict, answer, what the customer said, when the next one is; newest first, of one batch, before a time."""
    [first] = await claimed(outbox, "1")
    began_ms = now_ms(clock)
    await outbox.settle(first, replace(retry(60, latency_ms=7), excerpt="busy"))
    clock.advance(60)
    [probe] = await outbox.claim({"w": Wanted(is_probe=True)}, claim_seconds=30)
    await outbox.settle(probe, retry(0.5, "timeout"))
    clock.advance(1)
    [again] = await claim(outbox)
    await outbox.settle(again, delivered())
    clock.advance(1)
    [whole] = await claimed(outbox, "2")
    await outbox.settle(whole, split(batch("3"), batch("4")))
    noted = [
        AttemptNote("2", 3, 1, began_ms + 62_000, 0, "split", "413", "", None),
        AttemptNote("1", 3, 2, began_ms + 61_000, 0, "delivered", "200", "", None),
        AttemptNote("1", 3, 2, began_ms + 60_000, 0, "retry", "timeout", "", began_ms + 60_500),
        AttemptNote("1", 3, 1, began_ms, 7, "retry", "503", "busy", began_ms + 60_000),
    ]
    assert await deliveries.attempts("w", count_max=9) == noted
    assert await deliveries.attempts("w", count_max=2) == noted[:2]
    assert await deliveries.attempts("w", count_max=9, batch_id="2") == noted[:1]
    assert await deliveries.attempts("w", count_max=9, before_ms=began_ms + 60_000) == noted[3:]
    assert await deliveries.attempts("v", count_max=9) == []


async def test_two_attempts_in_one_moment_are_both_heard(outbox: Outbox, deliveries: Deliveries) -> None:
    """A clock may be set back; a note less is better than a verdict less."""
    [due] = await claimed(outbox, "1")
    await outbox.settle(due, retry(0))
    [again] = await claim(outbox)
    assert await outbox.settle(again, delivered())
    assert len(await deliveries.attempts("w", count_max=9)) == 1
    assert (await deliveries.lanes(["w"]))["w"].delivered_batches == 1


async def test_what_is_old_is_not_told_and_leaves(
    outbox: Outbox, deliveries: Deliveries, part: Database, clock: ManualClock
) -> None:
    """Troubles and notes of attempts after a day; when it last went well or not stays known."""
    [due] = await claimed(outbox, "1")
    await outbox.settle(due, given_up("500"))
    failed_at_ms = now_ms(clock)
    clock.advance(max(TROUBLES_KEPT_MS, ATTEMPTS_KEPT_MS) / 1000)
    assert await deliveries.troubles("w", count_max=10) == []
    assert await rows(part) == (1, 1)
    clock.advance(1)
    await outbox.tidy()
    assert await rows(part) == (0, 0)
    clock.advance(400 * 86_400)
    await outbox.tidy()
    assert (await deliveries.lanes(["w"]))["w"].failed_at_ms == failed_at_ms


async def rows(part: Database) -> tuple[int, int]:
    """How many there are."""
    async with part.reading() as connection:
        tables = ("outbox_troubles", "outbox_attempts")
        troubles, attempts = [
            int((await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one()) for table in tables
        ]
        return troubles, attempts


async def test_what_waits_is_told(outbox: Outbox, deliveries: Deliveries, clock: ManualClock) -> None:
    """How much for whom, of batches and segments, and since when; who is stopped too; nobody else."""
    began_ms = now_ms(clock)
    await outbox.put(envelope([line()], seq=1), Cut([batch("1", event_count=3), batch("2", "v")], [segment("s", 1, 2)]))
    clock.advance(1)
    await outbox.put(envelope([line()], seq=2), Cut([batch("3", event_count=3)], [segment("t", 1, webhook_id="u")]))
    [gone] = await claim(outbox, "v")
    await outbox.settle(gone, delivered())
    waiting = {each.webhook_id: each for each in await deliveries.waiting()}
    assert {webhook_id: (each.waiting_batches, each.waiting_events) for webhook_id, each in waiting.items()} == {
        "w": (2, 8),
        "u": (0, 1),
    }
    assert await deliveries.oldest(["w", "v", "u"]) == {"w": began_ms}
    for due in await claim(outbox, count_max=1):
        await outbox.settle(due, retry(60))
    assert await deliveries.oldest(["w"]) == {"w": began_ms}
    await deliveries.stop("v", "by hand")
    assert {each.webhook_id for each in await deliveries.waiting()} == {"w", "u", "v"}


async def test_a_webhook_is_stopped_and_goes_on(outbox: Outbox, deliveries: Deliveries, clock: ManualClock) -> None:
    """The first reason stands; what waits stays; it goes on as if nothing had failed. Also where nothing ever waited."""
    [due] = await claimed(outbox, "1")
    await outbox.settle(due, replace(retry(60, hold_seconds=500), stop_reason="gone"))
    stopped_at_ms = now_ms(clock)
    clock.advance(1)
    for stops in (deliveries, outbox):
        await stops.stop("w", "by hand")
        await stops.stop("new", "by hand")
    lanes = await deliveries.lanes(["w", "new"])
    assert (lanes["w"].stopped_at_ms, lanes["w"].stopped_reason) == (stopped_at_ms, "gone")
    assert lanes["new"] == Lane("new", stopped_at_ms=now_ms(clock), stopped_reason="by hand")
    assert lanes["w"].waiting_events == 3
    for webhook_id in ("w", "new"):
        assert await deliveries.resume(webhook_id)
        assert not await deliveries.resume(webhook_id)
    lane = (await deliveries.lanes(["w"]))["w"]
    assert lane == replace(
        lanes["w"], stopped_at_ms=None, stopped_reason=None, failures=0, failing_since_ms=None, resume_at_ms=0
    )


@pytest.mark.parametrize("verdict", [retry(60), retry(60, hold_seconds=9)])
async def test_who_only_failed_may_go_on_too(outbox: Outbox, deliveries: Deliveries, verdict: Verdict) -> None:
    """Nobody need wait for the next probe."""
    [due] = await claimed(outbox, "1")
    await outbox.settle(due, verdict)
    assert await deliveries.resume("w")
    assert not await deliveries.resume("w")


async def test_what_was_given_up_is_tried_again(outbox: Outbox, deliveries: Deliveries, clock: ManualClock) -> None:
    """As if it were fresh; what waits for its next attempt comes now, its attempts counted on; claimed ones stay claimed."""
    lost, waits, held, foreign = await claimed(outbox, "1", "2", "3", "4")
    await outbox.settle(foreign, delivered())
    await outbox.settle(lost, given_up())
    await outbox.settle(waits, retry(3_600))
    [other] = await claimed(outbox, "5", webhook_id="v")
    await outbox.settle(other, given_up())
    clock.advance(1)
    assert await deliveries.retry("w", count_max=9) == 2
    assert await deliveries.retry("w", count_max=9) == 0
    [fresh] = await outbox.claim({"w": Wanted(fresh=9)}, claim_seconds=30)
    [again] = await outbox.claim({"w": Wanted(retries=9)}, claim_seconds=30)
    assert (fresh.batch, fresh.attempts) == (lost.batch, 0)
    assert (again.batch, again.attempts) == (waits.batch, 1)
    lane = (await deliveries.lanes(["w"]))["w"]
    assert (lane.waiting_batches, lane.waiting_events, lane.given_up_batches, lane.given_up_events) == (3, 9, 0, 0)
    assert await outbox.settle(held, delivered())


async def test_so_many_are_tried_again_at_once(outbox: Outbox, deliveries: Deliveries, clock: ManualClock) -> None:
    """Of each kind, those first that were given up first."""
    for at, due in enumerate(await claimed(outbox, *"123456")):
        await outbox.settle(due, given_up() if at < 3 else retry(60))
        clock.advance(1)
    assert await deliveries.retry("w", count_max=2) == 4
    assert sorted(ids(await claim(outbox))) == ["1", "2", "4", "5"]
    assert await deliveries.retry("w", count_max=2) == 2
