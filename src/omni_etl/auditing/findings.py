"""Findings: what is wrong, counted into the two numbers that are 0 or an alarm; pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from omni_etl.audit import FINDINGS_MAX, Finding, HoseAccount, Report, What, Wound

DO: Final[dict[What, str]] = {
    "missing": "It is in no ledger, siding or dead letter of this service. Look for it in `omni dead-letters show KEY --service unreadable`, "
    "then in the hose's log; its events must come from the producer again.",
    "repeated": "Its marker stands twice, so a promise is broken. Keep the logs of the parents and call someone; its events count twice.",
    "rows missing": "Rows of the envelope were deleted by hand, or the store lost them. Restore them from a backup, or have the producer send them again.",
    "rows doubled": "Rows of the envelope stand more than once. Were rows inserted by hand? Delete the repetitions.",
    "marker missing": "Its rows are there and its marker is not, so the envelope would be inserted again if it came. Was it deleted by hand?",
    "roll-up differs": "Rows of metrics were changed by hand, or the store lost some. Compare with message_events of that day.",
    "accepted, not cut": "The hose's spool lost events, or cut some twice. Keep its directory and its log; call someone.",
}


class Findings:
    """Written into a report."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._missing: set[tuple[str, str]] = set()

    def missing(self, service: str, names: Iterable[str], count: int) -> None:
        """So many envelopes; the names of the first."""
        self._report.missing_envelopes += count
        for name in names:
            self._missing.add((service, name))
            self._note(service, name, "missing", None)

    def wound(self, wound: Wound) -> None:
        """Rows and markers that do not agree; what is missing already is not counted again."""
        if wound.what in ("repeated", "rows doubled") or (wound.what == "roll-up differs" and wound.events > 0):
            self._report.doubled_events += max(1, wound.events)
        elif (wound.service, wound.key) not in self._missing:
            self._report.missing_envelopes += 1
        self._note(wound.service, wound.key, wound.what, wound.events)

    def accepted(self, hose: HoseAccount, events: int) -> None:
        """All of a hose's envelopes are there, and hold `events`."""
        if hose.accepted > events:
            self._report.missing_envelopes += 1
        elif hose.accepted < events:
            self._report.doubled_events += events - hose.accepted
        else:
            return
        self._note("hose", hose.hose_id, "accepted, not cut", events - hose.accepted)

    def _note(self, service: str, key: str, what: What, events: int | None) -> None:
        if len(self._report.findings) < FINDINGS_MAX:
            self._report.findings.append(Finding(service, key, what, events, DO[what]))
