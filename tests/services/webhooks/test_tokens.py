"""services.webhooks.tokens: what OAuth 2 webhooks authorize themselves with, through expiry and refusal."""

import asyncio
from dataclasses import replace

import pytest
from tests.services.webhooks.fakes import CustomerPoster

from omni_etl.clock import ManualClock
from omni_etl.event import TYPES
from omni_etl.poster import Answer
from omni_etl.services.webhooks.tokens import EARLY_MS, PAUSE_SECONDS, Token, Tokens, ask_token
from omni_etl.webhook import TokenRequest, Webhook

REQUEST = TokenRequest("https://token.test/", {"grant_type": "client_credentials", "client_secret": "a&b"})
PLAIN = Webhook("w", "w", "https://x.test/", TYPES)


def granted(token: str, expires_in: str = "3600") -> Answer:
    """A token, for an hour."""
    return Answer(200, "200", body=b'{"access_token":"%b","expires_in":%b}' % (token.encode(), expires_in.encode()))


@pytest.fixture
def hook(clock: ManualClock) -> Webhook:
    """As the API keeps it: with a token for an hour."""
    ends_ms = int(clock.now() * 1000) + 3_600_000
    return replace(PLAIN, token_request=REQUEST, auth_header="Bearer first", token_expires_at_ms=ends_ms)


@pytest.fixture
def tokens(customer: CustomerPoster, clock: ManualClock) -> Tokens:
    """The subject."""
    return Tokens(customer, clock)


async def header(tokens: Tokens, webhook: Webhook) -> str | None:
    """What it would be sent with."""
    found = await tokens.authorized(webhook)
    assert isinstance(found, Webhook), found
    return found.auth_header


async def test_a_good_token_is_used(tokens: Tokens, hook: Webhook, customer: CustomerPoster) -> None:
    """Without a question; and who needs none is left as it is."""
    assert await header(tokens, hook) == "Bearer first"
    assert await tokens.authorized(PLAIN) is PLAIN
    assert customer.posts == []


async def test_a_token_near_its_end_is_renewed(
    tokens: Tokens, hook: Webhook, customer: CustomerPoster, clock: ManualClock
) -> None:
    """Before it ends, once, as a form; the next one has its own end."""
    customer.answers.extend([granted("second", "100"), granted("third")])
    clock.advance(3_600 - EARLY_MS / 1000)
    assert [await header(tokens, hook) for _ in range(3)] == ["Bearer second"] * 3
    (post,) = customer.posts
    assert (post.target, post.body) == (REQUEST.url, b"grant_type=client_credentials&client_secret=a%26b")
    assert post.headers["Content-Type"] == "application/x-www-form-urlencoded"
    clock.advance(71)
    assert await header(tokens, hook) == "Bearer third"


async def test_a_refused_token_is_renewed(
    tokens: Tokens, hook: Webhook, customer: CustomerPoster, clock: ManualClock
) -> None:
    """Only where it was the one in use: a late refusal of an older token asks for nothing."""
    customer.answers.append(granted("second"))
    first = await tokens.authorized(hook)
    assert isinstance(first, Webhook)
    tokens.refused(first)
    assert await header(tokens, hook) == "Bearer second"
    clock.advance(PAUSE_SECONDS)
    tokens.refused(first)
    assert await header(tokens, hook) == "Bearer second"


async def test_a_customer_who_refuses_everything_costs_little(
    tokens: Tokens, hook: Webhook, customer: CustomerPoster, clock: ManualClock
) -> None:
    """A request every two seconds, however many attempts."""
    customer.answers.extend([granted("second"), granted("third")])
    for _ in range(10):
        used = await tokens.authorized(hook)
        assert isinstance(used, Webhook)
        tokens.refused(used)
    assert len(customer.posts) == 1
    clock.advance(PAUSE_SECONDS)
    assert await header(tokens, hook) == "Bearer third"


async def test_those_who_wait_take_the_same_answer(
    tokens: Tokens, hook: Webhook, customer: CustomerPoster, clock: ManualClock
) -> None:
    """One request for all of them, good or bad; after a pause the next."""
    customer.answers.extend([Answer(None, "timeout after 10 s"), granted("second")])
    customer.hanging.add(REQUEST.url)
    clock.advance(3_600)
    waiting = [asyncio.ensure_future(tokens.authorized(hook)) for _ in range(5)]
    await customer.posted(1)
    customer.released.set()
    assert await asyncio.gather(*waiting) == [Answer(None, "token: timeout after 10 s")] * 5
    assert len(customer.posts) == 1
    clock.advance(PAUSE_SECONDS)
    assert await header(tokens, hook) == "Bearer second"


async def test_who_is_cancelled_while_asking_holds_up_nobody(
    tokens: Tokens, hook: Webhook, customer: CustomerPoster, clock: ManualClock
) -> None:
    """The next one asks."""
    customer.answers.append(granted("second"))
    customer.hanging.add(REQUEST.url)
    clock.advance(3_600)
    first = asyncio.ensure_future(tokens.authorized(hook))
    await customer.posted(1)
    first.cancel()
    await asyncio.wait([first])
    customer.released.set()
    assert await header(tokens, hook) == "Bearer second"


async def test_what_the_customer_changed_wins(
    tokens: Tokens, hook: Webhook, customer: CustomerPoster, clock: ManualClock
) -> None:
    """A newer token from the database, or another place to ask, ends what this process knew."""
    customer.answers.append(granted("second"))
    clock.advance(3_600)
    assert await header(tokens, hook) == "Bearer second"
    ends_ms = int(clock.now() * 1000) + 3_600_000
    assert await header(tokens, replace(hook, auth_header="Bearer new", token_expires_at_ms=ends_ms)) == "Bearer new"
    moved = replace(hook, token_request=TokenRequest("https://other.test/", {}), token_expires_at_ms=ends_ms)
    assert await header(tokens, moved) == "Bearer first"


@pytest.mark.parametrize(
    ("said", "ends_in_ms"),
    [("3600", 3_600_000), ('"3599"', 3_599_000), ("0", 0), ("null", None), ("-5", None), ('"soon"', "refused"),
     ("1e300", None), ("1e999", "refused"), ('"nan"', None), ('"inf"', None), ("[]", "refused"), ("[" * 5_000 + "]" * 5_000, "refused")],
)  # fmt: skip
async def test_when_a_token_ends_is_read_in_many_spellings(
    customer: CustomerPoster, clock: ManualClock, said: str, ends_in_ms: int | str | None
) -> None:
    """A number or a text; what cannot be is as if it were unsaid, what is none makes no token."""
    customer.answers.append(granted("t", said))
    token = await ask_token(customer, REQUEST, clock)
    if ends_in_ms == "refused":
        assert isinstance(token, Answer)
        assert not token.ok
    else:
        assert isinstance(token, Token)
        ends_ms = None if ends_in_ms is None else int(clock.now() * 1000) + int(ends_in_ms)
        assert (token.header, token.expires_at_ms) == ("Bearer t", ends_ms)
        assert "Bearer" not in repr(token)
