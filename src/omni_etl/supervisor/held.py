"""Held: one lease in the parent's hands, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from omni_etl.envelope import Header
from omni_etl.queue import Lease
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
    def is_express(self) -> bool:
        """Whether it came through the express lane."""
        return self.only is None and self.header.lane == "express"

    def missing(self) -> frozenset[str]:
        """The services that have no mark yet."""
        return self.owed - self.marks.keys()
