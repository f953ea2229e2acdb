"""API keys in a database: whoever reads the file learns no secret."""

from omni_etl.backends.database.engine import Database
from omni_etl.backends.database.keys import DatabaseKeys
from omni_etl.clock import ManualClock


async def test_the_file_holds_no_secret(control: Database, clock: ManualClock) -> None:
    """Only its digest."""
    secret = await DatabaseKeys(control, clock).create("console")
    for path in control.path.parent.iterdir():
        assert secret.encode() not in path.read_bytes()
