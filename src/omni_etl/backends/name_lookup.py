"""Name lookup: each customer's host name is asked for in a thread of its own, so that one that hangs holds up no other.

The loop's own lookup has four threads (libuv), and lets two wait for names: two customers whose name servers are silent would
keep every other customer's name waiting, and those of our engines.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from typing import Any, Final

from aiohttp.abc import AbstractResolver, ResolveResult

from omni_etl.clock import Clock

PROMPT_SECONDS: Final = 1.0
FLAGS: Final = socket.AI_ADDRCONFIG
NUMERIC: Final = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
Found = list[tuple[Any, ...]]


class ThreadedNames(AbstractResolver):
    """The system's `getaddrinfo`. Names that were answered promptly the last time have threads that others never take.

    A thread lives as long as its question: who stops waiting leaves it behind, and it keeps its place until it is answered.
    Whoever asks twice at the same time is not joined here; aiohttp does that.
    """

    def __init__(self, *, threads_max: int, clock: Clock) -> None:
        self._clock = clock
        self._prompt: set[str] = set()
        self._for_prompt = asyncio.Semaphore(threads_max)
        self._for_others = asyncio.Semaphore(max(1, threads_max // 2))

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises what the system's lookup raises."""
        turn = self._for_prompt if host in self._prompt else self._for_others
        await turn.acquire()
        found = await self._asked(host, port, family, turn)
        return [
            ResolveResult(hostname=host, host=address[0], port=address[1], family=its, proto=protocol, flags=NUMERIC)
            for its, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Nothing to give back: threads end by themselves, and do not keep a process from ending."""

    async def _asked(self, host: str, port: int, family: int, turn: asyncio.Semaphore) -> Found:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Found] = loop.create_future()

        def tell(found: Found | Exception, seconds: float) -> None:
            turn.release()
            is_prompt = not isinstance(found, Exception) and seconds < PROMPT_SECONDS
            (self._prompt.add if is_prompt else self._prompt.discard)(host)
            if answer.done():
                return  # nobody waits any more
            if isinstance(found, Exception):
                answer.set_exception(found)
            else:
                answer.set_result(found)

        def ask() -> None:
            began = self._clock.monotonic()
            found = _found(host, port, family)
            with suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(tell, found, self._clock.monotonic() - began)

        threading.Thread(target=ask, name="name", daemon=True).start()
        return await answer


def _found(host: str, port: int, family: int) -> Found | Exception:
    """What the system says, or what it raised."""
    try:
        return list(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, FLAGS))
    except (OSError, UnicodeError) as error:  # no such name, no answer; or none that could be a name
        return error
