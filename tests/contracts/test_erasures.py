"""The contract of erasures: noted first, known to all, taken up again where they were cut off, and for ever."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from omni_etl.backends.database import DatabaseErasures, open_database
from omni_etl.clock import ManualClock
from omni_etl.erasure import Erasure, Erasures, Known, Receipt, name_of


@pytest.fixture
async def erasures(database_url: str, clock: ManualClock) -> AsyncIterator[Erasures]:
    """None yet."""
    subject = DatabaseErasures(open_database(database_url, "control", clock), clock)
    await subject.open()
    yield subject
    await subject.close()


async def known(erasures: Erasures) -> Known:
    """All of them."""
    found = await erasures.known()
    assert found is not None
    return found


async def test_an_erasure_is_known_by_a_keyed_hash(erasures: Erasures, clock: ManualClock) -> None:
    """Who has the key finds the recipient again; without it nothing is said."""
    assert await erasures.known() is None
    receipt = await erasures.begin("a@x.test", with_suppressions=False)
    now_ms = int(clock.now() * 1000)
    assert receipt == Receipt(receipt.id, now_ms, with_suppressions=False)
    found = await known(erasures)
    assert found.erasures == (Erasure(name_of("a@x.test", found.secret), now_ms),)
    assert found.erasures[0].name != name_of("a@x.test", b"another key")
    assert len(found.secret) == 32


async def test_all_of_them_have_one_key(erasures: Erasures) -> None:
    """Or nobody could look for all at once."""
    for each in ("a@x.test", "b@x.test", "é" * 300, "\udcff"):
        await erasures.begin(each, with_suppressions=False)
    found = await known(erasures)
    names = {name_of(each, found.secret) for each in ("a@x.test", "b@x.test", "é" * 300, "\udcff")}
    assert {each.name for each in found.erasures} == names


async def test_who_knows_all_hears_nothing(erasures: Erasures) -> None:
    """By how many there are, because none ever goes or changes."""
    await erasures.begin("a@x.test", with_suppressions=False)
    assert await erasures.known(beyond=1) is None
    await erasures.begin("b@x.test", with_suppressions=False)
    found = await erasures.known(beyond=1)
    assert found is not None
    assert len(found.erasures) == 2


async def test_one_that_was_cut_off_is_taken_up(erasures: Erasures, clock: ManualClock) -> None:
    """As of when it was begun, with what was counted; and asked for more, it does more."""
    first = await erasures.begin("a@x.test", with_suppressions=False)
    await erasures.note(replace(first, events=3, batches_rewritten=1))
    clock.advance(60)
    again = await erasures.begin("a@x.test", with_suppressions=True)
    assert again == replace(first, events=3, batches_rewritten=1, with_suppressions=True)
    assert (await erasures.begin("a@x.test", with_suppressions=False)).with_suppressions
    assert len((await known(erasures)).erasures) == 1


async def test_one_that_is_finished_is_followed_by_another(erasures: Erasures, clock: ManualClock) -> None:
    """A person may come back, and be erased again; both receipts are kept."""
    first = await erasures.begin("a@x.test", with_suppressions=False)
    done = replace(first, events=3, reasons=2, batches_dropped=1, batch_events=4, suppressions=5, finished_at_ms=7)
    await erasures.note(done)
    clock.advance(60)
    second = await erasures.begin("a@x.test", with_suppressions=False)
    assert second.id != first.id
    assert await erasures.receipts() == [second, done]
    assert len((await known(erasures)).erasures) == 2
