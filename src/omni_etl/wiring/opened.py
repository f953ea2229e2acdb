"""Opened: a contract for as long as a block of code needs it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar


class Openable(Protocol):
    """What every contract but the queue, which is told its names, and the tracker, which is told its epoch, has."""

    async def open(self) -> None:
        """Reach the engine."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...


Contract = TypeVar("Contract", bound=Openable)


@asynccontextmanager
async def opened(contract: Contract) -> AsyncIterator[Contract]:
    """Open it, and close it whatever happens, a failed opening included. Raises what `open` raises."""
    try:
        await contract.open()
        yield contract
    finally:
        await contract.close()
