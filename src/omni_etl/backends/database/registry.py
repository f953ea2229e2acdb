"""The registry in the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import select, update

from omni_etl.backends.database.engine import Database, Holder
from omni_etl.backends.database.pruning import Pruning
from omni_etl.backends.database.tables import dead_letter_reasons, fleet_words, role_reports, service_registrations
from omni_etl.clock import Clock
from omni_etl.registry import REGISTRATION_SECONDS, DeadLetter, RegisteredService, RoleReport

HOUR_MS: Final = 3_600_000
REPORTS_KEPT_MS: Final = 24 * HOUR_MS
REASONS_KEPT_MS: Final = 60 * 24 * HOUR_MS  # four times what a queue keeps of dead letters
REASONS_SHOWN_MAX: Final = 1_000


class DatabaseRegistry(Holder):
    """What the fleet agrees on; times are this process's clock."""

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__(database, clock)
        self._pruning = Pruning(database, clock)

    async def register(self, names: Sequence[str]) -> None:
        """A known name keeps its time, others are owed what is cut a grace from now on; the first ever are owed everything.

        A hose may have cut envelopes before the first parent came. Nobody but the first services can be meant by them.
        """
        if not names:
            return
        statement = self._database.insert(service_registrations)
        statement = statement.on_conflict_do_update(
            index_elements=[service_registrations.c.name],
            set_={"registered_at_ms": statement.excluded.registered_at_ms, "retired": False},
            where=service_registrations.c.retired,
        )
        async with self._database.writing() as connection:
            is_first = (await connection.execute(select(service_registrations.c.name).limit(1))).first() is None
            since_ms = 0 if is_first else self._now_ms() + int(REGISTRATION_SECONDS * 1000)
            rows = [{"name": name, "registered_at_ms": since_ms, "retired": False} for name in sorted(names)]
            await connection.execute(statement, rows)

    async def retire(self, name: str) -> bool:
        """False where it was not registered, or retired already."""
        statement = update(service_registrations).values(retired=True)
        stands = service_registrations.c.name == name, ~service_registrations.c.retired
        async with self._database.writing() as connection:
            return bool((await connection.execute(statement.where(*stands))).rowcount)

    async def services(self) -> list[RegisteredService]:
        """By name."""
        statement = select(service_registrations).order_by(service_registrations.c.name)
        async with self._database.reading() as connection:
            return [RegisteredService(**row) for row in (await connection.execute(statement)).mappings()]

    async def epoch(self) -> str | None:
        """The random word that tracker keys carry."""
        statement = select(fleet_words.c.value).where(fleet_words.c.name == "epoch")
        async with self._database.reading() as connection:
            return (await connection.execute(statement)).scalar()

    async def set_epoch(self, epoch: str) -> None:
        """The last word stands."""
        statement = self._database.insert(fleet_words)
        statement = statement.on_conflict_do_update(
            index_elements=[fleet_words.c.name], set_={"value": statement.excluded.value}
        )
        async with self._database.writing() as connection:
            await connection.execute(statement, {"name": "epoch", "value": epoch})

    async def report(self, role: str, instance: str, state: dict[str, Any]) -> None:
        """Replaces this process's last word; words older than a day go."""
        statement = self._database.insert(role_reports)
        statement = statement.on_conflict_do_update(
            index_elements=[role_reports.c.role, role_reports.c.instance],
            set_={"seen_at_ms": statement.excluded.seen_at_ms, "state": statement.excluded.state},
        )
        now_ms = self._now_ms()
        row = {"role": role, "instance": instance, "seen_at_ms": now_ms, "state": state}
        async with self._database.writing() as connection:
            await connection.execute(statement, row)
        await self._pruning.run(role_reports, role_reports.c.seen_at_ms < now_ms - REPORTS_KEPT_MS)

    async def reports(self) -> list[RoleReport]:
        """Newest first."""
        heard = role_reports.c.seen_at_ms >= self._now_ms() - HOUR_MS
        statement = (
            select(role_reports).where(heard).order_by(role_reports.c.seen_at_ms.desc(), role_reports.c.instance)
        )
        async with self._database.reading() as connection:
            return [RoleReport(**row) for row in (await connection.execute(statement)).mappings()]

    async def bury(self, service: str, key: str, reason: str) -> None:
        """The first reason stands, until the letter was put back or discarded."""
        now_ms = self._now_ms()
        row = {"service": service, "key": key, "reason": reason, "died_at_ms": now_ms}
        statement = self._database.insert(dead_letter_reasons)
        statement = statement.on_conflict_do_update(
            index_elements=[dead_letter_reasons.c.service, dead_letter_reasons.c.key],
            set_={
                **{name: statement.excluded[name] for name in ("reason", "died_at_ms")},
                **dict.fromkeys(("left_how", "left_at_ms", "event_count")),
            },
            where=dead_letter_reasons.c.left_how.is_not(None),
        )
        async with self._database.writing() as connection:
            await connection.execute(statement, row)
        await self._pruning.run(dead_letter_reasons, dead_letter_reasons.c.died_at_ms < now_ms - REASONS_KEPT_MS)

    async def dead_letters(self) -> list[DeadLetter]:
        """Newest first."""
        table = dead_letter_reasons.c
        shown = select(table.service, table.key, table.reason, table.died_at_ms).where(table.left_how.is_(None))
        statement = shown.order_by(table.died_at_ms.desc()).limit(REASONS_SHOWN_MAX)
        async with self._database.reading() as connection:
            return [DeadLetter(**row) for row in (await connection.execute(statement)).mappings()]
