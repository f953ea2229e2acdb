"""auditing.findings: two numbers that are 0 or an alarm."""

from typing import get_args

from omni_etl.audit import FINDINGS_MAX, HoseAccount, Report, What, Wound
from omni_etl.auditing.findings import DO, Findings


def counted(*wounds: Wound) -> tuple[int, int]:
    """Envelopes missing, events doubled."""
    report = Report(0, 0)
    for each in wounds:
        Findings(report).wound(each)
    return report.missing_envelopes, report.doubled_events


def test_each_wound_counts_as_lost_or_doubled() -> None:
    """Never as nothing."""
    assert counted(Wound("message_events", "k", "rows missing", 7)) == (1, 0)
    assert counted(Wound("message_events", "k", "rows doubled", 7)) == (0, 7)
    assert counted(Wound("message_events", "k", "repeated", 0)) == (0, 1)
    assert counted(Wound("message_events", "k", "marker missing", 7)) == (1, 0)
    assert counted(Wound("metrics", "type of today", "roll-up differs", 7)) == (0, 7)
    assert counted(Wound("metrics", "type of today", "roll-up differs", -7)) == (1, 0)


def test_what_is_missing_already_is_counted_once() -> None:
    """A marker that was deleted is a number that is missing."""
    report = Report(0, 0)
    findings = Findings(report)
    findings.missing("message_events", ["k"], 1)
    findings.wound(Wound("message_events", "k", "marker missing", 7))
    assert (report.missing_envelopes, len(report.findings)) == (1, 2)


def test_what_a_hose_accepted_is_what_its_envelopes_hold() -> None:
    """More is lost, less is doubled."""
    for events, numbers in ((10, (0, 0)), (8, (1, 0)), (13, (0, 3))):
        report = Report(0, 0)
        Findings(report).accepted(HoseAccount("h", 10, 0, []), events)
        assert (report.missing_envelopes, report.doubled_events) == numbers


def test_the_first_are_named_and_all_are_counted() -> None:
    """A page, not a book."""
    report = Report(0, 0)
    Findings(report).missing("metrics", [f"h-bulk-{seq}" for seq in range(1000)], 1000)
    assert (report.missing_envelopes, len(report.findings)) == (1000, FINDINGS_MAX)


def test_each_kind_says_what_to_do() -> None:
    """Whoever reads it at night is told."""
    assert DO.keys() == set(get_args(What))
