"""A customer's server on loopback, as webhooks meet it: a target, and where OAuth 2 tokens come from."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(frozen=True)
class Post:
    """One request that came."""

    path: str
    headers: dict[str, str]
    body: str
    pairs: set[tuple[str, str]]  # headers, lower-case, where one may stand twice


@dataclass
class Customer:
    """Answers what it is told, else 200 and `OK`; tokens are numbered."""

    url: str = ""
    posts: list[Post] = field(default_factory=list)
    answers: list[web.Response] = field(default_factory=list)
    token_answers: list[web.Response] = field(default_factory=list)
    tokens: int = 0

    @property
    def target(self) -> str:
        """Where batches go."""
        return f"{self.url}/hook"

    @property
    def oauth2(self) -> dict[str, Any]:
        """The members of a webhook that gets its tokens here."""
        details = {
            "url": f"{self.url}/token",
            "body": {"grant_type": "client_credentials", "client_secret": "hush & ü"},
        }
        return {"auth_type": "oauth2", "auth_request_details": details}

    async def take(self, request: web.Request) -> web.Response:
        """A batch."""
        await self._note(request)
        return self.answers.pop(0) if self.answers else web.Response(text="OK")

    async def grant(self, request: web.Request) -> web.Response:
        """A token."""
        await self._note(request)
        self.tokens += 1
        granted = {"access_token": f"secret-{self.tokens}", "token_type": "bearer", "expires_in": 3600}
        return self.token_answers.pop(0) if self.token_answers else web.json_response(granted)

    async def _note(self, request: web.Request) -> None:
        self.posts.append(
            Post(
                path=request.path,
                headers=dict(request.headers),
                body=await request.text(),
                pairs={(name.lower(), value) for name, value in request.headers.items()},
            )
        )


@asynccontextmanager
async def serving() -> AsyncIterator[Customer]:
    """A customer's server that runs."""
    subject = Customer()
    app = web.Application(client_max_size=10_000_000)
    app.router.add_post("/hook", subject.take)
    app.router.add_post("/token", subject.grant)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    subject.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield subject
    await runner.cleanup()
