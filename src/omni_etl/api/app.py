"""Every route in one table; errors become answers in one place."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import generate_latest

from omni_etl import telemetry
from omni_etl.api import suppressions, webhooks
from omni_etl.api.auth import require_key
from omni_etl.errors import UnavailableError
from omni_etl.keys import Keys
from omni_etl.suppression_list import SuppressionList
from omni_etl.webhook import Webhooks


@dataclass(frozen=True, slots=True)
class ApiParts:
    """What the API speaks to. `status` answers what `omni status --json` prints."""

    keys: Keys
    webhooks: Webhooks
    suppression_list: SuppressionList
    status: Callable[[], Awaitable[dict[str, Any]]]


def api_app(parts: ApiParts) -> FastAPI:
    """The application; opens and closes its parts with itself."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        for part in (parts.keys, parts.webhooks, parts.suppression_list):
            await part.open()
        yield
        for part in (parts.keys, parts.webhooks, parts.suppression_list):
            await part.close()

    app = FastAPI(title="omni-etl", version="1", lifespan=lifespan, redirect_slashes=False)
    app.state.parts = parts
    guarded = [Depends(require_key)]
    app.include_router(webhooks.router, prefix="/api/v1", dependencies=guarded)
    app.include_router(suppressions.router, prefix="/api/v1", dependencies=guarded)
    app.add_api_route("/api/v1/status", _status, methods=["GET"], dependencies=guarded)
    app.add_api_route("/health", _health, methods=["GET"])
    app.add_api_route("/metrics", _numbers, methods=["GET"], response_class=PlainTextResponse)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _unprocessable)
    app.add_exception_handler(UnavailableError, _unavailable)
    app.add_exception_handler(Exception, _failed)
    return app


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
    return _errors(error.status_code, str(error.detail))


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
