"""Audit by the API: what `omni audit --json` prints."""

from __future__ import annotations

from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from omni_etl.api.auth import require_everything
from omni_etl.api.problems import plain
from omni_etl.audit import SINCE_DEFAULT, parse_since
from omni_etl.errors import SettingsError, UnavailableError

router = APIRouter(tags=["System"])


@router.get("/audit", dependencies=[Depends(require_everything)])
async def audit(
    request: Request,
    since: Annotated[
        str,
        Query(max_length=40, description="Envelopes cut since then: `24h`, `90m`, `7d` ago, or a time in ISO 8601."),
    ] = SINCE_DEFAULT,
) -> dict[str, Any]:
    """Every envelope that was cut, accounted for by the ledgers of all services; what is missing or doubled is named."""
    parts = request.app.state.parts
    since_ms = parse_since(since, now=parts.clock.now())
    if since_ms is None:
        raise plain(HTTPStatus.BAD_REQUEST, "'since' must be 24h, 90m, 7d, or a time in ISO 8601")
    try:
        report = await parts.audits.audit(since_ms)
    except SettingsError as error:  # an engine that is not named or not there: the API starts without
        raise UnavailableError(str(error)) from error
    return {"results": asdict(report)}
