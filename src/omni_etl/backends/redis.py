"""Tracker on Redis or Valkey: one hash per envelope, a field per service, a tombstone after deletion.

EVAL and not EVALSHA: after a restart or a failover the server knows no digests, and 400 bytes more a call cost less than
that second path. No retries here: a call that failed is `UnavailableError`, and the caller knows what a mark is worth.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import redis.asyncio as client
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

from omni_etl.errors import SettingsError, UnavailableError
from omni_etl.tracker import TOMBSTONE_SECONDS, WORK_SECONDS, Mark, Progress

SETTING: Final = "OMNI_TRACKER_URL"
POLICY: Final = "noeviction"
CONNECTIONS_MAX: Final = 16
CALL_SECONDS_MAX: Final = 2.0
KEYS_PER_CALL_MAX: Final = 500  # of one pipeline, so that its answers stay small

TOMBSTONE: Final = b"t"
LETTERS: Final[dict[Mark, bytes]] = {"done": b"d", "sided": b"s", "dead": b"x"}
MARKS: Final[dict[bytes, Mark]] = {letter: mark for mark, letter in LETTERS.items()}

# KEYS: envelope; ARGV: service, letter, seconds, owed services. A buried envelope stays buried and misses nothing.
MARK_AND_TELL: Final = """
if redis.call('TYPE', KEYS[1]).ok == 'string' then return {} end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
local missing = {}
for i = 4, #ARGV do
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 0 then missing[#missing + 1] = ARGV[i] end
end
return missing
"""

# KEYS: envelope; ARGV: seconds. Answers the tombstone, or the hash after renewing it.
ASK_AND_RENEW: Final = """
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'string' then return redis.call('GET', KEYS[1]) end
if kind == 'none' then return {} end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return redis.call('HGETALL', KEYS[1])
"""


class RedisTracker:
    """Reconnects by itself; before `open` succeeded every call is `UnavailableError`."""

    def __init__(self, url: str, *, call_seconds_max: float = CALL_SECONDS_MAX) -> None:
        self._url = url
        self._call_seconds_max = call_seconds_max
        self._client: client.Redis | None = None
        self._prefix: str | None = None

    async def open(self, epoch: str) -> None:
        """Connect, check that nothing is evicted, and see only marks of this epoch. May be called again.

        Raises:
            SettingsError: an unknown scheme, refused credentials, an evicting policy.
            UnavailableError: the server is away.

        """
        if self._client is None:
            self._client = self._connect()
        self._prefix = None
        prefix = f"omni:{epoch}:"
        async with self._call() as connected:
            await _check_policy(connected)
            # The user may do what we will do: a denied EVAL is found now and not at the first mark.
            await connected.eval(MARK_AND_TELL, 1, f"{prefix}open", "open", LETTERS["done"], WORK_SECONDS)
        self._prefix = prefix

    async def close(self) -> None:
        """Give back connections."""
        if self._client is not None:
            await self._client.aclose()
        self._client = None
        self._prefix = None

    async def ask(self, keys: Sequence[str]) -> list[Progress]:
        """What is remembered, in the order of `keys`; renews what is in work."""
        answers: list[Any] = []
        for part in _parts(keys):
            async with self._call() as connected, connected.pipeline(transaction=False) as pipeline:
                for key in part:
                    pipeline.eval(ASK_AND_RENEW, 1, self._name(key), WORK_SECONDS)
                answers += await pipeline.execute()
        return [_progress(answer) for answer in answers]

    async def mark(self, key: str, service: str, mark: Mark, owed: frozenset[str]) -> frozenset[str]:
        """Note one mark and answer which of `owed` have none yet, in one script. Nothing is missing once buried."""
        async with self._call() as connected:
            script = connected.eval(MARK_AND_TELL, 1, self._name(key), service, LETTERS[mark], WORK_SECONDS, *owed)
            missing = cast("list[bytes]", await script)
            return frozenset(name.decode() for name in missing)

    async def bury(self, keys: Sequence[str]) -> None:
        """Put a one-byte tombstone in place of the marks, for an hour."""
        for part in _parts(keys):
            async with self._call() as connected, connected.pipeline(transaction=False) as pipeline:
                for key in part:
                    pipeline.set(self._name(key), TOMBSTONE, ex=TOMBSTONE_SECONDS)
                await pipeline.execute()

    def _connect(self) -> client.Redis:
        try:
            pool = client.BlockingConnectionPool.from_url(
                self._url,
                max_connections=CONNECTIONS_MAX,
                timeout=self._call_seconds_max,
                socket_timeout=self._call_seconds_max,
                socket_connect_timeout=self._call_seconds_max,
                retry=Retry(NoBackoff(), 0),
                protocol=2,  # without HELLO, whose refusal redis-py hides in a ConnectionError
            )
            # Connects nothing, but refuses options of the URL that it does not know.
            pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py's
        except (ValueError, TypeError):  # redis-py's text may repeat the URL, and so a password
            fix = "Give redis://host:port, rediss://host:port or unix:///path."
            raise SettingsError(SETTING, "a URL that cannot be read", fix) from None
        return client.Redis.from_pool(pool)

    def _name(self, key: str) -> str:
        if self._prefix is None:
            raise UnavailableError("the tracker was not checked yet")
        return self._prefix + key

    @asynccontextmanager
    async def _call(self) -> AsyncIterator[client.Redis]:
        """Bound the whole call, connecting included, and turn every failure into one of ours."""
        if self._client is None:
            raise UnavailableError("the tracker is not open")
        try:
            async with asyncio.timeout(self._call_seconds_max):
                yield self._client
        except TimeoutError:
            raise UnavailableError(f"tracker: no answer in {self._call_seconds_max:g} s") from None
        except (RedisError, OSError) as error:
            if self._prefix is None and _is_refusal(error):
                fix = "Correct user and password, and let the user read, write and run scripts."
                raise SettingsError(SETTING, f"credentials that the server refuses ({_word(error)})", fix) from None
            raise UnavailableError(f"tracker: {_word(error)}") from error


async def _check_policy(connected: client.Redis) -> None:
    try:
        found = (await connected.config_get("maxmemory-policy")).get("maxmemory-policy")
    except ResponseError:  # managed servers hide CONFIG
        found = None
    policy = _text(found or (await connected.info("memory")).get("maxmemory_policy", "unknown"))
    if policy != POLICY:
        raise SettingsError(
            SETTING,
            f"a server with maxmemory-policy {policy}",
            f"Set it to {POLICY}: evicted marks are questions asked again without end.",
        )


def _is_refusal(error: BaseException) -> bool:
    """While connecting, redis-py wraps the server's refusal in a ConnectionError."""
    return any(isinstance(each, AuthenticationError | NoPermissionError) for each in (error, error.__cause__))


def _progress(answer: bytes | list[bytes]) -> Progress:
    if isinstance(answer, bytes):
        return Progress(marks={}, settled=True)
    pairs = zip(answer[::2], answer[1::2], strict=True)
    return Progress(marks={service.decode(): MARKS[letter] for service, letter in pairs}, settled=False)


def _parts(keys: Sequence[str]) -> list[Sequence[str]]:
    return [keys[start : start + KEYS_PER_CALL_MAX] for start in range(0, len(keys), KEYS_PER_CALL_MAX)]


def _word(error: BaseException) -> str:
    """The error's kind, and what the server said: it repeats no secrets, but may repeat keys."""
    return f"{type(error).__name__}: {str(error)[:200]}"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
