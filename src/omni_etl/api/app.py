"""Every route in one table; errors become answers in one place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from starlette.types import ASGIApp

from omni_etl import telemetry
from omni_etl.api import (
    audit,
    event_documentation,
    events,
    failures,
    ingest,
    message_events,
    metric_reasons,
    metrics,
    numbers,
    suppressions,
    webhook_delivery,
    webhook_replays,
    webhook_secret,
    webhooks,
)
from omni_etl.api.auth import require_everything, require_key, within_rate
from omni_etl.api.docs_page import page
from omni_etl.api.ingest import Intake
from omni_etl.api.key_first import KeyFirst
from omni_etl.api.known_keys import KnownKeys
from omni_etl.api.limit import MIB, BodyLimit, BodyLimits
from omni_etl.api.path import WithoutTrailingSlash
from omni_etl.api.problems import ANSWERS
from omni_etl.api.rate import Rate
from omni_etl.api.request_id import RequestIds
from omni_etl.api.suppression_changes import Readers
from omni_etl.api.suppression_check import QuickCheck
from omni_etl.audit import Audits
from omni_etl.clock import Clock
from omni_etl.deliveries import Deliveries
from omni_etl.errors import UnavailableError
from omni_etl.event_search import EventSearch
from omni_etl.keys import Keys
from omni_etl.poster import Poster
from omni_etl.replay import Replays
from omni_etl.reports import Reports
from omni_etl.suppression_list import SuppressionList
from omni_etl.webhook import Webhooks

OPEN_PAUSE_SECONDS: Final = 1.0
PREFIX: Final = "/api/v1"
BODY_LIMITS: Final = BodyLimits(longer={("PUT", f"{PREFIX}/suppression-list"): 50 * MIB})
KEYED: Final = [Depends(require_key)]
LIMITED: Final = [*KEYED, Depends(within_rate)]


class _Connected(Protocol):
    async def open(self) -> None: ...
    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ApiParts:
    """What the API speaks to. `status` answers what `omni status --json` prints."""

    keys: Keys
    webhooks: Webhooks
    deliveries: Deliveries
    replays: Replays
    poster: Poster
    suppression_list: SuppressionList
    event_search: EventSearch
    reports: Reports
    intake: Intake
    rate: Rate
    status: Callable[[], Awaitable[dict[str, Any]]]
    audits: Audits
    clock: Clock
    stop: asyncio.Event  # set when the process is told to end: an answer without an end of its own ends then

    async def open(self) -> None:
        """Reach the database: SettingsError for what waiting cannot heal, UnavailableError for the rest."""
        for part in self._connected():
            await part.open()

    async def close(self) -> None:
        """Give back connections."""
        for part in self._connected():
            await part.close()

    def _connected(self) -> tuple[_Connected, ...]:
        """The store last: it is the one that may take its time to say that it is away."""
        parts = (
            self.keys,
            self.webhooks,
            self.deliveries,
            self.replays,
            self.poster,
            self.suppression_list,
            self.intake,
        )
        return (*parts, self.event_search, self.reports)


def api_app(parts: ApiParts) -> FastAPI:
    """The application; opens and closes its parts with itself, and answers 503 while they are away."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        opening = None
        try:
            await parts.open()
        except UnavailableError as error:
            telemetry.get_logger().warning("api_waiting", reason=str(error))
            opening = asyncio.create_task(_open_later(parts))
        yield
        if opening is not None:
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
        await parts.close()

    app = Api(
        title="omni-etl",
        version="1",
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,  # FastAPI's pages load scripts from elsewhere
        redoc_url=None,
        strict_content_type=False,  # a body that does not say what it is is JSON, as at SparkPost
    )
    app.state.parts = parts
    app.state.readers = Readers(parts.suppression_list, clock=parts.clock, stop=parts.stop)
    app.state.known_keys = KnownKeys(parts.keys, parts.clock)
    app.add_middleware(BodyLimit, limits=BODY_LIMITS)  # the last one added is the first to see a request
    app.add_middleware(KeyFirst, prefix=PREFIX, verify=app.state.known_keys.verify)
    app.add_middleware(WithoutTrailingSlash)
    app.add_middleware(
        QuickCheck, prefix=PREFIX, verify=app.state.known_keys.verify, suppression_list=parts.suppression_list
    )
    _add_routes(app)
    failures.add_to(app)
    return app


def _add_routes(app: FastAPI) -> None:
    for router in (
        webhooks.router,
        webhook_delivery.router,
        webhook_replays.router,
        webhook_secret.router,
        events.router,
        message_events.router,
        ingest.router,
        metrics.router,
        metric_reasons.router,
        audit.router,
        _system,
    ):
        app.include_router(router, prefix=PREFIX, dependencies=LIMITED, responses=ANSWERS)
    # Mail servers ask it for each message, and SparkPost's has no rate limit either.
    app.include_router(suppressions.router, prefix=PREFIX, dependencies=KEYED, responses=ANSWERS)
    app.include_router(event_documentation.router, prefix=PREFIX)
    app.include_router(numbers.router)
    app.include_router(_open)


class Api(FastAPI):
    """FastAPI whose request ids reach the answers and log lines of our own faults too."""

    def build_middleware_stack(self) -> ASGIApp:
        """Around everything: what is added as middleware does not see a 500."""
        return RequestIds(super().build_middleware_stack())

    def openapi(self) -> dict[str, Any]:
        """Without FastAPI's own answer to a broken rule, 422: ours is 400."""
        if self.openapi_schema is None:
            document = super().openapi()
            for operations in document["paths"].values():
                for operation in operations.values():
                    if operation["responses"].get("422", {}).get("description") == "Validation Error":
                        del operation["responses"]["422"]
            for name in ("HTTPValidationError", "ValidationError"):
                document.get("components", {}).get("schemas", {}).pop(name, None)
        return super().openapi()


async def _open_later(parts: ApiParts) -> None:
    while True:
        await parts.clock.sleep(OPEN_PAUSE_SECONDS)
        with suppress(UnavailableError):
            return await parts.open()


_system = APIRouter(tags=["System"])
_open = APIRouter(tags=["Without a key"])


@_system.get("/status", dependencies=[Depends(require_everything)])
async def _status(request: Request) -> dict[str, Any]:
    """Roles, lanes, what each service owes, circuits."""
    answer: dict[str, Any] = await request.app.state.parts.status()
    return {"results": answer}


@_open.get("/health")
async def _health() -> dict[str, str]:
    """The process lives."""
    return {"status": "ok"}


@_open.get("/docs", response_class=HTMLResponse)
async def _documentation(request: Request) -> Response:
    """What you read."""
    return HTMLResponse(page(request.app.openapi()))
