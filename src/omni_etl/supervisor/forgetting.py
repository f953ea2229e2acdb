"""Forgetting: what the parent hears of erasures, it tells its children before any work that follows.

Whoever erases waits until every parent says that nothing is under way any more which was handed out before it heard: from then
on no older event can come behind the deletion. While the database is away, what was heard last holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from omni_etl.erasure import Erasures, Known
from omni_etl.supervisor.desk import Desk


class Told(Protocol):
    """Who is told: the children."""

    def forget(self, known: Known) -> None:
        """Every child that lives, and every one that is started later, hears of these before its next work."""
        ...


class Forgetting:
    """A parent's talk about erasures."""

    def __init__(self, *, erasures: Erasures, children: Told, desks: Iterable[Desk]) -> None:
        self.erasures = erasures
        self._children = children
        self._desks = tuple(desks)
        self._count = 0
        self._earlier: list[tuple[int, set[int]]] = []  # how many were known, and which works were then under way
        self._through = 0

    async def hear(self) -> None:
        """Ask once.

        Raises:
            UnavailableError: the database is away.

        """
        known = await self.erasures.known(beyond=self._count)
        if known is None:
            return
        self._children.forget(known)
        self._count = len(known.erasures)
        self._earlier.append((self._count, self._under_way()))

    def through(self) -> int:
        """How many erasures nothing older than their hearing is under way for, as the first so many."""
        under_way = self._under_way()
        while self._earlier and not self._earlier[0][1] & under_way:
            self._through = self._earlier.pop(0)[0]
        return self._through

    def _under_way(self) -> set[int]:
        return {work_id for desk in self._desks for work_id in desk.in_flight}
