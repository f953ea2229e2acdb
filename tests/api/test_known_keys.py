"""known_keys: the database is asked once a second for a key, however often the key comes."""

import asyncio
from collections.abc import Collection, Sequence

import pytest

from omni_etl.api.known_keys import SAID_COUNT_MAX, SAID_SECONDS_MAX, KnownKeys
from omni_etl.clock import ManualClock
from omni_etl.errors import UnavailableError
from omni_etl.keys import ApiKey

KEY = ApiKey("k", "console", 0, revoked=False)


class CountedKeys:
    """Knows one secret, counts questions, and answers them when it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.away = False
        self.known = {"secret": KEY}
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def open(self) -> None:
        """Nothing to reach."""

    async def close(self) -> None:
        """Nothing to give back."""

    async def create(
        self, name: str, *, grants: Collection[str] | None = None, subaccount_id: int | None = None
    ) -> str:
        """None is made here."""
        raise AssertionError(name, grants, subaccount_id)

    async def verify(self, secret: str) -> ApiKey | None:
        """As it stands when it was asked."""
        self.asked += 1
        found = self.known.get(secret)
        await self.may_answer.wait()
        if self.away:
            raise UnavailableError("the database is away")
        return found

    async def all(self) -> Sequence[ApiKey]:
        """All there are."""
        return list(self.known.values())

    async def revoke(self, key_id: str) -> bool:
        """Every key has this id."""
        self.known.clear()
        return key_id == KEY.id


async def test_a_second_of_requests_is_one_question() -> None:
    """For a key that is known, and for one that is not."""
    keys, clock = CountedKeys(), ManualClock()
    subject = KnownKeys(keys, clock)
    for _ in range(1_000):
        assert await subject.verify("secret") == KEY
        assert await subject.verify("guess") is None
    assert keys.asked == 2
    clock.advance(SAID_SECONDS_MAX)
    assert await subject.verify("secret") == KEY
    assert keys.asked == 3


async def test_a_revoked_key_is_refused_after_that_second() -> None:
    """Counted from the question: an answer that was long on its way is no younger for it."""
    keys, clock = CountedKeys(), ManualClock()
    subject = KnownKeys(keys, clock)
    keys.may_answer.clear()
    asking = asyncio.create_task(subject.verify("secret"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await keys.revoke("k")
    clock.advance(SAID_SECONDS_MAX)
    keys.may_answer.set()
    assert await asking == KEY
    assert await subject.verify("secret") is None


async def test_many_at_once_share_one_question() -> None:
    """Also when the one who asked first goes away."""
    keys = CountedKeys()
    subject = KnownKeys(keys, ManualClock())
    keys.may_answer.clear()
    asking = [asyncio.create_task(subject.verify("secret")) for _ in range(100)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asking[0].cancel()
    keys.may_answer.set()
    await asyncio.gather(asking[0], return_exceptions=True)
    assert await asyncio.gather(*asking[1:]) == [KEY] * 99
    assert keys.asked == 1


async def test_a_database_that_is_away_is_asked_again() -> None:
    """Nobody is refused for a second because it was away for a moment."""
    keys = CountedKeys()
    subject = KnownKeys(keys, ManualClock())
    keys.away = True
    with pytest.raises(UnavailableError):
        await subject.verify("secret")
    keys.away = False
    assert await subject.verify("secret") == KEY


async def test_guesses_take_no_room_without_end() -> None:
    """Whoever guesses a million secrets fills no memory."""
    subject = KnownKeys(CountedKeys(), ManualClock())
    for number in range(SAID_COUNT_MAX + 10):
        await subject.verify(f"guess {number}")
    assert len(subject._said) <= SAID_COUNT_MAX
