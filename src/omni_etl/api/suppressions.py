"""`GET /suppression-list/{recipient}`: may this address be mailed? Answered from the database as it is now."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Request

from omni_etl.api.caller import SUBACCOUNT_HEADER, caller, subaccount
from omni_etl.event import SUBACCOUNT_ID_MAX
from omni_etl.suppression_list import Entry, address_key

router = APIRouter()


@router.get("/suppression-list/{recipient:path}")
async def read(
    request: Request,
    recipient: str,
    _x_msys_subaccount: Annotated[
        int | None, Header(alias=SUBACCOUNT_HEADER, ge=0, le=SUBACCOUNT_ID_MAX, description="Of this subaccount alone.")
    ] = None,
) -> dict[str, Any]:
    """The entries that hold for this address; 404 where it may be mailed. A subaccount's key sees its own alone."""
    caller(request).needs("suppression_list/view")
    entries = await request.app.state.parts.suppression_list.check(address_key(recipient), subaccount(request))
    if not entries:
        raise HTTPException(HTTPStatus.NOT_FOUND, "Recipient could not be found")
    return {"results": [_shown(entry) for entry in entries], "links": [], "total_count": len(entries)}


def _shown(entry: Entry) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "recipient": entry.recipient,
        "type": entry.type,
        "source": entry.source,
        "description": entry.description,
        "created": _moment(entry.created_at_ms),
        "updated": _moment(entry.updated_at_ms),
        entry.type: True,
    }
    if entry.subaccount_id:
        shown["subaccount_id"] = str(entry.subaccount_id)
    return shown


def _moment(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds // 1000, UTC).isoformat()
