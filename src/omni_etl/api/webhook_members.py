"""Members of a webhook: what may be said, what it makes of one that is kept, and what is shown again.

Secrets are never shown, where SparkPost echoes them. So that a client may send back what it was shown, a secret that is
left out beside its unchanged user name or URL stays as it is.
"""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import BaseModel, Field, StrictBool, StrictFloat, StrictInt, StrictStr

from omni_etl.api.problems import Problem, plain
from omni_etl.event import SUBACCOUNT_ID_MAX, TYPES
from omni_etl.outbox import Lane
from omni_etl.services.webhooks.attempt import HEADERS_RESERVED
from omni_etl.webhook import SUBACCOUNTS_ALL, TokenRequest, Webhook, new_signing_secret

HEADERS_BYTES_MAX: Final = 3_000  # names and values together stay below, as at SparkPost
HEADERS_MAX: Final = 5
EXCEPTIONS_MAX: Final = 10
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 5.6.2, token
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")
_AUTH_TOKEN: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_URL: Final = re.compile(r"[\x21-\x7e]+")  # urlsplit drops line ends silently, and the sender would not
_BASIC: Final = "Basic "

AuthType = Literal["none", "basic", "oauth2"]
Scalar = Annotated[StrictStr, Field(max_length=4_096)] | StrictBool | StrictInt | StrictFloat
Text = Annotated[str, Field(max_length=1_024)]
Url = Annotated[str, Field(max_length=4_096)]
Subaccount = Annotated[int, Field(ge=1, le=SUBACCOUNT_ID_MAX)]


class Credentials(BaseModel):
    """For `auth_type` basic."""

    username: Text = ""
    password: Text | None = None


class TokenRequestDetails(BaseModel):
    """For `auth_type` oauth2: the members of `body` go to `url` as a form (RFC 6749, 4.4.2)."""

    url: Url = ""
    body: dict[str, Scalar] = Field(default_factory=dict, max_length=50)


class ChangedWebhook(BaseModel):
    """The body of `PUT /webhooks/{id}`: what is left out stays; unknown members are ignored, as at SparkPost."""

    name: Text = Field("", min_length=1)
    target: Url = ""
    events: list[str] = Field(default_factory=list, min_length=1, max_length=1_000)
    active: bool = True
    custom_headers: dict[str, Scalar] = Field(default_factory=dict, max_length=HEADERS_MAX)
    exception_subaccounts: list[Subaccount] = Field(default_factory=list, max_length=EXCEPTIONS_MAX)
    subaccount_id: int = Field(default=SUBACCOUNTS_ALL, ge=SUBACCOUNTS_ALL, le=SUBACCOUNT_ID_MAX)
    auth_type: AuthType = "none"
    auth_credentials: Credentials | None = None
    auth_request_details: TokenRequestDetails | None = None
    auth_token: Text | None = None


class NewWebhook(ChangedWebhook):
    """The body of `POST /webhooks`; for whom it is, the header says."""

    name: Text = Field(min_length=1)
    target: Url
    events: list[str] = Field(min_length=1, max_length=1_000)
    exception_subaccounts: list[Subaccount] = Field(default_factory=list, min_length=1, max_length=EXCEPTIONS_MAX)


def made(said: NewWebhook, subaccount_id: int | None) -> Webhook:
    """The webhook that this body asks for, with a new id and a new secret that signs.

    Raises:
        Problem: 400, with the member that is wrong.

    """
    scope = SUBACCOUNTS_ALL if subaccount_id is None else subaccount_id
    new = Webhook(str(uuid.uuid4()), "", "", frozenset(), scope, signing_secret=new_signing_secret())
    return changed(new, said, may_move=False)


def changed(webhook: Webhook, said: ChangedWebhook, *, may_move: bool) -> Webhook:
    """The webhook with what was said of it; `may_move` to another subaccount.

    Raises:
        Problem: 400, with the member that is wrong.

    """
    given = said.model_fields_set
    values: dict[str, Any] = {name: getattr(said, name) for name in ("name", "active") if name in given}
    if "target" in given:
        values["target"] = checked_url("target", said.target)
    if "events" in given:
        values["events"] = _checked_events(said.events)
    if "custom_headers" in given:
        values["custom_headers"] = _checked_headers(said.custom_headers)
    if "auth_token" in given:
        values["auth_token"] = _checked_token(said.auth_token)
    after = _with_auth(_with_scope(replace(webhook, **values), said, may_move=may_move), said)
    taken = {name.lower() for name in after.custom_headers} & _own_headers(after)
    if taken:
        raise _wrong(f"'custom_headers': {min(taken)} is set by auth_type or auth_token")
    return after


def shown(webhook: Webhook, last: Lane, *, zone: ZoneInfo, now_ms: int) -> dict[str, Any]:
    """As it may be read; its links are another's to say."""
    members: dict[str, Any] = {
        "id": webhook.id,
        "name": webhook.name,
        "target": webhook.target,
        "events": sorted(webhook.events),
        "active": webhook.active,
        "custom_headers": dict(webhook.custom_headers),
        "exception_subaccounts": sorted(webhook.exception_subaccounts),
        "auth_type": auth_type(webhook),
        "auth_credentials": _shown_credentials(webhook, now_ms),
        "auth_request_details": {},
    }
    if webhook.token_request is not None:
        members["auth_request_details"] = {"url": webhook.token_request.url, "body": {}}
    if webhook.auth_token is None:
        members["auth_token"] = ""
    if webhook.subaccount_id > 0:
        members["subaccount_id"] = webhook.subaccount_id
    times = {"last_successful": last.succeeded_at_ms, "last_failure": last.failed_at_ms}
    return members | {name: _moment(at_ms, zone) for name, at_ms in times.items() if at_ms is not None}


