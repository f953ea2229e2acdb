"""API keys in the database."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import RowMapping, insert, select, update

from omni_etl.backends.database.engine import Database
from omni_etl.backends.database.tables import api_keys
from omni_etl.clock import Clock
from omni_etl.keys import ApiKey, digest, new_secret


class DatabaseKeys:
    """Keys by the SHA-256 of their secret; a key's id is the beginning of that digest."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def open(self) -> None:
        """Connect and migrate."""
        await self._database.open(self)

    async def close(self) -> None:
        """Give back connections."""
        await self._database.close(self)

    async def create(self, name: str) -> str:
        """Make a key and answer its secret; names may repeat."""
        secret = new_secret()
        hashed = digest(secret)
        row = {"id": hashed.hex()[:12], "name": name, "secret_sha256": hashed, "created_at_ms": self._now_ms()}
        async with self._database.writing() as connection:
            await connection.execute(insert(api_keys), row)
        return secret

    async def verify(self, secret: str) -> ApiKey | None:
        """The key of this secret, unless it was revoked."""
        mine = api_keys.c.secret_sha256 == digest(secret), api_keys.c.revoked_at_ms.is_(None)
        async with self._database.reading() as connection:
            row = (await connection.execute(select(api_keys).where(*mine))).mappings().first()
        return None if row is None else _api_key(row)

    async def all(self) -> Sequence[ApiKey]:
        """Oldest first."""
        statement = select(api_keys).order_by(api_keys.c.created_at_ms, api_keys.c.id)
        async with self._database.reading() as connection:
            return [_api_key(row) for row in (await connection.execute(statement)).mappings()]

    async def revoke(self, key_id: str) -> bool:
        """False where it was unknown or revoked already."""
        stands = api_keys.c.id == key_id, api_keys.c.revoked_at_ms.is_(None)
        async with self._database.writing() as connection:
            statement = update(api_keys).where(*stands).values(revoked_at_ms=self._now_ms())
            return bool((await connection.execute(statement)).rowcount)

    def _now_ms(self) -> int:
        return int(self._clock.now() * 1000)


def _api_key(row: RowMapping) -> ApiKey:
    return ApiKey(
        id=row["id"],
        name=row["name"],
        created_at_ms=row["created_at_ms"],
        revoked=row["revoked_at_ms"] is not None,
    )
