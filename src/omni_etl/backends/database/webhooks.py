"""Webhooks in the database."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Row, delete, select, update

from omni_etl.backends.database.engine import Holder
from omni_etl.backends.database.tables import webhooks
from omni_etl.webhook import TokenRequest, Webhook


class DatabaseWebhooks(Holder):
    """Subscriptions, as rows; secrets stand here in clear, so the file is as secret as they are."""

    async def all(self) -> Sequence[Webhook]:
        """In the order in which they were created."""
        statement = select(webhooks).order_by(webhooks.c.created_at_ms, webhooks.c.id)
        return await self._database.read(lambda connection: [_webhook(row) for row in connection.execute(statement)])

    async def find(self, webhook_id: str) -> Webhook | None:
        """One of them, or None."""
        statement = select(webhooks).where(webhooks.c.id == webhook_id)
        row = await self._database.read(lambda connection: connection.execute(statement).first())
        return None if row is None else _webhook(row)

    async def put(self, webhook: Webhook) -> None:
        """Create or replace; a replaced one keeps its place."""
        row = _row(webhook)
        statement = self._database.insert(webhooks)
        statement = statement.on_conflict_do_update(
            index_elements=[webhooks.c.id],
            set_={name: statement.excluded[name] for name in row if name != "id"},
        )
        async with self._database.writing() as connection:
            await connection.execute(statement, {**row, "created_at_ms": self._now_ms()})

    async def change(self, before: Webhook, after: Webhook) -> bool:
        """One UPDATE of the columns that differ; it makes no webhook anew that was deleted meanwhile."""
        assert before.id == after.id, "the same webhook"
        old, new = _row(before), _row(after)
        changed = {name: value for name, value in new.items() if value != old[name]}
        statement = update(webhooks).where(webhooks.c.id == before.id).values(changed or {"id": before.id})
        async with self._database.writing() as connection:
            return bool((await connection.execute(statement)).rowcount)

    async def delete(self, webhook_id: str) -> bool:
        """False where there was none."""
        async with self._database.writing() as connection:
            return bool((await connection.execute(delete(webhooks).where(webhooks.c.id == webhook_id))).rowcount)


def _row(webhook: Webhook) -> dict[str, object]:
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
    }


def _webhook(row: Row[tuple[object, ...]]) -> Webhook:
    return Webhook(
        id=row.id,
        name=row.name,
        target=row.target,
        events=frozenset(row.events),
        subaccount_id=row.subaccount_id,
        exception_subaccounts=frozenset(row.exception_subaccounts),
        active=row.active,
        custom_headers=row.custom_headers,
        auth_header=row.auth_header,
        auth_token=row.auth_token,
        token_request=None if row.token_url is None else TokenRequest(row.token_url, row.token_body),
        token_expires_at_ms=row.token_expires_at_ms,
    )
