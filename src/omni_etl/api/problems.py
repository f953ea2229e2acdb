"""Problems: what is wrong with a request, in the dialect of errors that its resource speaks (reference: SparkPost, §6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import Request
from fastapi.responses import JSONResponse

_ERROR: Final = {
    "type": "object",
    "required": ["errors"],
    "properties": {
        "errors": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "object", "required": ["message"], "properties": {"message": {"type": "string"}}},
        }
    },
}


def described(meanings: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """For `responses=` of a route: what its refusals mean, by status."""
    content = {"application/json": {"schema": _ERROR}}
    return {status: {"description": meaning, "content": content} for status, meaning in meanings.items()}


ANSWERS: Final = described(
    {
        400: "Something is wrong with the request",
        401: "No key, or one that is not known",
        403: "The key may not do this",
        408: "The body did not come in time",
        413: "The body is too long",
        429: "Too many requests; Retry-After says when to come again",
        500: "A fault of ours",
        503: "An engine is away; Retry-After says when to come again",
    }
)
"""What any call may answer; every router is included with it."""


class Problem(Exception):  # noqa: N818 not a failure of ours: an answer
    """Becomes `{"errors": [...]}` with this status; `beside` are further members of the body."""

    def __init__(
        self, status: int, errors: Sequence[Mapping[str, Any]], *, beside: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(status, errors)
        self.status = status
        self.errors = list(errors)
        self.beside = dict(beside or {})


def plain(status: int, *messages: str) -> Problem:
    """Only messages: suppression list, authentication, events."""
    return Problem(status, [{"message": each} for each in messages])


def invalid(parameter: str, message: str) -> Problem:
    """A parameter that breaks a rule: metrics. Several of them go together by `together`."""
    return Problem(HTTPStatus.BAD_REQUEST, [{"message": message, "param": parameter}])


def together(problems: Sequence[Problem], *, beside: Mapping[str, Any] | None = None) -> Problem:
    """One answer for several problems of one request; the first one's status."""
    return Problem(problems[0].status, [error for each in problems for error in each.errors], beside=beside)


async def answer(_request: Request, problem: Exception) -> JSONResponse:
    """As FastAPI's handler of `Problem`."""
    assert isinstance(problem, Problem), problem
    return JSONResponse({"errors": problem.errors, **problem.beside}, status_code=problem.status)
