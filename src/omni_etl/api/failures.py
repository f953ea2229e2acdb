"""Failures: what a request hears that no resource answered, in the shape of all errors (reference: SparkPost, §6)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from omni_etl import telemetry
from omni_etl.api import problems
from omni_etl.api.problems import Problem
from omni_etl.errors import UnavailableError

RETRY_AFTER_SECONDS: Final = 2
_KINDS: Final = {
    "string_type": "a string",
    "bool_type": "a boolean",
    "int_type": "a number",
    "int_parsing": "a number",
    "float_parsing": "a number",
    "list_type": "an array",
    "dict_type": "an object",
    "model_attributes_type": "an object",
}


def add_to(app: FastAPI) -> None:
    """Register a handler for each kind."""
    app.add_exception_handler(Problem, problems.answer)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _unprocessable)
    app.add_exception_handler(UnavailableError, unavailable)
    app.add_exception_handler(Exception, _failed)


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException), error
    member = {"message": str(error.detail)}
    if error.status_code == HTTPStatus.NOT_FOUND and "endpoint" not in request.scope:
        member["code"] = "1101"  # no such URI
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        member["code"] = "1102"
    return _answer(error.status_code, member, error.headers)


async def _unprocessable(_request: Request, error: Exception) -> JSONResponse:
    """Every rule that was broken; 400 for all of them."""
    assert isinstance(error, RequestValidationError), error
    members = [_broken(each) for each in error.errors()]
    return JSONResponse({"errors": members}, status_code=HTTPStatus.BAD_REQUEST)


def _broken(error: Mapping[str, Any]) -> dict[str, str]:
    kind: str = error["type"]
    if kind == "json_invalid":
        return {"message": f"Request body parsing failed [Attached error message: {error['ctx']['error']}]"}
    where, *path = error["loc"]
    name = ".".join(str(part) for part in path) or "request body"
    if kind == "missing":
        message = f"'{name}' is required"
    elif kind in _KINDS:
        message = f"'{name}' must be {_KINDS[kind]}"
    else:
        message = f"'{name}': {error['msg']}"
    return {"message": message} if where == "body" else {"message": message, "param": name}


async def unavailable(request: Request, error: Exception) -> JSONResponse:
    """503. Which engine, and where, is no matter of the caller's."""
    telemetry.get_logger().debug("api_engine_away", path=request.url.path, reason=str(error))
    member = {"message": "An engine is away; try again in a moment."}
    return _answer(HTTPStatus.SERVICE_UNAVAILABLE, member, {"Retry-After": str(RETRY_AFTER_SECONDS)})


async def _failed(request: Request, error: Exception) -> JSONResponse:
    telemetry.get_logger().error("api_failed", path=request.url.path, exc_info=error)
    return _answer(HTTPStatus.INTERNAL_SERVER_ERROR, {"message": "Internal error; the log has the whole of it."})


def _answer(status: int, member: Mapping[str, str], headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"errors": [member]}, status_code=status, headers=dict(headers or {}))
