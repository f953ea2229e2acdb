"""Held: one lease in the parent's hands, and what is known of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from omni_etl.envelope import Header
from omni_etl.queue import Lease, batches
from omni_etl.tracker import Mark


@dataclass(slots=True, eq=False)
class Held:
    """A lease, the services that still owe it here, and its history. `only` names the service of a siding's lease."""

    lease: Lease
    header: Header
    deadline: float  # monotonic
    received_at: float  # monotonic
    owed: frozenset[str]
    only: str | None = None
    marks: dict[str, Mark] = field(default_factory=dict)
    in_flight: set[str] = field(default_factory=set)
    failures: dict[str, int] = field(default_factory=dict)
    suspects: set[str] = field(default_factory=set)  # services whose child died over it while it had company
    marked_at: float = 0.0  # monotonic; when the last mark came
    settling: bool = False

    @property
    def key(self) -> str:
        """The envelope's name."""
        return self.header.key

    @property
    def tracked_as(self) -> str:
        """The tracker's name for the envelope."""
        return self.header.tracked_as

    @property
    def is_express(self) -> bool:
        """Whether it came through the express lane."""
        return self.only is None and self.header.lane == "express"

    def missing(self) -> frozenset[str]:
        """The services that have no mark yet."""
        return self.owed - self.marks.keys()


def by_call(held: Iterable[Held], count_max: int) -> Iterator[Sequence[Held]]:
    """As many together as one call of the queue takes: at most `count_max`, and all of one queue."""
    by_queue: dict[str, list[Held]] = {}
    for each in held:
        by_queue.setdefault(each.lease.queue_name, []).append(each)
    for of_one_queue in by_queue.values():
        yield from batches(of_one_queue, count_max)