def auth_type(webhook: Webhook) -> AuthType:
    """How it authorizes itself."""
    if webhook.token_request is not None:
        return "oauth2"
    return "none" if webhook.auth_header is None else "basic"


def checked_url(member: str, url: str) -> str:
    """An URL that the deliverer can post to.

    Raises:
        Problem: 400.

    """
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.username is None
        is_good = is_good and parts.port != 0 and _URL.fullmatch(url) is not None
    except ValueError:  # a bracket without its other, a port that is none
        is_good = False
    if not is_good:
        raise _wrong(f"'{member}' must be an http or https URL without credentials")
    return url


def _checked_events(events: list[str]) -> frozenset[str]:
    unknown = sorted(set(events) - TYPES)
    if unknown:
        raise _wrong(f"'events' holds unknown types: {', '.join(unknown)[:200]}")
    return frozenset(events)


def _checked_headers(said: Mapping[str, Scalar]) -> dict[str, str]:
    headers = {name: _text(value) for name, value in said.items()}
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise _wrong(f"'custom_headers': {name[:64]!r} holds invalid characters")
        if name.lower() in HEADERS_RESERVED:
            raise _wrong(f"'custom_headers': {name[:64]!r} is reserved")
    if sum(len(name) + len(value) for name, value in headers.items()) >= HEADERS_BYTES_MAX:
        raise _wrong(f"'custom_headers' must be shorter than {HEADERS_BYTES_MAX} bytes")
    return headers


def _checked_token(token: str | None) -> str | None:
    if token and not _AUTH_TOKEN.fullmatch(token):
        raise _wrong("'auth_token' holds invalid characters")
    return token or None


def _own_headers(webhook: Webhook) -> set[str]:
    """What the deliverer would put in place of a custom header of that name."""
    names = {"authorization"} if auth_type(webhook) != "none" else set()
    return names | ({"x-messagesystems-webhook-token"} if webhook.auth_token is not None else set())


def _with_scope(webhook: Webhook, said: ChangedWebhook, *, may_move: bool) -> Webhook:
    """Exceptions are only for "primary and all"; who moves elsewhere without a word about them leaves them behind."""
    given = said.model_fields_set
    scope = said.subaccount_id if may_move and "subaccount_id" in given else webhook.subaccount_id
    exceptions = webhook.exception_subaccounts if scope == SUBACCOUNTS_ALL else frozenset[int]()
    if "exception_subaccounts" in given:
        exceptions = frozenset(said.exception_subaccounts)
        if len(exceptions) != len(said.exception_subaccounts):
            raise _wrong("'exception_subaccounts' must be without duplicates")
        if exceptions and scope != SUBACCOUNTS_ALL:
            raise _wrong("'exception_subaccounts' are only for a webhook of the primary account and all subaccounts")
    return replace(webhook, subaccount_id=scope, exception_subaccounts=exceptions)


def _with_auth(webhook: Webhook, said: ChangedWebhook) -> Webhook:
    kind = said.auth_type if "auth_type" in said.model_fields_set else auth_type(webhook)
    if kind == "none":
        return replace(webhook, auth_header=None, token_request=None, token_expires_at_ms=None)
    if kind == "basic":
        header = _basic(webhook, said.auth_credentials)
        return replace(webhook, auth_header=header, token_request=None, token_expires_at_ms=None)
    request = _token_request(webhook.token_request, said.auth_request_details)
    if request == webhook.token_request:
        return webhook
    return replace(webhook, auth_header=None, token_request=request, token_expires_at_ms=None)


def _basic(webhook: Webhook, said: Credentials | None) -> str:
    known = webhook.auth_header if auth_type(webhook) == "basic" else None
    if known is not None and (said is None or (said.password is None and said.username == _username(known))):
        return known
    if said is None or not said.username:
        raise _wrong("'auth_credentials' must hold a username for auth_type basic")
    if ":" in said.username:
        raise _wrong("'auth_credentials': a username must be without a colon")  # RFC 7617, 2
    return _BASIC + base64.b64encode(f"{said.username}:{said.password or ''}".encode()).decode()


def _username(header: str) -> str:
    return base64.b64decode(header.removeprefix(_BASIC)).decode().partition(":")[0]


def _token_request(known: TokenRequest | None, said: TokenRequestDetails | None) -> TokenRequest:
    if known is not None and (said is None or (not said.body and said.url in ("", known.url))):
        return known
    if said is None or not said.url or not said.body:
        raise _wrong("'auth_request_details' must hold url and body for auth_type oauth2")
    url = checked_url("auth_request_details.url", said.url)
    return TokenRequest(url, {name: _text(value) for name, value in said.body.items()})


def _shown_credentials(webhook: Webhook, now_ms: int) -> dict[str, Any]:
    kind = auth_type(webhook)
    if kind == "basic" and webhook.auth_header is not None:
        return {"username": _username(webhook.auth_header)}
    if kind == "oauth2" and webhook.token_expires_at_ms is not None:
        return {"expires_in": max(0, webhook.token_expires_at_ms - now_ms) // 1000}
    return {}


def _text(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _moment(at_ms: int, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(at_ms // 1000, zone).strftime("%Y-%m-%d %H:%M:%S")


def _wrong(message: str) -> Problem:
    return plain(HTTPStatus.BAD_REQUEST, message)
