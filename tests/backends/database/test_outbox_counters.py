"""Counters of lanes: after whatever happened, they are what somebody would find who counts rows. Nobody ever does."""

import asyncio
import json
import random
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import func, select
from tests.backends.database.conftest import opened
from tests.builders import envelope, line
from tests.outboxes import TARGET, closing, delivered, given_up, retry, split

from omni_etl.backends.database import DatabaseDeliveries, DatabaseOutbox, DatabaseOutboxEraser, open_database
from omni_etl.backends.database.outbox_tables import outbox_batches, outbox_bodies, outbox_segments
from omni_etl.clock import ManualClock
from omni_etl.outbox import Batch, Cut, DueBatch, Segment, Verdict, Wanted

WEBHOOKS = ["u", "v", "w"]
WHO = "a@x.test"
SECONDS = 0, 1, 29, 31, 600


class Scene:
    """An outbox, everyone who works on it, and what was done with each event."""

    def __init__(self, database_url: str) -> None:
        self.clock = ManualClock()
        self.database = open_database(database_url, "outbox", self.clock)
        self.outbox = DatabaseOutbox(self.database, self.clock)
        self.deliveries = DatabaseDeliveries(self.database, self.clock)
        self.eraser = DatabaseOutboxEraser(self.database, self.clock)
        self.held: list[DueBatch] = []
        self.number = 0
        self.put_events: Counter[str] = Counter()
        self.ended: dict[str, Counter[str]] = {each: Counter() for each in ("delivered", "dropped", "erased")}

    def elements(self, count: int) -> list[bytes]:
        """New events; every third is about whom an erasure may name."""
        first, self.number = self.number, self.number + count
        return [
            json.dumps({"msys": {"message_event": {"rcpt_to": WHO if each % 3 == 0 else f"{each}@x.test"}}}).encode()
            for each in range(first, self.number)
        ]

    def batch(self, webhook_id: str, elements: list[bytes], parent_id: str | None = None) -> Batch:
        """Of these events."""
        self.number += 1
        body = b"[%b]" % b",".join(elements)
        return Batch(f"batch-{self.number}", webhook_id, TARGET, {}, body, len(elements), parent_id)

    async def put(self, webhook_id: str, batches: list[int], segments: list[int], *, is_eager: bool) -> None:
        """An envelope."""
        self.number += 1
        seq = self.number
        cut = Cut(
            [self.batch(webhook_id, self.elements(count)) for count in batches],
            [
                Segment(webhook_id, f"{seq}/{at}", b",".join(self.elements(count)), count)
                for at, count in enumerate(segments)
            ],
        )
        eager = {webhook_id} if is_eager else ()
        self.held += await self.outbox.put(envelope([line()], seq=seq), cut, eager=eager, claim_seconds=30) or []
        self.put_events[webhook_id] += sum(batches) + sum(segments)

    async def join(self, webhook_ids: list[str], *, events_max: int, is_everything: bool, is_claimed: bool) -> None:
        """Of these."""
        closings = [
            closing(each, events_max=events_max, is_everything=is_everything, is_claimed=is_claimed)
            for each in webhook_ids
        ]
        self.held += await self.outbox.join(closings, claim_seconds=30)

    async def claim(self, wanted: dict[str, Wanted]) -> None:
        """And hold."""
        self.held += await self.outbox.claim(wanted, claim_seconds=30)

    async def settle(self, due: DueBatch, verdict: Verdict) -> None:
        """Whether the claim still holds or not."""
        was_heard = await self.outbox.settle(due, verdict)
        if was_heard and verdict.kind == "delivered":
            self.ended["delivered"][due.batch.webhook_id] += due.batch.event_count

    def halved(self, due: DueBatch) -> Verdict:
        """Its halves, where there are two."""
        lines = [json.dumps(each).encode() for each in json.loads(due.batch.body)]
        middle = len(lines) // 2
        if not middle:
            return given_up("413")
        parts = lines[:middle], lines[middle:]
        return split(*(self.batch(due.batch.webhook_id, each, due.batch.id) for each in parts))

    async def drop(self, webhook_id: str, *, bytes_max: int, seconds_max: int) -> None:
        """What is too much or too old."""
        after_ms = int((self.clock.now() - seconds_max) * 1000)
        dropped = await self.outbox.drop_overflow(webhook_id, bytes_max=bytes_max, cut_after_ms=after_ms)
        self.ended["dropped"][webhook_id] += dropped.events

    async def drop_segments(self, webhook_id: str) -> None:
        """As of a webhook that is no more."""
        events = await self.outbox.drop_segments(webhook_id)
        self.ended["dropped"][webhook_id] += events

    async def erase(self) -> None:
        """From everything that is not claimed."""
        erased = await self.eraser.rewrite_segments(WHO)
        found = await self.eraser.rewrite(await self.eraser.batch_ids("", count_max=1_000), WHO)
        self.ended["erased"]["all"] += erased.events + found.events

    async def counted(self) -> dict[str, Counter[str]]:
        """What the lanes say, of what rows can say too."""
        lanes = await self.deliveries.lanes(WEBHOOKS)
        names = ("waiting_batches", "waiting_events", "waiting_bytes", "given_up_batches", "given_up_events")
        return {each.webhook_id: +Counter({name: getattr(each, name) for name in names}) for each in lanes.values()}

    async def rows(self) -> dict[str, Counter[str]]:
        """The same, counted."""
        b, s = outbox_batches.c, outbox_segments.c
        body_bytes = func.sum(func.length(outbox_bodies.c.body))
        figures = func.count(), func.sum(b.event_count), body_bytes
        batches = select(b.webhook_id, b.state, *figures).join(outbox_bodies).group_by(b.webhook_id, b.state)
        segments = select(s.webhook_id, func.sum(s.event_count), func.sum(func.length(s.elements)))
        found: dict[str, Counter[str]] = {each: Counter() for each in await self.deliveries.lanes(WEBHOOKS)}
        async with self.database.reading() as connection:
            for webhook_id, state, count, events, size_bytes in await connection.execute(batches):
                kind = "given_up" if state == "given_up" else "waiting"
                found[webhook_id].update({f"{kind}_batches": count, f"{kind}_events": int(events)})
                found[webhook_id].update({"waiting_bytes": int(size_bytes) * (kind == "waiting")})
            for webhook_id, events, size_bytes in await connection.execute(segments.group_by(s.webhook_id)):
                found[webhook_id].update({"waiting_events": int(events), "waiting_bytes": int(size_bytes)})
        return {webhook_id: +each for webhook_id, each in found.items()}

    async def check(self) -> None:
        """Counters are rows, and no event is nowhere."""
        assert await self.counted() == await self.rows()
        lanes = await self.deliveries.lanes(WEBHOOKS)
        for webhook_id, lane in lanes.items():
            assert lane.delivered_events == self.ended["delivered"][webhook_id]
            assert lane.dropped_events == self.ended["dropped"][webhook_id]
        somewhere = sum(
            each.waiting_events + each.given_up_events + each.delivered_events + each.dropped_events
            for each in lanes.values()
        )
        assert somewhere + self.ended["erased"]["all"] == sum(self.put_events.values())


