"""Poster on aiohttp: one POST to an address that an outsider named, bounded in time, bytes and reach.

The guard sits where a socket is made, after every kind of resolving: names, literals, odd spellings of numbers. So the
address that was judged is the address that is connected to, and a name that changes its mind gains nothing.
"""

from __future__ import annotations

import asyncio
import io
import socket
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from omni_etl.backends.name_lookup import ThreadedNames
from omni_etl.clock import Clock
from omni_etl.poster import Answer

ANSWER_BYTES_MAX: Final = 64 * 1024  # read, so that the connection can serve again; more closes it
WHOLE_BYTES_MAX: Final = 1024 * 1024
KEEPALIVE_SECONDS: Final = (
    1.5  # less than common servers' own (gunicorn 2 s, uvicorn and Node 5 s): no post on a dying one
)
REASON_CHARACTERS_MAX: Final = 200
AddressGuard = Callable[[IPv4Address | IPv6Address, int], str | None]
"""Why not to connect to this address and port, or None."""


class AddressRefusedError(OSError):
    """The guard said no."""


class AiohttpPoster:
    """Follows no redirect, keeps no cookies, heeds no proxy variables; connections are kept and shared by host."""

    def __init__(
        self,
        *,
        refusal: AddressGuard,
        timeout_seconds: float,
        connections_max: int,
        clock: Clock,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._refusal = refusal
        self._resolver = resolver
        self._timeout_seconds = timeout_seconds
        self._connections_max = connections_max
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the connection pool; nothing is connected yet."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._connections_max,
                    keepalive_timeout=KEEPALIVE_SECONDS,
                    resolver=self._resolver or ThreadedNames(threads_max=self._connections_max, clock=self._clock),
                    socket_factory=self._guarded_socket,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),  # ours is around everything
                auto_decompress=False,  # a small answer stays small
                skip_auto_headers=("Accept", "Accept-Encoding"),
                trust_env=False,
            )

    async def close(self) -> None:
        """Close connections."""
        if self._session is not None:
            await self._session.close()
        self._session = None

    async def post(self, target: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """One attempt. An answer counts when it is whole, or longer than we care to read."""
        assert self._session is not None, "open first"
        try:
            url = _checked(target)
            async with asyncio.timeout(self._timeout_seconds):
                return await self._post(self._session, url, body, headers)
        except TimeoutError:
            return Answer(None, f"timeout after {self._timeout_seconds:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(None, _reason(error))

    async def _post(self, session: aiohttp.ClientSession, url: URL, body: bytes, headers: Mapping[str, str]) -> Answer:
        # Large ones are written in parts, which costs more; aiohttp warns of large bytes.
        data = body if len(body) <= WHOLE_BYTES_MAX else io.BytesIO(body)
        async with session.post(url, data=data, headers=headers, allow_redirects=False) as response:
            read = bytearray()
            while len(read) <= ANSWER_BYTES_MAX and (part := await response.content.readany()):
                read += part
            if len(read) > ANSWER_BYTES_MAX:
                response.close()
            retry_after = self._retry_after(response)
            return Answer(
                response.status, str(response.status), retry_after, headers=response.headers, body=bytes(read)
            )

    def _retry_after(self, response: aiohttp.ClientResponse) -> float | None:
        """In both forms (RFC 9110 10.2.3): seconds, or a date."""
        text = response.headers.get("Retry-After", "").strip()
        if not text:
            return None
        if text.isascii() and text.isdigit():
            return float(text[:10])
        try:
            when = parsedate_to_datetime(text)  # one without a zone is UTC (RFC 9110, 5.6.7), not the machine's
            return max(0.0, (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - self._clock.now())
        except (ValueError, OverflowError):
            return None

    def _guarded_socket(self, address_info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, (host, port, *_) = address_info
        reason = self._refusal(ip_address(host), port)
        if reason is not None:
            raise AddressRefusedError(reason)
        return socket.socket(family=family, type=kind, proto=protocol)


def _checked(target: str) -> URL:
    url = URL(target)
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError("the target is no http or https URL")
    if url.user is not None or url.password is not None:
        raise ValueError("the target holds a user name")
    return url


def _reason(error: Exception) -> str:
    """One line for the customer: what kind of trouble, and nothing of ours."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    match cause:
        case AddressRefusedError():
            kind = "refused"
        case aiohttp.InvalidURL():
            kind = "target"
        case ssl.SSLError() | aiohttp.ClientConnectorCertificateError():
            kind = "tls"
        case _ if isinstance(error, aiohttp.ClientConnectorDNSError):
            kind = "dns"
        case _ if isinstance(error, aiohttp.ClientConnectorError):
            kind = "connect"
        case aiohttp.ClientError() | OSError():
            kind = "connection"
        case _:
            kind = "target"
    text = " ".join(str(cause).split()) or type(cause).__name__
    return f"{kind}: {text}"[:REASON_CHARACTERS_MAX]
