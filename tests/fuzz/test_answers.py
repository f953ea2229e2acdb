"""What other servers answer: customers to our webhooks, and the hose to producers and to the API."""

import contextlib
import math
from typing import Any

import msgspec
from hypothesis import strategies as st
from tests.fuzz.budget import altered, fuzz, odd_json, odd_text

from omni_etl.api.ingest import _said
from omni_etl.backends.http import AiohttpPoster, _checked
from omni_etl.client import _report
from omni_etl.clock import ManualClock
from omni_etl.errors import SendError

POSTER = AiohttpPoster.__new__(AiohttpPoster)  # unopened, of which only the reading of an answer is asked
POSTER._clock = ManualClock()
DATES = [
    b"Wed, 21 Oct 2026 07:28:00 GMT",
    b"Wed, 21 Oct 2026 07:28:00 -0000",
    b"Mon, 01 Jan 0001 00:00:00 +2359",
    b"Fri, 31 Dec 9999 23:59:59 -2359",
]
ANSWER = b'{"accepted":2,"rejected":[{"line":3,"reason":"why"}],"rejected_count":7}'


class _Response:
    def __init__(self, retry_after: str) -> None:
        self.headers = {"Retry-After": retry_after}


@fuzz(
    text=odd_text()
    | st.text("0123456789:,+- MonJanGMT;()", max_size=40)
    | st.sampled_from(DATES).flatmap(altered).map(lambda raw: raw.decode("latin-1"))
)
def test_retry_after(text: str) -> None:
    """Seconds that are no less than none, or nothing."""
    found = POSTER._retry_after(_Response(text))  # type: ignore[arg-type]  # has what is read
    assert found is None or (found >= 0 and math.isfinite(found))


@fuzz(
    target=odd_text() | altered(b"https://user:pass@example.com:8443/hook?a=b").map(lambda raw: raw.decode("latin-1"))
)
def test_targets(target: str) -> None:
    """A URL of http without a user, or refused as a value."""
    with contextlib.suppress(ValueError):
        url = _checked(target)
        assert url.scheme in {"http", "https"}
        assert url.host
        assert url.user is None


@fuzz(
    body=altered(ANSWER) | odd_json().map(lambda value: _json({"accepted": value})) | st.just(b'{"x":' + b"[" * 20_000)
)
def test_answers_of_a_hose(body: bytes) -> None:
    """A producer hears an error it knows; the API hears nothing."""
    with contextlib.suppress(SendError):
        _report(200, body)
    _said(body)


def _json(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (OverflowError, UnicodeEncodeError):
        return b""
