"""API keys in a database: whoever reads it learns no secret."""

from sqlalchemy import select

from omni_etl.backends.database.engine import Database
from omni_etl.backends.database.keys import DatabaseKeys
from omni_etl.backends.database.tables import api_keys
from omni_etl.clock import ManualClock


async def test_the_table_holds_no_secret(control: Database, clock: ManualClock) -> None:
    """Only its digest."""
    secret = await DatabaseKeys(control, clock).create("console")
    async with control.reading() as connection:
        [row] = await connection.execute(select(api_keys))
    assert secret not in repr(row)
    assert secret.encode() not in row.secret_sha256
