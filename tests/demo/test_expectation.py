"""Expectation: what the demo's figures are compared with."""

import orjson

from omni_etl import event
from omni_etl.demo.expectation import Expectation
from omni_etl.demo.life import events

NOW = 1_764_000_000.0


def _line(**fields: str) -> bytes:
    return orjson.dumps({"timestamp": "1", "subaccount_id": "3", "rcpt_to": "a@example.com", **fields})


def test_types_and_subaccounts_are_counted() -> None:
    """Every line counts once, in its type and its subaccount."""
    expectation = Expectation()
    expectation.add([_line(type="open"), _line(type="open", subaccount_id="4"), b'{"type":"success","timestamp":"1"}'])
    assert expectation.accepted == 3
    assert expectation.types == {"open": 2, "success": 1}
    assert expectation.subaccounts == {"3": 1, "4": 1, "0": 1}


def test_one_entry_for_whatever_was_said_about_one_address() -> None:
    """Entries are distinct by subaccount, recipient and type; soft bounces add none."""
    expectation = Expectation()
    expectation.add(
        [
            _line(type="bounce", bounce_class="10"),
            _line(type="spam_complaint", rcpt_to="A@Example.com"),
            _line(type="list_unsubscribe", transactional="1"),
            _line(type="out_of_band", bounce_class="90", subaccount_id="4"),
            _line(type="bounce", bounce_class="22"),
            _line(type="open", bounce_class="10"),
        ]
    )
    assert expectation.suppressing == 4
    assert expectation.suppressed == {
        ("3", "a@example.com", False),
        ("3", "a@example.com", True),
        ("4", "a@example.com", False),
    }


def test_a_stripped_report_suppresses_nobody() -> None:
    """A hard bounce without an address travels in the express lane and adds no entry."""
    expectation = Expectation()
    expectation.add([b'{"type":"out_of_band","timestamp":"1","bounce_class":"10"}'])
    assert (expectation.suppressing, expectation.suppressed) == (1, set())


def test_the_demo_holds_repeated_sayings_and_agrees_with_intake() -> None:
    """Generated events suppress some addresses twice, and intake's own verdict on each is the same."""
    lines = list(events(20_000, seed=11, now=NOW))
    expectation = Expectation()
    expectation.add(lines)
    verdicts = [event.check(line) for line in lines]
    assert expectation.suppressing == sum(checked.suppresses for checked in verdicts if checked is not None)
    assert 0 < len(expectation.suppressed) < expectation.suppressing
