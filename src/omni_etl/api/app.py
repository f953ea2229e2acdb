"""Every route in one table; errors become answers in one place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import generate_latest
from starlette.exceptions import HTTPException

from omni_etl import telemetry
from omni_etl.api import problems, suppressions, webhooks
from omni_etl.api.auth import require_key
from omni_etl.api.limit import BodyLimit
from omni_etl.api.problems import Problem
from omni_etl.clock import Clock
from omni_etl.errors import UnavailableError
from omni_etl.keys import Keys
from omni_etl.suppression_list import SuppressionList
from omni_etl.webhook import Webhooks

OPEN_PAUSE_SECONDS: Final = 1.0
BODY_BYTES_MAX: Final = 1024 * 1024  # of any call so far; bulk calls will bring limits of their own


@dataclass(frozen=True, slots=True)
class ApiParts:
    """What the API speaks to. `status` answers what `omni status --json` prints."""

    keys: Keys
    webhooks: Webhooks
    suppression_list: SuppressionList
    status: Callable[[], Awaitable[dict[str, Any]]]
    clock: Clock

    async def open(self) -> None:
        """Reach the database: SettingsError for what waiting cannot heal, UnavailableError for the rest."""
        for part in (self.keys, self.webhooks, self.suppression_list):
            await part.open()

    async def close(self) -> None:
        """Give back connections."""
        for part in (self.keys, self.webhooks, self.suppression_list):
            await part.close()


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

    app = FastAPI(title="omni-etl", version="1", lifespan=lifespan, redirect_slashes=False)
    app.state.parts = parts
    app.add_middleware(BodyLimit, bytes_max=BODY_BYTES_MAX)
    guarded = [Depends(require_key)]
    app.include_router(webhooks.router, prefix="/api/v1", dependencies=guarded)
    app.include_router(suppressions.router, prefix="/api/v1", dependencies=guarded)
    app.add_api_route("/api/v1/status", _status, methods=["GET"], dependencies=guarded)
    app.add_api_route("/health", _health, methods=["GET"])
    app.add_api_route("/metrics", _numbers, methods=["GET"], response_class=PlainTextResponse)
    app.add_exception_handler(Problem, problems.answer)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _unprocessable)
    app.add_exception_handler(UnavailableError, _unavailable)
    app.add_exception_handler(Exception, _failed)
    return app


async def _open_later(parts: ApiParts) -> None:
    while True:
        await parts.clock.sleep(OPEN_PAUSE_SECONDS)
        with suppress(UnavailableError):
            return await parts.open()


async def _status(request: Request) -> dict[str, Any]:
    """Roles, lanes, what each service owes, circuits."""
    answer: dict[str, Any] = await request.app.state.parts.status()
    return {"results": answer}


async def _health() -> dict[str, str]:
    """The process lives."""
    return {"status": "ok"}


async def _numbers() -> Response:
    """Prometheus text."""
    return PlainTextResponse(generate_latest(telemetry.NUMBERS))


def _errors(status: int, message: str) -> JSONResponse:
    return JSONResponse({"errors": [{"message": message}]}, status_code=status)


async def _refused(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException), error
    answer = _errors(error.status_code, str(error.detail))
    answer.headers.update(error.headers or {})
    return answer


async def _unprocessable(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError), error
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    return _errors(HTTPStatus.BAD_REQUEST, f"'{where}': {first['msg']}")


async def _unavailable(_request: Request, error: Exception) -> JSONResponse:
    answer = _errors(HTTPStatus.SERVICE_UNAVAILABLE, f"An engine is away: {error}")
    answer.headers["Retry-After"] = "2"
    return answer


async def _failed(request: Request, error: Exception) -> JSONResponse:
    telemetry.get_logger().error("api_failed", path=request.url.path, exc_info=error)
    return _errors(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal error; the log has the whole of it.")
