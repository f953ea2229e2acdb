"""demo.outcome: the arithmetic of "nothing lost, nothing doubled"."""

import io
from dataclasses import replace
from typing import Any

import orjson
import pytest
from rich.console import Console

from omni_etl.demo.expectation import Expectation
from omni_etl.demo.outcome import Landed, Outcome, usage_table
from omni_etl.demo.usage import Usage

LANDED = Landed(
    message_events=5,
    metrics=5,
    metrics_by_type={"delivery": 4, "bounce": 1, "open": 0},
    webhook_events=5,
    webhook_batches=2,
    webhook_repeats=0,
    webhook_doubled=0,
    webhook_largest=4,
    suppressions=1,
)


def outcome(**landed: Any) -> Outcome:
    """Four deliveries and a hard bounce, all of them accepted, landed so."""
    expected = Expectation()
    bounce = {"type": "bounce", "bounce_class": "10", "rcpt_to": "a@example.com"}
    expected.add([orjson.dumps(each) for each in [{"type": "delivery"}] * 4 + [bounce]])
    return Outcome(expected=expected, accepted=5, landed=replace(LANDED, **landed), seconds=1.234)


def test_a_good_run_agrees() -> None:
    """A type that was never sent and counts zero is no disagreement; repeats of whole batches are allowed."""
    good = outcome(webhook_repeats=3)
    assert (good.lost, good.doubled, good.agrees) == (0, 0, True)


@pytest.mark.parametrize(
    ("landed", "lost", "doubled"),
    [
        ({"message_events": 3}, 2, 0),
        ({"message_events": 6}, 0, 1),
        ({"metrics": 4}, 1, 0),
        ({"metrics": 7}, 0, 2),
        ({"webhook_events": 4}, 1, 0),
        ({"webhook_doubled": 1}, 0, 1),
        ({"suppressions": 0}, 1, 0),
        ({"suppressions": 2}, 0, 1),
        ({"metrics": 4, "message_events": 6}, 1, 1),  # one does not make up for the other
    ],
)
def test_each_figure_that_is_off_is_seen(landed: dict[str, int], lost: int, doubled: int) -> None:
    """What is missing somewhere is lost, what is somewhere once too often is doubled."""
    bad = outcome(**landed)
    assert (bad.lost, bad.doubled, bad.agrees) == (lost, doubled, False)


def test_an_event_in_the_wrong_type_is_seen() -> None:
    """Sums agree; types do not."""
    bad = outcome(metrics_by_type={"delivery": 3, "bounce": 2})
    assert (bad.lost, bad.doubled, bad.agrees) == (0, 0, False)


def test_what_the_hose_did_not_accept_is_lost() -> None:
    """Also where everything behind it agrees with it."""
    bad = replace(outcome(message_events=4, metrics=4, webhook_events=4), accepted=4)
    assert (bad.lost, bad.doubled, bad.agrees) == (1, 0, False)


def test_the_last_line_has_the_promised_members() -> None:
    """Each figure from where it landed."""
    assert outcome().as_dict() == {
        "accepted": 5,
        "message_events": 5,
        "metrics": 5,
        "webhook_events": 5,
        "webhook_batches": 2,
        "suppressions": 1,
        "lost": 0,
        "doubled": 0,
        "seconds": 1.23,
    }


@pytest.mark.parametrize("name", ["message_events", "metrics", "webhook_events"])
def test_all_has_landed_only_where_every_service_has_it(name: str) -> None:
    """The slowest decides."""
    assert LANDED.has_all(5)
    assert not outcome(**{name: 4}).landed.has_all(5)


def test_tables_show_what_is_off() -> None:
    """By type and by service, the commonest type first; costs by process, the dearest first."""
    bad = outcome(metrics_by_type={"delivery": 3, "bounce": 1}, suppressions=0)
    costs = {"api": Usage(0.5, 10, 11), "store": Usage(2.0, 300, 310)}
    console = Console(file=io.StringIO(), width=100)
    console.print(bad.table(), bad.services_table(), usage_table(costs, 1_000_000))
    assert isinstance(console.file, io.StringIO)
    rows = [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in console.file.getvalue().splitlines()
        if line.startswith("│")
    ]
    assert rows[:2] == [["delivery", "4", "3"], ["bounce", "1", "1"]]
    assert ["suppressions: entries", "0", "1"] in rows
    assert rows[-2:] == [["store", "2.0", "2.0", "300", "310"], ["api", "0.5", "0.5", "10", "11"]]
