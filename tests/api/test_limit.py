"""limit: a body that is too long is refused, alone and together with others."""

import asyncio
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

from starlette.types import Message, Receive, Scope, Send
from tests.api.server import Api

from omni_etl.api.app import BODY_LIMITS
from omni_etl.api.limit import BodyLimit, BodyLimits

HOOKS = "/api/v1/webhooks"
LIST = "/api/v1/suppression-list"
BYTES_MAX = BODY_LIMITS.bytes_max
SMALL = BodyLimits(bytes_max=10, longer={("PUT", "/bulk"): 20}, held_bytes_max=25, seconds_max=60)


async def endless(size: int) -> AsyncIterator[bytes]:
    """A body that does not say how long it is."""
    for _ in range(size // 65_536 + 1):
        yield b"x" * 65_536


async def test_a_body_that_says_it_is_too_long_is_refused(api: Api) -> None:
    """413 in the shape of all errors."""
    body = BytesIO(bytes(BYTES_MAX + 1))
    async with api.session.post(api.url + HOOKS, data=body, headers={"Authorization": api.key}) as answer:
        assert answer.status == 413
        assert await answer.json() == {"errors": [{"message": f"The body is longer than {BYTES_MAX} bytes."}]}


async def test_a_body_that_turns_out_too_long_is_refused(api: Api) -> None:
    """A sender need not say how long it is; then it is counted."""
    headers = {"Authorization": api.key}
    async with api.session.post(api.url + HOOKS, data=endless(BYTES_MAX), headers=headers) as answer:
        assert answer.status == 413


async def test_a_body_at_the_limit_is_read(api: Api) -> None:
    """And found to be no JSON."""
    headers = {"Authorization": api.key, "Content-Type": "application/json"}
    async with api.session.post(api.url + HOOKS, data=BytesIO(b"x" * BYTES_MAX), headers=headers) as answer:
        assert answer.status == 400


async def test_a_bulk_call_may_be_longer(api: Api) -> None:
    """Ten thousand entries in one call; with a slash at the end too. Other methods there may not."""
    headers = {"Authorization": api.key}
    for method, path, refused in (("PUT", LIST, False), ("PUT", LIST + "/", False), ("POST", LIST, True)):
        async with api.session.request(method, api.url + path, data=endless(BYTES_MAX), headers=headers) as answer:
            assert (answer.status == 413) == refused, (method, path)


class Sender:
    """One request to a `BodyLimit`, body part by body part; what came of it."""

    def __init__(self, limit: BodyLimit, method: str = "POST", path: str = "/") -> None:
        headers = [(b"transfer-encoding", b"chunked")]
        scope = {"type": "http", "method": method, "path": path, "headers": headers}
        self._parts: asyncio.Queue[Message] = asyncio.Queue()
        self.answer: list[Message] = []
        self.asked = asyncio.create_task(limit(scope, self._parts.get, self._answer))

    async def bring(self, size: int, *, more: bool = True) -> None:
        """A part of the body; returns when it was taken."""
        self._parts.put_nowait({"type": "http.request", "body": b"x" * size, "more_body": more})
        while not self._parts.empty():
            await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def go(self) -> None:
        """Away in the middle."""
        self._parts.put_nowait({"type": "http.disconnect"})
        await self.asked

    @property
    def status(self) -> int:
        """Of the answer."""
        status: int = self.answer[0]["status"]
        return status

    async def _answer(self, message: Message) -> None:
        self.answer.append(message)


class Behind:
    """The application; it answers when it is let."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.may_answer = asyncio.Event()

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        self.bodies.append((await receive())["body"])
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})


async def test_bodies_together_have_a_limit_too() -> None:
    """They count until they are answered; who comes then hears when to come again."""
    behind = Behind()
    limit = BodyLimit(behind, SMALL)
    first, second = Sender(limit, "PUT", "/bulk"), Sender(limit)
    await first.bring(18, more=False)
    await second.bring(8)
    await second.asked
    assert second.status == 503
    assert (b"retry-after", b"2") in second.answer[0]["headers"]
    behind.may_answer.set()
    await first.asked
    third = Sender(limit)
    await third.bring(10, more=False)
    await third.asked
    assert (first.status, third.status) == (200, 200)


async def test_half_a_body_is_none() -> None:
    """Whoever goes in the middle has asked nothing, and holds no room."""
    behind = Behind()
    behind.may_answer.set()
    limit = BodyLimit(behind, SMALL)
    for _ in range(5):
        sender = Sender(limit)
        await sender.bring(9)
        await sender.go()
        assert sender.answer == []
    assert behind.bodies == []


async def test_a_body_has_its_time() -> None:
    """408 to one that never ends."""
    sender = Sender(BodyLimit(Behind(), BodyLimits(seconds_max=0.01)))
    await sender.bring(1)
    await sender.asked
    assert sender.status == 408


async def test_a_request_without_a_body_is_not_touched() -> None:
    """It costs nothing."""
    seen: list[Any] = []

    async def behind(_scope: Scope, receive: Receive, _send: Send) -> None:
        seen.append(receive)

    async def receive() -> Message:
        raise AssertionError

    async def send(_message: Message) -> None:
        raise AssertionError

    await BodyLimit(behind, SMALL)({"type": "http", "headers": [], "method": "GET", "path": "/"}, receive, send)
    assert seen == [receive]