webhook_ids = st.sampled_from(WEBHOOKS)
counts = st.integers(0, 4)


class Counters(RuleBasedStateMachine):
    """Whatever a system may do to its outbox, one thing after another."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.directory = tempfile.TemporaryDirectory()
        self.scene = Scene(f"sqlite:///{Path(self.directory.name)}")
        self.do(self.scene.outbox.open())

    def do(self, work: Coroutine[Any, Any, Any]) -> None:
        """To its end."""
        self.loop.run_until_complete(work)

    def teardown(self) -> None:
        """Leave nothing."""
        self.do(self.scene.outbox.close())
        self.loop.close()
        self.directory.cleanup()

    @rule(
        webhook_id=webhook_ids,
        batches=st.lists(st.integers(1, 9), max_size=3),
        segments=st.lists(st.integers(1, 4), max_size=2),
        is_eager=st.booleans(),
    )
    def put(self, webhook_id: str, batches: list[int], segments: list[int], is_eager: bool) -> None:  # noqa: FBT001 drawn by name
        """An envelope."""
        self.do(self.scene.put(webhook_id, batches, segments, is_eager=is_eager))

    @rule(
        these=st.lists(webhook_ids, unique=True),
        events_max=st.integers(4, 9),
        is_everything=st.booleans(),
        is_claimed=st.booleans(),
    )
    def join(self, these: list[str], events_max: int, is_everything: bool, is_claimed: bool) -> None:  # noqa: FBT001 drawn by name
        """Segments into batches."""
        work = self.scene.join(these, events_max=events_max, is_everything=is_everything, is_claimed=is_claimed)
        self.do(work)

    @rule(wanted=st.dictionaries(webhook_ids, st.builds(Wanted, counts, counts, st.booleans())))
    def claim(self, wanted: dict[str, Wanted]) -> None:
        """Some."""
        self.do(self.scene.claim(wanted))

    @precondition(lambda self: self.scene.held)
    @rule(
        data=st.data(),
        kind=st.sampled_from(["delivered", "retry", "given_up", "split"]),
        seconds=st.sampled_from(SECONDS),
    )
    def settle(self, data: st.DataObject, kind: str, seconds: int) -> None:
        """One that was claimed, perhaps long ago; perhaps again later."""
        due = data.draw(st.sampled_from(self.scene.held))
        verdicts: dict[str, Callable[[], Verdict]] = {
            "delivered": delivered,
            "retry": lambda: retry(seconds),
            "given_up": given_up,
            "split": lambda: self.scene.halved(due),
        }
        self.do(self.scene.settle(due, verdicts[kind]()))

    @precondition(lambda self: self.scene.held)
    @rule()
    def settle_all(self) -> None:
        """In one transaction, or nearly."""
        held, self.scene.held = self.scene.held, []
        ways = [delivered(), retry(1), given_up()]

        async def all_of_them() -> None:
            await asyncio.gather(*(self.scene.settle(each, ways[at % 3]) for at, each in enumerate(held)))

        self.do(all_of_them())

    @precondition(lambda self: self.scene.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        """Some, untried."""
        self.do(self.scene.outbox.release(data.draw(st.lists(st.sampled_from(self.scene.held), max_size=3))))

    @rule(webhook_id=webhook_ids, bytes_max=st.integers(0, 2_000), seconds_max=st.sampled_from(SECONDS))
    def drop(self, webhook_id: str, bytes_max: int, seconds_max: int) -> None:
        """What is too much."""
        self.do(self.scene.drop(webhook_id, bytes_max=bytes_max, seconds_max=seconds_max))

    @rule(webhook_id=webhook_ids)
    def drop_segments(self, webhook_id: str) -> None:
        """Its webhook is no more."""
        self.do(self.scene.drop_segments(webhook_id))

    @rule(webhook_id=webhook_ids, count_max=st.integers(1, 3))
    def try_again(self, webhook_id: str, count_max: int) -> None:
        """What was given up, and what waits."""
        self.do(self.scene.deliveries.retry(webhook_id, count_max=count_max))

    @rule()
    def erase(self) -> None:
        """One recipient."""
        self.do(self.scene.erase())

    @rule(seconds=st.sampled_from(SECONDS))
    def wait(self, seconds: int) -> None:
        """Claims lapse, attempts are due."""
        self.scene.clock.advance(seconds)

    @invariant()
    def counters_are_rows(self) -> None:
        """Always."""
        self.do(self.scene.check())


TestCounters = Counters.TestCase
TestCounters.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("seed", range(3))
async def test_counters_are_rows_whoever_works_at_once(database_url: str, seed: int) -> None:
    """Everything that may happen, by several at once, in both products."""
    scene, rng = Scene(database_url), random.Random(seed)

    async def one_of_them(steps: int) -> None:
        for _ in range(steps):
            await rng.choice(ways)()

    async def settle() -> None:
        if scene.held:
            due = scene.held.pop(rng.randrange(len(scene.held)))
            await scene.settle(due, rng.choice([delivered(), retry(0), given_up(), scene.halved(due)]))

    some: Callable[[], str] = lambda: rng.choice(WEBHOOKS)  # noqa: E731 a name for what is drawn
    ways: list[Callable[[], Awaitable[Any]]] = [
        lambda: scene.put(some(), [rng.randint(1, 5)], [1, 2], is_eager=rng.random() < 0.3),
        lambda: scene.put(some(), [], [rng.randint(1, 3)], is_eager=False),
        lambda: scene.join(WEBHOOKS, events_max=6, is_everything=False, is_claimed=rng.random() < 0.3),
        lambda: scene.join(WEBHOOKS, events_max=6, is_everything=True, is_claimed=False),
        lambda: scene.claim({some(): Wanted(2, 2), some(): Wanted(is_probe=True)}),
        settle,
        settle,
        lambda: scene.outbox.release(scene.held[:2]),
        lambda: scene.drop(some(), bytes_max=2_000, seconds_max=600),
        lambda: scene.drop_segments(some()),
        lambda: scene.deliveries.retry(some(), count_max=2),
        scene.erase,
    ]
    async with opened(scene.database):
        for _ in range(3):
            await asyncio.gather(*(one_of_them(40) for _ in range(5)))
            await scene.check()
            scene.clock.advance(31)
