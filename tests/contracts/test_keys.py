"""The contract of API keys: a secret is shown once and can be taken back."""

from collections.abc import AsyncIterator

import pytest

from omni_etl.backends.database import DatabaseKeys, open_database
from omni_etl.clock import ManualClock
from omni_etl.keys import Keys


@pytest.fixture
async def keys(database_url: str, clock: ManualClock) -> AsyncIterator[Keys]:
    """No keys yet."""
    subject = DatabaseKeys(open_database(database_url, "control", clock), clock)
    await subject.open()
    yield subject
    await subject.close()


async def test_a_secret_opens_until_it_is_revoked(keys: Keys, clock: ManualClock) -> None:
    """It names its key, and no other secret does."""
    secret = await keys.create("console")
    key = await keys.verify(secret)
    assert key is not None
    assert (key.name, key.revoked, key.created_at_ms) == ("console", False, int(clock.now() * 1000))
    assert await keys.verify(secret + "x") is None
    assert await keys.verify("") is None
    assert await keys.revoke(key.id)
    assert await keys.verify(secret) is None
    assert not await keys.revoke(key.id)
    assert not await keys.revoke("unknown")


async def test_keys_are_listed_without_their_secrets(keys: Keys, clock: ManualClock) -> None:
    """Oldest first, revoked ones too; names may repeat."""
    secrets = []
    for name in ("one", "two", "two"):
        secrets.append(await keys.create(name))
        clock.advance(1)
    listed = await keys.all()
    assert [each.name for each in listed] == ["one", "two", "two"]
    assert len(set(secrets)) == len({each.id for each in listed}) == 3
    assert not any(secret in repr(listed) for secret in secrets)


async def test_a_key_keeps_what_it_may(keys: Keys) -> None:
    """No list is everything and an empty one nothing; order and repetition do not matter."""
    grants = ["metrics/view", "ingest", "ingest"]
    every, none, some = (
        await keys.create("every"),
        await keys.create("none", grants=[]),
        await keys.create("some", grants=grants, subaccount_id=7),
    )
    found = [await keys.verify(secret) for secret in (every, none, some)]
    said = [(each.grants, each.subaccount_id) for each in found if each is not None]
    assert said == [(None, None), (frozenset(), None), (frozenset(grants), 7)]
    assert set(found) == set(await keys.all())
