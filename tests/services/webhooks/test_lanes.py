"""services.webhooks.lanes: who may begin an attempt, whatever the others do."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from tests.services.webhooks.fakes import TURNS

from omni_etl.clock import ManualClock
from omni_etl.errors import UnavailableError
from omni_etl.event import TYPES
from omni_etl.outbox import Batch, DueBatch
from omni_etl.services.webhooks.lane import WebhookLane
from omni_etl.services.webhooks.lanes import DeliveryLimits, Lanes
from omni_etl.webhook import Webhook

UNTIL = 30.0


class Office:
    """Attempts that last until they are let go; the name of a batch begins with its webhook's."""

    def __init__(self, *, all_max: int = 10, each_max: int = 10) -> None:
        self.clock = ManualClock()
        self.begun: list[str] = []
        self.running: dict[str, asyncio.Event] = {}
        self.freed = 0
        self.error: Exception | None = None
        self.lanes = Lanes(
            attempt=self.attempt,
            limits=DeliveryLimits(all_max, each_max, attempt_seconds_max=10.0),
            clock=self.clock,
            freed=self.free,
        )
        self.lanes.is_running = True

    async def close(self) -> None:
        """Cut off what still runs."""
        self.lanes.is_running = False
        for task in self.lanes.in_flight():
            task.cancel()
        await asyncio.gather(*self.lanes.in_flight(), return_exceptions=True)

    def free(self) -> None:
        """Somebody who waits in the outbox may have a slot."""
        self.freed += 1

    async def attempt(self, due: DueBatch, lane: WebhookLane, until: float) -> None:
        """Until `end`."""
        assert (lane.webhook_id, until) == (due.batch.webhook_id, UNTIL)
        self.begun.append(due.batch.id)
        if self.error is not None:
            raise self.error
        self.running[due.batch.id] = asyncio.Event()
        await self.running[due.batch.id].wait()

    def well(self, *names: str, limit: float = 10.0) -> None:
        """They have shown it, and bear so many attempts."""
        for name in names:
            self.lanes.lane(name).is_proven, self.lanes.lane(name).limit = True, limit

    def bring(self, webhook_id: str, count: int, *, first: int = 0) -> None:
        """Fresh batches of one byte each, claimed as they were put."""
        names = [f"{webhook_id}{number}" for number in range(first, first + count)]
        self.lanes.fresh_bytes += count
        self.lanes.accept([DueBatch(Batch(each, webhook_id, "", {}, b"x", 1), "c", 0, 0) for each in names], UNTIL)

    async def end(self, *names: str) -> None:
        """These attempts; those that follow have begun on return."""
        for name in names:
            self.running.pop(name).set()
        await turn()

    def in_flight(self) -> Counter[str]:
        """By webhook."""
        return Counter(each[0] for each in self.running)


@pytest.fixture
async def make() -> AsyncIterator[Callable[..., Office]]:
    """Offices, that are closed at the end."""
    made: list[Office] = []

    def new(**limits: int) -> Office:
        made.append(Office(**limits))
        return made[-1]

    yield new
    for each in made:
        await each.close()


