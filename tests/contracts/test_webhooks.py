"""The contract of webhooks: subscriptions are kept as they were said, and secrets stay out of sight."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.secret_boxes import BOX

from omni_etl.backends.database import DatabaseWebhooks, open_database
from omni_etl.clock import ManualClock
from omni_etl.webhook import SUBACCOUNTS_ALL, FormerSecret, TokenRequest, Webhook, Webhooks

FULL = Webhook(
    id="b",
    name="Größe",
    target="https://example.com/hook?x=1",
    events=frozenset({"delivery", "bounce"}),
    subaccount_id=0,
    exception_subaccounts=frozenset({7, 12}),
    active=False,
    custom_headers={"X-One": "1"},
    auth_header="Bearer hush",
    auth_token="hush",
    token_request=TokenRequest("https://token.test/", {"client_secret": "hush"}),
    token_expires_at_ms=2_000_000_000_000,
    signing_secret="whsec_hush",
    former_secrets=(FormerSecret("whsec_hush-before", 2_000_000_000_000), FormerSecret("whsec_hush-first", 1)),
)
PLAIN = Webhook(id="a", name="plain", target="https://example.com", events=frozenset({"open"}))


@pytest.fixture
async def webhooks(database_url: str, clock: ManualClock) -> AsyncIterator[Webhooks]:
    """No webhooks yet."""
    subject = DatabaseWebhooks(open_database(database_url, "control", clock), clock, BOX)
    await subject.open()
    yield subject
    await subject.close()


async def test_a_webhook_comes_back_as_it_was_put(webhooks: Webhooks, clock: ManualClock) -> None:
    """Every field, in the order in which they were created."""
    await webhooks.put(FULL)
    clock.advance(1)
    await webhooks.put(PLAIN)
    assert await webhooks.all() == [FULL, PLAIN]
    assert [await webhooks.find(each) for each in ("a", "b", "c")] == [PLAIN, FULL, None]


async def test_putting_again_replaces(webhooks: Webhooks, clock: ManualClock) -> None:
    """All of it, and it keeps its place."""
    await webhooks.put(FULL)
    clock.advance(1)
    await webhooks.put(PLAIN)
    changed = replace(PLAIN, id=FULL.id, name="new", auth_header=None)
    await webhooks.put(changed)
    assert await webhooks.all() == [changed, PLAIN]


async def test_a_change_writes_what_differs(webhooks: Webhooks) -> None:
    """Two that change different members both stand; what is gone stays gone."""
    await webhooks.put(PLAIN)
    assert await webhooks.change(PLAIN, replace(PLAIN, active=False))
    assert await webhooks.change(PLAIN, replace(PLAIN, name="new", events=frozenset({"click"})))
    assert await webhooks.change(PLAIN, PLAIN)
    stands = replace(PLAIN, active=False, name="new", events=frozenset({"click"}))
    assert await webhooks.find("a") == stands
    for changed in (replace(FULL, id="a"), PLAIN):
        assert await webhooks.change(stands, changed)
        assert await webhooks.find("a") == changed
        stands = changed
    await webhooks.delete("a")
    assert not await webhooks.change(stands, replace(stands, active=False))
    assert not await webhooks.change(stands, stands)
    assert await webhooks.all() == []


async def test_a_rotation_keeps_the_former_secret_for_a_while(webhooks: Webhooks, clock: ManualClock) -> None:
    """Of a webhook that is there, and of one from before there were secrets; nothing else of it changes."""
    await webhooks.put(FULL)
    await webhooks.put(PLAIN)
    now_ms = int(clock.now() * 1000)
    full, plain = [await webhooks.rotate(each.id, overlap_seconds=60) for each in (FULL, PLAIN)]
    assert full is not None
    assert plain is not None
    assert [await webhooks.find("b"), await webhooks.find("a")] == [full, plain]
    former = tuple(FormerSecret(each, now_ms + 60_000) for each in ("whsec_hush", "whsec_hush-before"))
    assert full == replace(FULL, signing_secret=full.signing_secret, former_secrets=former)
    assert full.signing_secrets(now_ms)[1:] == ("whsec_hush", "whsec_hush-before")
    assert plain == replace(PLAIN, signing_secret=plain.signing_secret)
    assert len({full.signing_secret, plain.signing_secret, None, "whsec_hush"}) == 4
    assert await webhooks.rotate("c", overlap_seconds=60) is None


async def test_deleting_forgets(webhooks: Webhooks) -> None:
    """False where there was none."""
    await webhooks.put(PLAIN)
    assert await webhooks.delete("a")
    assert not await webhooks.delete("a")
    assert await webhooks.all() == []


def test_the_secret_of_a_webhook_is_not_shown() -> None:
    """Neither in a log line nor in a traceback."""
    assert "hush" not in repr(FULL)


def test_a_webhook_wants_its_types_and_subaccounts() -> None:
    """0 is the primary account alone; exceptions win; a paused one wants nothing."""
    everyone = Webhook(id="w", name="w", target="t", events=frozenset({"open"}), exception_subaccounts=frozenset({7}))
    assert everyone.subaccount_id == SUBACCOUNTS_ALL
    assert [everyone.wants("open", each) for each in (0, 5, 7)] == [True, True, False]
    assert not everyone.wants("click", 0)
    assert [replace(everyone, subaccount_id=0).wants("open", each) for each in (0, 5)] == [True, False]
    assert not replace(everyone, active=False).wants("open", 0)
