"""Client: `from omni_etl import Hose`, for producers in Python.

Each request carries one Idempotency-Key over all its tries, so that an answer lost on the way never doubles events.
"""

from __future__ import annotations

import random
import re
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import msgspec
import orjson
import urllib3
import zstandard

from omni_etl.backoff import Backoff
from omni_etl.errors import SendError

EVENTS_AT_ONCE_MAX: Final = 1_000
BYTES_AT_ONCE_MAX: Final = 4 * 1024 * 1024  # of one request, uncompressed
TRIES_MAX: Final = 10  # with the waits between them, about a minute
RETRIED_STATUSES: Final = frozenset({408, 429, 500, 502, 503, 504})
RETRY_AFTER_SECONDS_MAX: Final = 60

Event = Mapping[str, Any] | bytes | str
"""A mapping, or one JSON object as text. Flat, or as SparkPost wraps it."""


class Rejected(msgspec.Struct, frozen=True):
    """An event the hose refused; `line` counts the events given to `send`, from 1."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class SendReport:
    """What became of the events. The hose names at most 1,000 rejections of one request but counts all."""

    accepted: int
    rejected: tuple[Rejected, ...]
    rejected_count: int


class Hose:
    """Sends events to `omni hose`. May be shared by threads; usable as a context manager.

    What `send` reports as accepted is on the hose's disk and will arrive, once. Events that lie long back are refused but for
    `old`, an import.

    Raises:
        SendError: `url` is no address.

    """

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float = 30.0,
        connections: int = 4,
        tries_max: int = TRIES_MAX,
        old: bool = False,
    ) -> None:
        if not re.match(r"https?://[^/]", url):
            raise SendError(f"{url!r} is no address of a hose; it looks like http://127.0.0.1:8125")
        self._url = url.rstrip("/") + "/v1/events" + ("?old=true" if old else "")
        self._tries_max = tries_max
        self._backoff = Backoff(first_seconds=0.2, wait_seconds_max=10.0)
        self._rng = random.Random()  # noqa: S311 spreads retries, keeps no secret
        self._given_up = threading.Event()
        self._pause: Callable[[float], bool] = self._given_up.wait
        self._pool = urllib3.PoolManager(
            maxsize=connections, block=True, retries=False, timeout=urllib3.Timeout(total=timeout_seconds)
        )

    def send(self, events: Iterable[Event]) -> SendReport:
        """Send events and return when all are durable.

        Raises:
            SendError: one request was given up, and so was the rest; nothing is known of that one. What earlier requests
                carried was accepted.

        """
        accepted = rejected_count = position = 0
        rejected: list[Rejected] = []
        for lines in _requests(events):
            report = self.send_lines(lines)
            accepted += report.accepted
            rejected_count += report.rejected_count
            rejected.extend(Rejected(position + each.line, each.reason) for each in report.rejected)
            position += len(lines)
        return SendReport(accepted, tuple(rejected), rejected_count)

    def send_lines(self, lines: list[bytes]) -> SendReport:
        """One request: JSON objects without line ends inside.

        Raises:
            SendError: given up; whether the events were accepted is not known.

        """
        if not any(map(bytes.strip, lines)):
            return SendReport(0, (), 0)
        body = zstandard.ZstdCompressor(level=1).compress(b"\n".join(lines))
        headers = {
            "Content-Type": "application/x-ndjson",
            "Content-Encoding": "zstd",
            "Idempotency-Key": uuid.uuid4().hex,
        }
        tries = 0
        while True:
            tries += 1
            status, content, retry_after = self._post(body, headers)
            if status is not None and status not in RETRIED_STATUSES:
                return _report(status, content)
            if tries >= self._tries_max:
                raise SendError(f"{self._url}: {_reason(status, content)} ({tries} tries)", status=status)
            wait_seconds = self._backoff.wait_seconds(tries, self._rng)
            if self._pause(max(wait_seconds, min(retry_after, RETRY_AFTER_SECONDS_MAX))):
                raise SendError("given up", status=status)

    def give_up(self) -> None:
        """Let requests that wait for their next try fail now; from any thread, for good."""
        self._given_up.set()

    def close(self) -> None:
        """Give back connections."""
        self._pool.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _post(self, body: bytes, headers: dict[str, str]) -> tuple[int | None, bytes, float]:
        """Status (None: no answer), body, and how many seconds we were asked to wait."""
        try:
            response = self._pool.request("POST", self._url, body=body, headers=headers)
        except urllib3.exceptions.LocationValueError as error:
            raise SendError(f"{self._url} is no address: {error}") from None
        except urllib3.exceptions.HTTPError as error:
            return None, str(error).encode(), 0.0
        retry_after = response.headers.get("Retry-After", "")
        return response.status, response.data, float(retry_after) if re.fullmatch(r"\d{1,6}", retry_after) else 0.0


class _Answer(msgspec.Struct):
    accepted: int
    rejected: tuple[Rejected, ...]
    rejected_count: int | None = None


def _report(status: int, content: bytes) -> SendReport:
    try:
        answer = msgspec.json.decode(content, type=_Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise SendError(_reason(status, content), status=status) from None
    count = len(answer.rejected) if answer.rejected_count is None else answer.rejected_count
    return SendReport(answer.accepted, answer.rejected, count)


def _reason(status: int | None, content: bytes) -> str:
    text = content[:500].decode(errors="replace")
    return f"HTTP {status}: {text}" if status is not None else f"no answer: {text}"


def _requests(events: Iterable[Event]) -> Iterator[list[bytes]]:
    """Lines in requests of bounded size."""
    lines: list[bytes] = []
    size = 0
    for event in events:
        line = _line(event)
        if lines and (len(lines) >= EVENTS_AT_ONCE_MAX or size + len(line) > BYTES_AT_ONCE_MAX):
            yield lines
            lines, size = [], 0
        lines.append(line)
        size += len(line) + 1
    if lines:
        yield lines


def _line(event: Event) -> bytes:
    """One event on one line; an empty text is a line too, so that positions stay right."""
    if isinstance(event, Mapping):
        return orjson.dumps(event)
    text = event.encode() if isinstance(event, str) else event
    # Outside strings a line end is white space to JSON, inside them it is invalid anyway.
    return text.replace(b"\r", b" ").replace(b"\n", b" ")
