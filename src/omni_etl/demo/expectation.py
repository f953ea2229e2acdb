"""What must come of the demo's events, counted from the lines alone.

On purpose this shares no code with the services it checks: it reads the lines in its own way and knows the rule of the
suppression list by heart (sparkpost support articles: hard bounces, complaints and both kinds of unsubscribing).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

import msgspec

SAYS_NO: Final = frozenset({"spam_complaint", "list_unsubscribe", "link_unsubscribe"})
BOUNCES: Final = frozenset({"bounce", "out_of_band"})
HARD: Final = frozenset({"10", "30", "90"})


class _Seen(msgspec.Struct):
    type: str
    rcpt_to: str | None = None
    subaccount_id: str = "0"
    transactional: str = "0"
    bounce_class: str = ""


class Expectation:
    """Counts what it was shown with `add`."""

    def __init__(self) -> None:
        self.types: Counter[str] = Counter()  # events by type
        self.subaccounts: Counter[str] = Counter()  # events by subaccount, "0" for the primary account
        self.suppressing = 0  # events that may suppress an address, those without an address too
        self.suppressed: set[tuple[str, str, bool]] = set()  # subaccount, recipient, whether for transactional mail

    @property
    def accepted(self) -> int:
        """How many events were shown."""
        return self.types.total()

    def add(self, lines: Iterable[bytes]) -> None:
        """Count these lines."""
        for seen in map(_decode, lines):
            self.types[seen.type] += 1
            self.subaccounts[seen.subaccount_id] += 1
            if seen.type in SAYS_NO or (seen.type in BOUNCES and seen.bounce_class in HARD):
                self.suppressing += 1
                if seen.rcpt_to is not None:
                    self.suppressed.add((seen.subaccount_id, seen.rcpt_to.strip().lower(), seen.transactional == "1"))


_decode: Final = msgspec.json.Decoder(_Seen).decode