async def turn() -> None:
    """Whatever can go on goes on; no time passes."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def test_nobody_has_more_than_it_bears(make: Callable[..., Office]) -> None:
    """And as an attempt ends, the next begins, in the order in which they came."""
    office = make()
    office.well("a", limit=3.0)
    office.bring("a", 5)
    await turn()
    assert office.begun == ["a0", "a1", "a2"]
    await office.end("a1")
    assert office.begun == ["a0", "a1", "a2", "a3"]


async def test_all_together_have_what_there_is(make: Callable[..., Office]) -> None:
    """However many they are."""
    office = make(all_max=4)
    office.well(*"abc")
    for name in "abc":
        office.bring(name, 9)
    await turn()
    assert (len(office.running), office.lanes.free()) == (4, 0)


async def test_each_has_its_turn(make: Callable[..., Office]) -> None:
    """Who has a hundred waits as long as who has one; each slot that is freed goes to the next."""
    office = make(all_max=3)
    office.well(*"abcd")
    office.bring("a", 100)
    office.bring("b", 1)
    office.bring("c", 100)
    office.bring("d", 100)
    await turn()
    assert office.begun == ["a0", "a1", "a2"]
    for _ in range(7):
        await office.end(next(iter(office.running)))
    assert office.begun[3:] == ["a3", "b0", "c0", "d0", "a4", "c1", "d1"]


async def test_those_who_have_not_shown_to_be_well_have_half(make: Callable[..., Office]) -> None:
    """New ones, or that failed or were late: together no more, so that whoever is well finds a slot."""
    office = make(all_max=10)
    for name in "abcdefgh":
        office.bring(name, 9)
    office.well("z")
    office.bring("z", 9)
    await turn()
    assert office.in_flight() == Counter({**dict.fromkeys("abcde", 1), "z": 5})


async def test_one_slot_is_for_everybody(make: Callable[..., Office]) -> None:
    """Half of it would be none."""
    office = make(all_max=1)
    office.bring("a", 1)
    office.bring("b", 1)
    await turn()
    assert office.begun == ["a0"]
    await office.end("a0")
    assert office.begun == ["a0", "b0"]


async def test_ninety_that_hang_cost_ten_nothing(make: Callable[..., Office]) -> None:
    """Their time-outs are still to come, and each batch of the healthy begins in the turn in which it was brought."""
    office = make(all_max=64, each_max=16)
    hanging = [f"{name}" for name in map(chr, range(0x4E00, 0x4E00 + 90))]
    healthy = list("0123456789")
    office.well(*healthy, limit=3.0)
    for name in hanging:
        office.bring(name, 20)
    for number in range(50):
        for name in healthy:
            office.bring(name, 1, first=number)
        await turn()
        assert office.begun[-10:] == [f"{name}{number}" for name in healthy]
        await office.end(*(f"{name}{number}" for name in healthy))
    assert sum(office.in_flight()[name] for name in hanging) == len(office.running) == 32


def member(name: str, subaccount_id: int) -> Webhook:
    """Of a subaccount."""
    return Webhook(name, "", "", TYPES, subaccount_id=subaccount_id)


async def test_a_subaccount_has_its_share(make: Callable[..., Office]) -> None:
    """All its webhooks together half of the slots; the primary account, and who is for all, has no such bound."""
    office = make(all_max=10)
    office.well(*"abcdz")
    office.lanes.know([member("a", 7), member("b", 7), member("c", 7), member("d", 8), member("z", -1)])
    for name in "abcd":
        office.bring(name, 9)
    await turn()
    assert (office.in_flight()["d"], sum(office.in_flight()[name] for name in "abc")) == (5, 5)
    await office.end(*list(office.running)[:10])
    office = make(all_max=10)
    office.well("y", "z")
    office.lanes.know([member("y", 0), member("z", -1)])
    office.bring("z", 20)
    await turn()
    assert office.in_flight() == {"z": 10}


async def test_a_webhook_that_changes_hands_takes_its_slots_with_it(make: Callable[..., Office]) -> None:
    """What was taken from one account's share is given back to that one."""
    office = make(all_max=10)
    office.well(*"ab")
    for account in (7, 8, 0, 7, -1):
        office.bring("a", 4)
        await turn()
        office.lanes.know([member("a", account), member("b", account)])
        await office.end(*list(office.running))
        assert not any(office.lanes._taken_by.values())


async def test_who_becomes_unwell_gives_back_what_it_took(make: Callable[..., Office]) -> None:
    """Taken as a healthy one: the half of the others does not shrink for ever."""
    office = make(all_max=10)
    lane = office.lanes.lane("a")
    for is_proven in (True, False, True, False, False):
        lane.is_proven, lane.limit = is_proven, 5.0
        office.bring("a", 3)
        await turn()
        lane.is_proven = not is_proven
        await office.end(*list(office.running))
    assert (office.lanes._taken_unproven, office.lanes.free()) == (0, 10)


async def test_reserved_slots_are_taken(make: Callable[..., Office]) -> None:
    """For a claim that is under way; what it did not find goes to who waits in memory, at once."""
    office = make(all_max=4)
    office.well(*"ab")
    slots = office.lanes.reserve(office.lanes.lane("a"), 4)
    office.bring("b", 2)
    await turn()
    assert (office.begun, office.lanes.room(office.lanes.lane("b"))) == ([], 0)
    [claimed] = [DueBatch(Batch("a9", "a", "", {}, b"x", 1), "c", 0, 0)]
    office.lanes.begin(claimed, UNTIL, slot=slots.pop(), size_bytes=0)
    office.lanes.give_back(slots)
    await turn()
    assert office.begun == ["a9", "b0", "b1"]
    await office.end(*list(office.running))
    assert (office.lanes.free(), office.lanes.lane("a").in_flight) == (4, 0)


async def test_who_waits_in_the_outbox_has_turns_like_who_waits_in_memory(make: Callable[..., Office]) -> None:
    """Though others always have something in memory for the slot that was freed: it is kept until the next look."""
    office = make(all_max=2)
    office.well(*"abw")
    office.bring("a", 50)
    office.bring("b", 50)
    await turn()
    office.lanes.queue(office.lanes.lane("w"))
    turns = 0
    while not office.freed:
        await office.end(next(iter(office.running)))
        turns += 1
    assert turns <= 3
    assert office.lanes.free() == 0
    assert office.lanes.give_up_kept() == {"w"}
    assert office.lanes.room(office.lanes.lane("w")) == 1
    assert office.lanes.give_up_kept() == set()


async def test_more_in_the_outbox_is_said_as_attempts_end(make: Callable[..., Office]) -> None:
    """Of this webhook; of others nobody asked."""
    office = make()
    office.well(*"ab")
    office.lanes.lane("a").is_behind = True
    office.bring("a", 1)
    office.bring("b", 1)
    await turn()
    await office.end("b0")
    assert office.freed == 0
    await office.end("a0")
    assert office.freed == 1


