"""Erasures in the database: a row each, for ever; the key of the hashes is a word of the fleet's."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from omni_etl.backends.database.engine import Holder
from omni_etl.backends.database.tables import erasures, fleet_words
from omni_etl.erasure import SECRET_BYTES, Erasure, Known, Receipt, name_of

WORD: Final = "erasure_key"  # in `fleet_words`
COUNTS: Final = ("events", "reasons", "batches_rewritten", "batches_dropped", "batch_events", "suppressions")


class DatabaseErasures(Holder):
    """Rows keep name and time as they were begun, so how many there are says whether there are new ones."""

    async def known(self, *, beyond: int = 0) -> Known | None:
        """One count, mostly."""

        def work(connection: Connection) -> Known | None:
            if connection.execute(COUNT).scalar_one() <= beyond:
                return None
            rows = connection.execute(NAMES)
            return Known(_secret(connection), tuple(Erasure(bytes(row.name), row.at_ms) for row in rows))

        return await self._database.read(work)

    async def begin(self, recipient: str, *, with_suppressions: bool) -> Receipt:
        """One transaction; the first of all makes the key."""
        now_ms = self._now_ms()
        new_secret, new_id = secrets.token_hex(SECRET_BYTES), secrets.token_hex(8)
        keep = self._database.insert(fleet_words).on_conflict_do_nothing()

        def work(connection: Connection) -> Receipt:
            connection.execute(keep, {"name": WORD, "value": new_secret})
            name = name_of(recipient, _secret(connection))
            if (cut_off := connection.execute(CUT_OFF, {"of": name}).first()) is not None:
                connection.execute(WIDEN, {"of": cut_off.id, "too": cut_off.with_suppressions or with_suppressions})
                return _receipt(connection.execute(ONE, {"of": cut_off.id}).one())
            row = {"id": new_id, "name": name, "at_ms": now_ms, "with_suppressions": with_suppressions, "counts": {}}
            connection.execute(insert(erasures), row)
            return _receipt(connection.execute(ONE, {"of": new_id}).one())

        return await self._database.write(work)

    async def note(self, receipt: Receipt) -> None:
        """What was counted, as it grew."""
        counts = {name: getattr(receipt, name) for name in COUNTS}
        row = {"of": receipt.id, "counted": counts, "finished": receipt.finished_at_ms}
        await self._database.write(lambda connection: connection.execute(NOTE, row))

    async def receipts(self) -> Sequence[Receipt]:
        """All of them, newest first."""
        newest_first = select(erasures).order_by(erasures.c.at_ms.desc(), erasures.c.id)
        rows = await self._database.read(lambda connection: connection.execute(newest_first).all())
        return [_receipt(row) for row in rows]


def _secret(connection: Connection) -> bytes:
    return bytes.fromhex(connection.execute(SECRET).scalar_one())


def _receipt(row: Row[Any]) -> Receipt:
    return Receipt(
        id=row.id,
        at_ms=row.at_ms,
        with_suppressions=row.with_suppressions,
        finished_at_ms=row.finished_at_ms,
        **{name: row.counts.get(name, 0) for name in COUNTS},
    )


COUNT: Final = select(func.count()).select_from(erasures)
NAMES: Final = select(erasures.c.name, erasures.c.at_ms)
SECRET: Final = select(fleet_words.c.value).where(fleet_words.c.name == WORD)
ONE: Final = select(erasures).where(erasures.c.id == bindparam("of"))
CUT_OFF: Final = (
    select(erasures).where(erasures.c.name == bindparam("of"), erasures.c.finished_at_ms.is_(None)).limit(1)
)
WIDEN: Final = update(erasures).where(erasures.c.id == bindparam("of")).values(with_suppressions=bindparam("too"))
NOTE: Final = (
    update(erasures)
    .where(erasures.c.id == bindparam("of"))
    .values(counts=bindparam("counted", type_=erasures.c.counts.type), finished_at_ms=bindparam("finished"))
)
