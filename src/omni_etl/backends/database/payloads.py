"""Payloads: what messages carry, beside them, so that taking a lease does not rewrite 200 KB."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, insert, select

from omni_etl.backends.database.tables import queue_payloads
from omni_etl.envelope import SealedEnvelope

Envelopes = Mapping[int, SealedEnvelope]
"""By the id of the message."""


class Payloads:
    """A row each, which goes with its message."""

    async def prepare(self, queue_name: str, sent_at_ms: int) -> None:
        """Before a transaction that keeps."""

    def keep(self, connection: Connection, envelopes: Envelopes, *, queue_name: str, sent_at_ms: int) -> None:
        """In the transaction that made the messages."""
        del queue_name, sent_at_ms  # a row is a row
        connection.execute(
            insert(queue_payloads),
            [{"id": id_, "header": each.header, "payload": each.payload} for id_, each in envelopes.items()],
        )

    def find(
        self, connection: Connection, sent_at_ms: Mapping[int, int], *, queue_name: str
    ) -> dict[int, SealedEnvelope]:
        """Of these messages, each with the time of its send; without those that are gone."""
        del queue_name
        rows = connection.execute(select(queue_payloads).where(queue_payloads.c.id.in_(sent_at_ms)))
        return {row.id: SealedEnvelope(row.header, row.payload) for row in rows}

    async def tend(self) -> None:
        """Now and then."""
