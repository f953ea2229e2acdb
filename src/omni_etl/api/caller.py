"""The caller: whose key this is, what it may do, and for which subaccount a request speaks."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from fastapi import Request

from omni_etl.api.problems import plain
from omni_etl.event import SUBACCOUNT_ID_MAX

SUBACCOUNT_HEADER: Final = "X-MSYS-SUBACCOUNT"


@dataclass(frozen=True, slots=True)
class Caller:
    """A key that was verified. `subaccount_id` is None for a key of the primary account, which sees everything."""

    key_id: str
    subaccount_id: int | None = None
    grants: frozenset[str] | None = None  # None: everything

    def needs(self, grant: str) -> None:
        """Go on only with this grant.

        Raises:
            Problem: 403.

        """
        if self.grants is not None and grant not in self.grants:
            raise plain(HTTPStatus.FORBIDDEN, "Forbidden.")


def caller(request: Request) -> Caller:
    """Whoever `auth.require_key` let pass."""
    found: Caller = request.state.caller
    return found


def subaccount(request: Request) -> int | None:
    """Which subaccount the request speaks for: its key's own, whatever it asks; else the header; None where neither says.

    Raises:
        Problem: 400, a header that is no subaccount.

    """
    own = caller(request).subaccount_id
    if own is not None:
        return own
    return subaccount_of(request.headers.get(SUBACCOUNT_HEADER, ""))


def subaccount_of(header: str) -> int | None:
    """Which subaccount the header means; None where it is empty.

    Raises:
        Problem: 400, it is none.

    """
    text = header.strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= SUBACCOUNT_ID_MAX):  # noqa: PLR2004 its digits
        raise plain(HTTPStatus.BAD_REQUEST, f"{SUBACCOUNT_HEADER} must be a number")
    return int(text)
