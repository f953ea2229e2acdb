"""The suppression list's contract: the greatest saying stands, and an envelope speaks once."""

import random
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.builders import envelope, line

from omni_etl.backends.database import DatabaseSuppressionList, open_database
from omni_etl.clock import ManualClock
from omni_etl.envelope import Envelope
from omni_etl.errors import IdConflictError
from omni_etl.suppression_list import Entry, Saying, SuppressionList

BOUNCE = Saying(
    subaccount_id=0,
    recipient="ann@example.com",
    type="transactional",
    suppressed=True,
    said_at_ms=1_000,
    said_id="b",
    source="Bounce Rule",
    description="550 5.1.1 unknown",
)


@pytest.fixture
async def suppressed(database_url: str, clock: ManualClock) -> AsyncIterator[SuppressionList]:
    """An empty, open list."""
    subject = DatabaseSuppressionList(open_database(database_url, "control", clock), clock)
    await subject.open()
    yield subject
    await subject.close()


def numbered(seq: int) -> Envelope:
    """Some envelope under this number."""
    return envelope([line("bounce")], seq=seq, lane="express")


def conflicting(seq: int) -> Envelope:
    """Another envelope under the same number."""
    return envelope([line("open")], seq=seq, lane="express")


async def test_a_saying_becomes_an_entry(suppressed: SuppressionList) -> None:
    """With who said it, why and when."""
    assert await suppressed.apply(numbered(1), [BOUNCE])
    assert await suppressed.check("ann@example.com") == [
        Entry(0, "ann@example.com", "transactional", "Bounce Rule", "550 5.1.1 unknown", 1_000, 1_000)
    ]
    assert await suppressed.count() == 1


async def test_an_address_is_found_however_it_is_spelled(suppressed: SuppressionList) -> None:
    """Trimmed and in lower case; nobody else is suppressed by it."""
    await suppressed.say([BOUNCE])
    assert len(await suppressed.check(" Ann@Example.COM ")) == 1
    assert await suppressed.check("bob@example.com") == []


async def test_subaccounts_and_types_have_entries_of_their_own(suppressed: SuppressionList) -> None:
    """Asked for one subaccount, or for all."""
    await suppressed.say([BOUNCE, replace(BOUNCE, type="non_transactional"), replace(BOUNCE, subaccount_id=5)])
    found = await suppressed.check("ann@example.com")
    assert [(each.subaccount_id, each.type) for each in found] == [
        (0, "non_transactional"),
        (0, "transactional"),
        (5, "transactional"),
    ]
    assert [each.subaccount_id for each in await suppressed.check("ann@example.com", 5)] == [5]
    assert await suppressed.check("ann@example.com", 6) == []


async def test_an_envelope_speaks_once(suppressed: SuppressionList) -> None:
    """Worked on again it is known, even where its words would change something now."""
    assert await suppressed.apply(numbered(1), [BOUNCE])
    await suppressed.say([replace(BOUNCE, suppressed=False, said_at_ms=2_000)])
    assert not await suppressed.apply(numbered(1), [replace(BOUNCE, said_at_ms=3_000)])
    assert await suppressed.check("ann@example.com") == []


async def test_the_same_key_with_another_checksum_is_a_conflict(suppressed: SuppressionList) -> None:
    """Also where the second says nothing; and none of its words is heard."""
    await suppressed.apply(numbered(1), [BOUNCE])
    other = conflicting(1)
    with pytest.raises(IdConflictError, match=other.key):
        await suppressed.apply(other, [replace(BOUNCE, recipient="bob@example.com")])
    with pytest.raises(IdConflictError):
        await suppressed.apply(other, [])
    assert await suppressed.check("bob@example.com") == []


async def test_an_envelope_that_says_nothing_is_done(suppressed: SuppressionList) -> None:
    """As often as it comes."""
    assert await suppressed.apply(numbered(1), [])
    assert await suppressed.apply(numbered(1), [])


async def test_the_greatest_saying_stands_whatever_the_order(suppressed: SuppressionList) -> None:
    """By time, then by id; within one envelope and over many, shuffled fifty times."""
    rng = random.Random(7)
    sayings = [
        replace(BOUNCE, said_at_ms=at, said_id=said_id, suppressed=at % 2 == 0, description=f"{at}{said_id}")
        for at in range(5)
        for said_id in ("a", "B", "c")
    ]
    for round_number in range(50):
        shuffled = [
            replace(each, recipient=f"{round_number}@example.com") for each in rng.sample(sayings, len(sayings))
        ]
        cut = rng.randrange(len(shuffled))
        await suppressed.apply(numbered(2 * round_number), shuffled[:cut])
        await suppressed.apply(numbered(2 * round_number + 1), shuffled[cut:])
        [entry] = await suppressed.check(f"{round_number}@example.com")
        assert entry.description == "4c"


async def test_a_deletion_is_a_saying(suppressed: SuppressionList) -> None:
    """What was said before it stays deleted when it arrives late; what is said after it suppresses anew."""
    await suppressed.say([BOUNCE])
    await suppressed.say([replace(BOUNCE, suppressed=False, said_at_ms=5_000)])
    assert await suppressed.check("ann@example.com") == []
    assert await suppressed.count() == 0
    await suppressed.apply(numbered(1), [replace(BOUNCE, said_at_ms=4_999)])
    assert await suppressed.check("ann@example.com") == []
    await suppressed.apply(numbered(2), [replace(BOUNCE, said_at_ms=5_001)])
    [entry] = await suppressed.check("ann@example.com")
    assert entry.created_at_ms == 5_001


async def test_an_entry_keeps_its_creation_while_it_holds(suppressed: SuppressionList) -> None:
    """A second bounce updates it."""
    await suppressed.say([BOUNCE])
    await suppressed.say([replace(BOUNCE, said_at_ms=9_000)])
    [entry] = await suppressed.check("ann@example.com")
    assert (entry.created_at_ms, entry.updated_at_ms) == (1_000, 9_000)


async def test_a_large_envelope_is_one_step(suppressed: SuppressionList) -> None:
    """Ledger and effect may not part, so size does not split it."""
    many = [replace(BOUNCE, recipient=f"{number}@example.com") for number in range(5_000)]
    assert await suppressed.apply(numbered(1), many)
    assert await suppressed.count() == 5_000


async def test_saying_nothing_is_harmless(suppressed: SuppressionList) -> None:
    """No sayings, no entries."""
    await suppressed.say([])
    assert await suppressed.count() == 0
