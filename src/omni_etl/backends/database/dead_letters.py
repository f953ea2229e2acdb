"""What the database knows of dead letters; `registry.bury` writes the rows, and prunes them after 60 days."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select

from omni_etl.backends.database.engine import Holder
from omni_etl.backends.database.tables import dead_letter_reasons
from omni_etl.dead_letters import Burial, Left, ReasonCount


class DatabaseDeadLetters(Holder):
    """Beside the registry, in its table."""

    async def counts(self) -> Sequence[ReasonCount]:
        """Grouped by the database."""
        table = dead_letter_reasons.c
        count = func.count()
        statement = (
            select(table.service, table.reason, count, func.min(table.died_at_ms))
            .where(table.left_how.is_(None))
            .group_by(table.service, table.reason)
            .order_by(table.service, count.desc(), table.reason)
        )
        rows = await self._database.read(lambda connection: connection.execute(statement).all())
        return [ReasonCount(*row) for row in rows]

    async def find(self, service: str, key: str) -> Burial | None:
        """By the primary key."""
        table = dead_letter_reasons.c
        statement = select(dead_letter_reasons).where(table.service == service, table.key == key)
        row = await self._database.read(lambda connection: connection.execute(statement).mappings().first())
        return None if row is None else Burial(**row)

    async def services_of(self, key: str) -> Sequence[str]:
        """A scan: these rows are few."""
        table = dead_letter_reasons.c
        statement = select(table.service).where(table.key == key, table.left_how.is_(None)).order_by(table.service)
        return await self._database.read(lambda connection: connection.execute(statement).scalars().all())

    async def leave(self, service: str, key: str, how: Left, *, event_count: int | None = None) -> None:
        """The last word stands."""
        now_ms = self._now_ms()
        gone = {"left_how": how, "left_at_ms": now_ms, "event_count": event_count}
        statement = self._database.insert(dead_letter_reasons)
        statement = statement.on_conflict_do_update(
            index_elements=[dead_letter_reasons.c.service, dead_letter_reasons.c.key], set_=gone
        )
        row = {"service": service, "key": key, "reason": "", "died_at_ms": now_ms, **gone}
        await self._database.write(lambda connection: connection.execute(statement, row))

    async def since(self, died_at_ms: int) -> Sequence[Burial]:
        """Along the index of times."""
        table = dead_letter_reasons.c
        statement = select(dead_letter_reasons).where(table.died_at_ms >= died_at_ms).order_by(table.died_at_ms)
        rows = await self._database.read(lambda connection: connection.execute(statement).mappings().all())
        return [Burial(**row) for row in rows]