async def test_held_ones_stand_in_nobodys_way(make: Callable[..., Office]) -> None:
    """Stopped, held or without a slot of their own they are not looked at again and again, and come back by themselves."""
    office = make()
    office.well("a", limit=1.0)
    office.well("z")
    office.bring("a", 2)
    await turn()
    assert not office.lanes._well
    assert not office.lanes._others
    office.bring("z", 1)
    await turn()
    await office.end("a0")
    assert office.begun == ["a0", "z0", "a1"]


async def test_what_was_not_tried_is_left(make: Callable[..., Office]) -> None:
    """Of one webhook or of all, with its bytes."""
    office = make(all_max=2)
    office.well(*"ab", limit=1.0)
    office.bring("a", 3)
    office.bring("b", 3)
    await turn()
    assert [each.batch.id for each in office.lanes.leave(office.lanes.lane("a"))] == ["a1", "a2"]
    assert office.lanes.fresh_bytes == 4
    office.lanes.is_running = False
    assert [each.batch.id for each in office.lanes.leave()] == ["b1", "b2"]
    await office.end("a0", "b0")
    assert (office.lanes.fresh_bytes, office.begun) == (0, ["a0", "b0"])
    office.lanes.is_running = True
    office.bring("b", 1, first=7)
    await turn()
    assert office.begun[-1] == "b7"


@pytest.mark.parametrize(
    ("error", "line"),
    [(RuntimeError("ours"), "service_failed"), (UnavailableError("away"), "webhook_delivery_waiting")],
)
async def test_an_error_of_one_attempt_is_said_and_costs_no_slot(
    make: Callable[..., Office], error: Exception, line: str
) -> None:
    """The others go on."""
    office = make()
    office.error = error
    with capture_logs() as logs:
        office.bring("a", 2)
        await turn()
    assert [each["event"] for each in logs] == [line] * 2
    assert (office.begun, office.lanes.free(), office.lanes.fresh_bytes) == (["a0", "a1"], 10, 0)
    assert office.lanes.lane("a").in_flight == 0


steps = st.lists(
    st.one_of(
        st.tuples(st.just("bring"), st.sampled_from("abcd"), st.integers(1, 4)),
        st.tuples(st.just("end"), st.integers(0, 20), st.just(0)),
        st.tuples(st.just("well"), st.sampled_from("abcd"), st.integers(0, 6)),
        st.tuples(st.just("know"), st.sampled_from("abcd"), st.sampled_from([-1, 0, 7])),
        st.tuples(st.just("queue"), st.sampled_from("abcd"), st.just(0)),
        st.tuples(st.just("look"), st.sampled_from("abcd"), st.integers(0, 3)),
        st.tuples(st.just("hold"), st.sampled_from("abcd"), st.booleans()),
        st.tuples(st.just("leave"), st.sampled_from("abcd"), st.just(0)),
    ),
    max_size=40,
)


@given(steps, st.integers(1, 6))
def test_whatever_happens_no_slot_is_lost_and_none_is_idle(what: Sequence[tuple[str, str, int]], all_max: int) -> None:
    """Never more than allowed; whoever could begin has begun; at the end every slot and byte is back."""
    asyncio.run(_whatever(what, all_max))


async def _whatever(what: Sequence[tuple[str, str, int]], all_max: int) -> None:
    office = Office(all_max=all_max, each_max=4)
    lanes = office.lanes
    for number, (kind, name, count) in enumerate(what):
        await _step(office, kind, name, count, number)
        if kind not in {"bring", "end"}:  # as a look does, whatever it heard
            lanes.stand_again()
            lanes.give_back(())
        await turn()
        assert len(office.running) <= all_max
        assert lanes.fresh_bytes == sum(len(each.fresh) for each in lanes._lanes.values()) + len(office.running)
        assert not any(each.fresh and lanes.room(each) for each in lanes._lanes.values() if not each.is_stopped)
    for each in lanes._lanes.values():
        each.is_stopped = False
    lanes.stand_again()
    lanes.give_back(())
    await turn()
    for each in lanes._lanes.values():
        lanes.queue(each)
    lanes.give_up_kept()
    while office.running:
        await office.end(*list(office.running))
        lanes.give_up_kept()
        lanes.begin_fresh()
        await turn()
    lanes.give_up_kept()
    lanes.leave()
    assert (lanes.free(), lanes.fresh_bytes, lanes._taken_unproven) == (all_max, 0, 0)
    assert not any(lanes._taken_by.values())
    assert not any(each.in_flight for each in lanes._lanes.values())


async def _step(office: Office, kind: str, name: str, count: int, number: int) -> None:
    lanes = office.lanes
    match kind:
        case "bring":
            office.bring(name, count, first=number * 10)
        case "end":
            await office.end(*list(office.running)[: int(name) + 1])
        case "well":
            lanes.lane(name).is_proven, lanes.lane(name).limit = count > 0, max(1.0, count)
        case "know":
            lanes.know([member(name, count)])
        case "queue":
            lanes.queue(lanes.lane(name))
        case "look":
            lanes.give_up_kept()
            lanes.give_back(lanes.reserve(lanes.lane(name), min(count, lanes.room(lanes.lane(name)))))
        case "hold":
            lanes.lane(name).is_stopped = bool(count)
        case _:
            lanes.leave(lanes.lane(name))
