"""Migration control_0004: entries of an older program keep what they say, and both spellings of a domain become one."""

from typing import Any

from sqlalchemy import text
from tests.backends.database.conftest import older, opened

from omni_etl.backends.database.engine import Database, open_database
from omni_etl.backends.database.suppression_list import DatabaseSuppressionList
from omni_etl.clock import ManualClock
from omni_etl.suppression_list import Question

OLD = """
INSERT INTO suppressions (recipient, subaccount_id, type, suppressed, said_at_ms, said_id, source, description, created_at_ms)
VALUES (:recipient, :subaccount_id, 'transactional', :suppressed, :said_at_ms, 'x', 'Bounce Rule', :description, 7)
"""


def row(recipient: str, said_at_ms: int, *, subaccount_id: int = 0, suppressed: bool = True) -> dict[str, Any]:
    """As it was kept."""
    return {
        "recipient": recipient,
        "subaccount_id": subaccount_id,
        "suppressed": suppressed,
        "said_at_ms": said_at_ms,
        "description": f"{recipient} {said_at_ms}",
    }


async def test_an_older_list_is_kept(database_url: str, clock: ManualClock) -> None:
    """Entries and tombstones, with numbers in the order in which they were said; of two spellings the later saying stands."""
    async with older(database_url, "control", "control_0003") as connection:
        rows = [
            *(
                row("ann@example.com", 30),
                row("bob@example.com", 20, subaccount_id=7),
                row("cid@example.com", 10, suppressed=False),
            ),
            *(row("dan@bücher.example", 50), row("dan@xn--bcher-kva.example", 40), row("eve@BÜ_\u0308.example", 5)),
        ]
        await connection.execute(text(OLD), rows)
    async with opened(open_database(database_url, "control", clock)) as database:
        await assert_is_whole(database, clock)


async def assert_is_whole(database: Database, clock: ManualClock) -> None:
    """As `test_an_older_list_is_kept` says."""
    listed = DatabaseSuppressionList(database, clock)
    told = await listed.changes(0, count_max=10)
    assert [(each.number, each.saying.recipient, each.saying.suppressed) for each in told.changes] == [
        (1, "eve@bü_\u0308.example", True),
        (2, "cid@example.com", False),
        (3, "bob@example.com", True),
        (4, "ann@example.com", True),
        (5, "dan@xn--bcher-kva.example", True),
    ]
    assert await listed.last_change() == 5
    [dan] = await listed.check("dan@BÜCHER.example")
    assert (dan.description, dan.updated_at_ms, dan.created_at_ms) == ("dan@bücher.example 50", 50, 7)
    assert await listed.count(Question(subaccount_id=7, list_id="")) == 1
