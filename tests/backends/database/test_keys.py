"""API keys in a database: whoever reads it learns no secret."""

from sqlalchemy import select, update

from omni_etl.backends.database.engine import Database
from omni_etl.backends.database.keys import DatabaseKeys
from omni_etl.backends.database.tables import api_keys
from omni_etl.clock import ManualClock
from omni_etl.keys import digest


async def test_the_table_holds_no_secret(control: Database, clock: ManualClock) -> None:
    """Only its digest."""
    secret = await DatabaseKeys(control, clock).create("console")
    async with control.reading() as connection:
        [row] = await connection.execute(select(api_keys))
    assert secret not in repr(row)
    assert secret.encode() not in row.secret_sha256


async def test_a_secret_that_begins_alike_opens_nothing(control: Database, clock: ManualClock) -> None:
    """A key's id is the beginning of its digest; only the whole of it opens."""
    keys = DatabaseKeys(control, clock)
    secret = await keys.create("console")
    hashed = digest(secret)
    async with control.writing() as connection:
        await connection.execute(update(api_keys).values(secret_sha256=hashed[:-1] + bytes([hashed[-1] ^ 1])))
    assert await keys.verify(secret) is None
