"""Webhooks in the database; their secrets lie there sealed (`secret_box`), each for its own row and column."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final

import orjson
from sqlalchemy import Connection, Row, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from omni_etl.backends.database.engine import Database, Holder
from omni_etl.backends.database.secret_box import SETTING, SecretBox, name_of_key
from omni_etl.backends.database.tables import webhooks, webhooks_version
from omni_etl.clock import Clock
from omni_etl.errors import SettingsError
from omni_etl.webhook import FormerSecret, TokenRequest, Webhook, new_signing_secret

SECRETS: Final = ("auth_header", "auth_token", "token_body", "signing")
ROWS_MAX: Final = 500  # of one transaction, see `engine`
KNOWN_SECONDS_MAX: Final = (
    1.0  # for changes by an older program, which moves no version, and for a database that was restored
)


class DatabaseWebhooks(Holder):
    """Subscriptions, as rows."""

    def __init__(self, database: Database, clock: Clock, box: SecretBox) -> None:
        super().__init__(database, clock)
        self._box = box
        self._known: dict[str, tuple[Row[Any], Webhook]] = {}  # of the last list, which is wanted for each envelope
        self._list: Sequence[Webhook] = ()
        self._version: int | None = None  # of that list
        self._read_at = -math.inf

    async def open(self) -> None:
        """Connect and migrate; what an older program or another key wrote is sealed with ours, and gets what signs.

        Raises:
            SettingsError: also when there are secrets that none of our keys sealed.

        """
        await super().open()
        while stale := await self._stale():
            await self._seal_again(stale[:ROWS_MAX])

    async def all(self) -> Sequence[Webhook]:
        """In the order in which they were created. As long as no version moved the list is the one of before, the same object."""
        began = self._clock.monotonic()
        if self._version is not None and began < self._read_at + KNOWN_SECONDS_MAX:
            rows = await self._database.glance(VERSION)
            if [tuple(each) for each in rows] == [(self._version,)]:
                return self._list
        version, known = await self._database.read(self._read)
        webhooks = [webhook for _, webhook in known.values()]
        if version != self._version or webhooks != self._list:
            self._list = webhooks
        self._known, self._version, self._read_at = known, version, began
        return self._list

    def _read(self, connection: Connection) -> tuple[int, dict[str, tuple[Row[Any], Webhook]]]:
        """Version and rows as they were in one moment; perhaps in another thread."""
        version: int = connection.execute(VERSION).scalar_one()
        known: dict[str, tuple[Row[Any], Webhook]] = {}
        for row in connection.execute(ALL):
            before = self._known.get(row.id)
            known[row.id] = before if before is not None and before[0] == row else (row, self._webhook(row))
        return version, known

    async def find(self, webhook_id: str) -> Webhook | None:
        """One of them, or None."""
        statement = select(webhooks).where(webhooks.c.id == webhook_id)
        row = await self._database.read(lambda connection: connection.execute(statement).first())
        return None if row is None else self._webhook(row)

    async def put(self, webhook: Webhook) -> None:
        """Create or replace; a replaced one keeps its place."""
        row = self._sealed(webhook.id, _row(webhook))
        statement = self._database.insert(webhooks)
        statement = statement.on_conflict_do_update(
            index_elements=[webhooks.c.id],
            set_={name: statement.excluded[name] for name in row if name != "id"},
        )
        async with self._changing() as connection:
            await connection.execute(statement, {**row, "created_at_ms": self._now_ms()})

    async def change(self, before: Webhook, after: Webhook) -> bool:
        """One UPDATE of the columns that differ; it makes no webhook anew that was deleted meanwhile."""
        assert before.id == after.id, "the same webhook"
        old, new = _row(before), _row(after)
        changed = self._sealed(after.id, {name: value for name, value in new.items() if value != old[name]})
        statement = update(webhooks).where(webhooks.c.id == before.id).values(changed or {"id": before.id})
        async with self._changing() as connection:
            return bool((await connection.execute(statement)).rowcount)

    async def rotate(self, webhook_id: str, *, overlap_seconds: int) -> Webhook | None:
        """In one transaction that holds the row: of two at once the second makes the first's secret a former one."""
        this = webhooks.c.id == webhook_id
        async with self._changing() as connection:
            row = (await connection.execute(select(webhooks).where(this).with_for_update())).first()
            if row is None:
                return None
            before = self._webhook(row)
            after = before.rotated(new_signing_secret(), now_ms=self._now_ms(), overlap_ms=overlap_seconds * 1000)
            signing = self._sealed(webhook_id, {"signing": _signing(after)})
            await connection.execute(update(webhooks).where(this).values(signing))
        return after

    async def delete(self, webhook_id: str) -> bool:
        """False where there was none."""
        async with self._changing() as connection:
            return bool((await connection.execute(delete(webhooks).where(webhooks.c.id == webhook_id))).rowcount)

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that changes webhooks: whoever reads the list with it reads the new version with it."""
        async with self._database.writing() as connection:
            yield connection
            await connection.execute(MOVE)

    async def _stale(self) -> list[str]:
        statement = select(webhooks.c.id, *(webhooks.c[name] for name in SECRETS))
        rows = await self._database.read(lambda connection: connection.execute(statement).all())
        return [row.id for row in rows if self._is_stale(row)]

    def _is_stale(self, row: Row[Any]) -> bool:
        """Raises SettingsError where a secret cannot be opened."""
        kept = [value for value in (getattr(row, name) for name in SECRETS) if isinstance(value, str)]
        for each in kept:
            if not self._box.holds(each):
                found = f"not the key {name_of_key(each)}, with which secrets in {self._database.place} are sealed"
                raise SettingsError(SETTING, found, "Give that key too, behind a comma; or the file `secrets.key`.")
        return row.signing is None or isinstance(row.token_body, dict) or not all(map(self._box.is_first, kept))

    async def _seal_again(self, ids: Sequence[str]) -> None:
        statement = select(webhooks).where(webhooks.c.id.in_(ids)).with_for_update()
        async with self._changing() as connection:
            for row in (await connection.execute(statement)).all():
                webhook = self._webhook(row)
                if webhook.signing_secret is None:
                    webhook = replace(webhook, signing_secret=new_signing_secret())
                secrets = {name: value for name, value in _row(webhook).items() if name in SECRETS}
                sealed = self._sealed(webhook.id, secrets)
                await connection.execute(update(webhooks).where(webhooks.c.id == webhook.id).values(sealed))

    def _sealed(self, webhook_id: str, row: Mapping[str, object]) -> dict[str, object]:
        sealed = dict(row)
        for name in SECRETS:
            value = sealed.get(name)
            if value is not None:
                text = value if isinstance(value, str) else orjson.dumps(value).decode()
                sealed[name] = self._box.seal(text, place=_place(name, webhook_id))
        return sealed

    def _opened(self, row: Row[Any], name: str) -> str | None:
        kept = getattr(row, name)
        return None if kept is None else self._box.open(kept, place=_place(name, row.id))

    def _webhook(self, row: Row[Any]) -> Webhook:
        signing = self._opened(row, "signing")
        current, former = (None, []) if signing is None else orjson.loads(signing)
        return Webhook(
            id=row.id,
            name=row.name,
            target=row.target,
            events=frozenset(row.events),
            subaccount_id=row.subaccount_id,
            exception_subaccounts=frozenset(row.exception_subaccounts),
            active=row.active,
            custom_headers=row.custom_headers,
            auth_header=self._opened(row, "auth_header"),
            auth_token=self._opened(row, "auth_token"),
            token_request=self._token_request(row),
            token_expires_at_ms=row.token_expires_at_ms,
            retry_schedule=row.retry_schedule,
            batch_events_max=row.batch_events_max,
            signing_secret=current,
            former_secrets=tuple(FormerSecret(text, until_ms) for text, until_ms in former),
        )

    def _token_request(self, row: Row[Any]) -> TokenRequest | None:
        if row.token_url is None:
            return None
        if isinstance(row.token_body, dict):  # from before there was a box
            return TokenRequest(row.token_url, row.token_body)
        return TokenRequest(row.token_url, orjson.loads(self._opened(row, "token_body") or "{}"))


# Made once: to build a statement costs more than to run it.
VERSION: Final = select(webhooks_version.c.version)
ALL: Final = select(webhooks).order_by(webhooks.c.created_at_ms, webhooks.c.id)
MOVE: Final = update(webhooks_version).values(version=webhooks_version.c.version + 1)


def _place(name: str, webhook_id: str) -> str:
    """What a sealed text is bound to."""
    return f"{name} of webhook {webhook_id}"


def _row(webhook: Webhook) -> dict[str, object]:
    """Nothing of it sealed yet, so that two can be compared."""
    request = webhook.token_request
    return {
        "id": webhook.id,
        "name": webhook.name,
        "target": webhook.target,
        "events": sorted(webhook.events),
        "subaccount_id": webhook.subaccount_id,
        "exception_subaccounts": sorted(webhook.exception_subaccounts),
        "active": webhook.active,
        "custom_headers": dict(webhook.custom_headers),
        "auth_header": webhook.auth_header,
        "auth_token": webhook.auth_token,
        "token_url": None if request is None else request.url,
        "token_body": None if request is None else dict(request.body),
        "token_expires_at_ms": webhook.token_expires_at_ms,
        "retry_schedule": webhook.retry_schedule,
        "batch_events_max": webhook.batch_events_max,
        "signing": _signing(webhook),
    }


def _signing(webhook: Webhook) -> list[object] | None:
    """The current secret, and the former ones."""
    if webhook.signing_secret is None and not webhook.former_secrets:
        return None
    return [webhook.signing_secret, [[each.text, each.until_ms] for each in webhook.former_secrets]]
