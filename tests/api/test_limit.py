"""limit: a body that is too long is refused before anybody reads it or asks for a key."""

from collections.abc import AsyncIterator
from io import BytesIO

from tests.api.server import Api

from omni_etl.api.app import BODY_BYTES_MAX

HOOKS = "/api/v1/webhooks"


async def test_a_body_that_says_it_is_too_long_is_refused(api: Api) -> None:
    """413 in the shape of all errors, without a key."""
    async with api.session.post(api.url + HOOKS, data=BytesIO(bytes(BODY_BYTES_MAX + 1))) as answer:
        assert answer.status == 413
        assert await answer.json() == {"errors": [{"message": f"The body is longer than {BODY_BYTES_MAX} bytes."}]}


async def test_a_body_that_turns_out_too_long_is_refused(api: Api) -> None:
    """A sender need not say how long it is; then it is counted."""

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(BODY_BYTES_MAX // 65_536 + 1):
            yield b"x" * 65_536

    async with api.session.post(api.url + HOOKS, data=endless()) as answer:
        assert answer.status == 413


async def test_a_body_at_the_limit_is_read(api: Api) -> None:
    """The key comes first then, and with one the content."""
    text = "x" * BODY_BYTES_MAX
    assert (await api.call("POST", HOOKS, text=text, headers={"Authorization": ""})).status == 401
    assert (await api.call("POST", HOOKS, text=text)).status == 400
