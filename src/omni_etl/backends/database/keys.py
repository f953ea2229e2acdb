"""API keys in the database."""

from __future__ import annotations

import hmac
from collections.abc import Collection, Sequence

from sqlalchemy import RowMapping, insert, select, update

from omni_etl.backends.database.engine import Holder
from omni_etl.backends.database.tables import api_keys
from omni_etl.keys import ApiKey, digest, new_secret


class DatabaseKeys(Holder):
    """Keys by the SHA-256 of their secret; a key's id is the beginning of that digest."""

    async def create(
        self, name: str, *, grants: Collection[str] | None = None, subaccount_id: int | None = None
    ) -> str:
        """Make a key and answer its secret; names may repeat."""
        secret = new_secret()
        hashed = digest(secret)
        row = {
            "id": _id(hashed),
            "name": name,
            "secret_sha256": hashed,
            "created_at_ms": self._now_ms(),
            "subaccount_id": subaccount_id,
            "grants": None if grants is None else sorted(set(grants)),
        }
        async with self._database.writing() as connection:
            await connection.execute(insert(api_keys), row)
        return secret

    async def verify(self, secret: str) -> ApiKey | None:
        """The key of this secret, unless it was revoked; found by its id, and then compared in constant time."""
        hashed = digest(secret)
        mine = api_keys.c.id == _id(hashed), api_keys.c.revoked_at_ms.is_(None)
        async with self._database.reading() as connection:
            row = (await connection.execute(select(api_keys).where(*mine))).mappings().first()
        return _api_key(row) if row is not None and hmac.compare_digest(row["secret_sha256"], hashed) else None

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


def _id(hashed: bytes) -> str:
    return hashed.hex()[:12]


def _api_key(row: RowMapping) -> ApiKey:
    return ApiKey(
        id=row["id"],
        name=row["name"],
        created_at_ms=row["created_at_ms"],
        revoked=row["revoked_at_ms"] is not None,
        subaccount_id=row["subaccount_id"],
        grants=None if row["grants"] is None else frozenset(row["grants"]),
    )
