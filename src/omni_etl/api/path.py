"""Path: a slash at its end says nothing, as at SparkPost."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class WithoutTrailingSlash:
    """Takes slashes off the end before a route is looked for. An escaped one (`%2F`) belongs to a name and stays."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; other scopes pass."""
        if scope["type"] == "http" and scope["path"].endswith("/"):
            raw: bytes = scope["raw_path"]
            count = len(raw) - len(raw.rstrip(b"/"))
            if 0 < count < len(raw):
                scope = {**scope, "path": scope["path"][:-count], "raw_path": raw[:-count]}
        await self._app(scope, receive, send)
