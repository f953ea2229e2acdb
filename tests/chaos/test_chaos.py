"""The chaos itself: that it breaks what it says, that everything comes back, and that its judge sees every wound."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from tests.chaos.expected import Expected
from tests.chaos.faults import KINDS, Kind, drawn
from tests.chaos.judge import Verdict, judge, receipts
from tests.chaos.report import page
from tests.chaos.run import Watcher, Wish, live
from tests.chaos.world import World
from tests.e2e.system import wait_until

EVENTS = 2_000
ONE_OF_EACH_SORT = [
    *("hose killed", "webhooks killed", "child stopped", "tracker emptied", "database away", "database full"),
    *("customer fails late", "customer killed", "network cut", "SQS sends twice", "wire killed", "everything killed"),
]


@pytest.mark.e2e
@pytest.mark.engines
@pytest.mark.timeout(600)
def test_one_fault_of_each_sort_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve kinds, once each, on SQS: the harness works, and so does the system; the page can be written of it."""
    kinds = [each for each in KINDS if each.name in ONE_OF_EACH_SORT]
    monkeypatch.setattr("tests.chaos.faults.KINDS", kinds)
    run = live(Wish("sqs", 20_000, None, 1), Watcher())
    assert (run.verdict.wrong, [each for each in run.verdict.lines if not each.ok]) == ([], []), run.directory
    assert run.ok
    assert run.events >= 20_000
    if not run.kinds_left_out:  # what this machine does not let us do
        assert run.kinds == sorted(ONE_OF_EACH_SORT)
    text = page([run])
    assert "nothing was lost and nothing doubled" in text
    assert all(f"| {name} |" in text for name in run.kinds)


@pytest.mark.e2e
@pytest.mark.timeout(240)
def test_the_judge_sees_every_wound() -> None:
    """Without faults everything agrees; then each figure is wounded by hand, and the judge says so."""
    world = World("sqlite", seed=1)
    try:
        world.open()
        world.load.allow(EVENTS)
        expected = world.load.finish(EVENTS, seconds_max=60)
        wait_until(lambda: _judged(world, expected).ok, "everything agrees", lambda: _judged(world, expected))
        for wound, seen in WOUNDS:
            wound(world)
            said = _judged(world, expected)
            assert seen(said), (wound.__name__, said)
    finally:
        world.close(keeps=False)


def _judged(world: World, expected: Expected) -> Verdict:
    return judge(world, expected, world.load.accepted, with_audit=False)  # which has a test of its own wounds


def lose_a_row(world: World) -> None:
    """From message_events."""
    [[key]] = world.system.rows("SELECT envelope_key FROM message_events WHERE marker_key = '' LIMIT 1")
    world.system.rows(
        f"ALTER TABLE message_events DELETE WHERE envelope_key = '{key}' AND line_number = 1 SETTINGS mutations_sync = 2"
    )


def double_a_row(world: World) -> None:
    """Of message_events."""
    world.system.rows("INSERT INTO message_events SELECT * FROM message_events WHERE marker_key = '' LIMIT 1")


def count_an_event_twice(world: World) -> None:
    """In one roll-up."""
    world.system.rows("INSERT INTO metrics SELECT * FROM metrics WHERE family = 'campaign' LIMIT 1")


def forget_a_suppression(world: World) -> None:
    """From the list."""
    with closing(sqlite3.connect(world.home / "database" / "control.sqlite")) as connection:
        connection.execute(
            "DELETE FROM suppressions WHERE recipient = (SELECT recipient FROM suppressions WHERE suppressed LIMIT 1)"
        )
        connection.commit()


def change_a_batch(world: World) -> None:
    """It comes again under its id with other bytes."""
    first = next(receipts(world.receipts))
    _note(world.receipts, msgspec.json.encode(replace_digest(first)))


def repeat_an_event_elsewhere(world: World) -> None:
    """Under another batch's id."""
    first = next(receipts(world.receipts))
    first.batch = "another"
    _note(world.receipts, msgspec.json.encode(first))


def replace_digest(receipt: object) -> object:
    """The same with other bytes."""
    return msgspec.structs.replace(receipt, digest="other")  # type: ignore[type-var]  # a Receipt


def _note(path: Path, line: bytes) -> None:
    with path.open("ab") as file:
        file.write(line + b"\n")


def _differs(verdict: Verdict, what: str) -> bool:
    return any(what in each.what and not each.ok for each in verdict.lines)


Wound = Callable[[World], None]
WOUNDS: list[tuple[Wound, Callable[[Verdict], bool]]] = [
    (lose_a_row, lambda verdict: verdict.lost == 1 and _differs(verdict, "byte for byte")),
    (double_a_row, lambda verdict: verdict.doubled == 1 and _differs(verdict, "places")),
    (count_an_event_twice, lambda verdict: any("metrics by campaign" in each for each in verdict.wrong)),
    (forget_a_suppression, lambda verdict: any("suppressions" in each for each in verdict.wrong)),
    (change_a_batch, lambda verdict: _differs(verdict, "two contents")),
    (repeat_an_event_elsewhere, lambda verdict: verdict.doubled > 1),
]


def test_a_schedule_is_its_seed_and_leaves_no_kind_out() -> None:
    """Every kind at least three times in 220 faults, in the same order for the same seed."""
    kinds = list(KINDS)
    order = drawn(kinds, 220, random.Random(1))
    assert order == drawn(kinds, 220, random.Random(1))
    assert len(order) == 220
    assert min(order.count(each) for each in kinds) >= 2
    assert sorted(map(_name, drawn(kinds, len(kinds), random.Random(1)))) == sorted(map(_name, kinds))


def test_no_two_kinds_share_a_name() -> None:
    """The table counts by it."""
    assert len({each.name for each in KINDS}) == len(KINDS)
    assert {each.name for each in KINDS} >= set(ONE_OF_EACH_SORT)


def _name(kind: Kind) -> str:
    return kind.name
