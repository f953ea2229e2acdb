"""Answer: what a producer hears about one request, and hears again when it repeats the request."""

from __future__ import annotations

from typing import Final

import msgspec

REJECTIONS_SHOWN_MAX: Final = 1_000
REASON_CHARACTERS_MAX: Final = 200


class Rejection(msgspec.Struct, frozen=True, gc=False):
    """Why one line, or one element of an array, was refused; counted from 1."""

    line: int
    reason: str


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of a 200, and of a 400 where nothing was valid."""

    accepted: int
    rejected: tuple[Rejection, ...]
    rejected_count: int | None = None  # only where `rejected` does not show all

    @property
    def refused(self) -> int:
        """Lines refused, shown or not."""
        return len(self.rejected) if self.rejected_count is None else self.rejected_count


class Rejections:
    """Collects them; remembers the first and counts the rest, because a body may be nothing but rubbish."""

    def __init__(self) -> None:
        self.count = 0
        self._shown: list[Rejection] = []

    def add(self, line: int, reason: str) -> None:
        """One more."""
        self.count += 1
        if len(self._shown) < REJECTIONS_SHOWN_MAX:
            self._shown.append(Rejection(line, reason[:REASON_CHARACTERS_MAX]))

    def answer(self, accepted: int) -> Answer:
        """What the producer hears."""
        return Answer(accepted, tuple(self._shown), self.count if self.count > len(self._shown) else None)
