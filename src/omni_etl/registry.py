"""Registry: what the fleet agrees on, in the database; the contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

REGISTRATION_SECONDS: Final = 10.0  # until a new service is owed: several times what a parent takes to hear of it
ERASURES: Final = "erasures"  # in a parent's report: how many erasures hold for everything that it has under way
CLOCKS_APART_SECONDS: Final = 3.0  # between machines of a fleet, at most; and less than the above less a hearing


@dataclass(frozen=True, slots=True)
class RegisteredService:
    """A service that envelopes cut after `registered_at_ms` owe, until someone retires it."""

    name: str
    registered_at_ms: int
    retired: bool


@dataclass(frozen=True, slots=True)
class RoleReport:
    """What a running process last said of itself."""

    role: str  # hose, run, api, store
    instance: str  # unique per process
    seen_at_ms: int
    state: dict[str, Any]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Why a service gave an envelope up."""

    service: str
    key: str
    reason: str
    died_at_ms: int


class Registry(Protocol):
    """Every method raises `UnavailableError` when the database is away."""

    async def open(self) -> None:
        """Connect and migrate.

        Raises:
            SettingsError: rejected credentials, or a schema newer than this program.

        """
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...

    async def register(self, names: Sequence[str]) -> None:
        """Envelopes cut `REGISTRATION_SECONDS` from now on owe these services: until then every parent has heard of them.

        A name that is known keeps its time, a retired one returns. The first that were ever registered are owed everything: a hose may have cut before the first parent came.
        """
        ...

    async def retire(self, name: str) -> bool:
        """Nothing owes this service any more; False where it was not registered."""
        ...

    async def services(self) -> list[RegisteredService]:
        """All that were ever registered."""
        ...

    async def epoch(self) -> str | None:
        """The random word that tracker keys carry, or None."""
        ...

    async def set_epoch(self, epoch: str) -> None:
        """Replace it."""
        ...

    async def report(self, role: str, instance: str, state: dict[str, Any]) -> None:
        """Say that this process is alive, and how it is."""
        ...

    async def reports(self) -> list[RoleReport]:
        """The last word of each process, newest first; those silent for an hour are left out."""
        ...

    async def bury(self, service: str, key: str, reason: str) -> None:
        """Keep the reason of a dead letter; idempotent by (service, key) until it leaves (`dead_letters.py`)."""
        ...

    async def dead_letters(self) -> list[DeadLetter]:
        """Those that are in, of every service, newest first, at most 1,000."""
        ...


def owed(services: Sequence[RegisteredService], cut_at_ms: int) -> frozenset[str]:
    """Which services an envelope cut at this time owes."""
    return frozenset(each.name for each in services if not each.retired and each.registered_at_ms <= cut_at_ms)


def known_until_ms(heard_at: float) -> int:
    """Up to which cut a parent that heard the registry at this time (seconds, wall clock) knows what is owed."""
    return int((heard_at + REGISTRATION_SECONDS - CLOCKS_APART_SECONDS) * 1000)
