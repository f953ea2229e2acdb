"""API keys in the database."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import RowMapping, insert, select, update

from omni_etl.backends.database.engine import Holder
from omni_etl.backends.database.tables import api_keys
from omni_etl.keys import ApiKey, digest, new_secret


class DatabaseKeys(Holder):
    """Keys by the SHA-256 of their secret; a key's id is the beginning of that digest."""

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


def _api_key(row: RowMapping) -> ApiKey:
    return ApiKey(
        id=row["id"],
        name=row["name"],
        created_at_ms=row["created_at_ms"],
        revoked=row["revoked_at_ms"] is not None,
    )
