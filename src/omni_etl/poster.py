"""Poster: POST bytes to an address that an outsider named, within limits; the contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one attempt: a status, or the reason why none came."""

    status: int | None
    reason: str  # one line, safe to show: "200", "connect: refused", "timeout after 10 s"
    retry_after_seconds: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    body: bytes = field(default=b"", compare=False, repr=False)  # its beginning, where it is long

    @property
    def ok(self) -> bool:
        """Any 2xx is success, as at SparkPost."""
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004 HTTP's successes


class Poster(Protocol):
    """Never raises for what a customer's server does; follows no redirect; reads a bounded answer."""

    async def open(self) -> None:
        """Make the connection pool."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...

    async def post(self, target: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """One attempt within a total wall time. Refuses targets that do not resolve to an allowed address."""
        ...
