"""Product: what a database product does its own way. `sqlite.py` and `postgresql.py` are the two there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Select, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine

Insert = sqlite.Insert | postgresql.Insert
"""An INSERT that knows `ON CONFLICT`, spelled alike in both."""

Value = TypeVar("Value")


class Product(Protocol):
    """One part of the database, in the hands of one product; `Database` gives it its transactions."""

    place: str
    """Where it is, for messages: no user, no password."""
    writer: AsyncEngine
    """Its transactions are durable when they end, and see what others committed before each statement."""
    readers: AsyncEngine
    """Its transactions cannot write, and see one moment."""
    writers_max: int
    """Transactions of this process that write at the same time."""
    transaction_seconds_max: float | None
    """What takes longer is given up as an outage; None where the product itself holds each step to a time."""
    errors: tuple[type[Exception], ...]
    """What its calls raise."""

    async def migrate(self) -> None:
        """Bring the schema up to this program; safe in many processes at once.

        Raises:
            SettingsError: what waiting cannot heal.

        """
        ...

    async def close(self) -> None:
        """Give back connections; the next transaction makes new ones."""
        ...

    async def read(self, work: Callable[[Connection], Value]) -> Value:
        """A whole transaction of `readers`, in the way that costs least."""
        ...

    async def write(self, work: Callable[[Connection], Value]) -> Value:
        """A whole transaction of `writer`, likewise."""
        ...

    async def glance(self, statement: Select[Any], keys: Sequence[str | int]) -> Sequence[Sequence[Any]]:
        """Rows of a SELECT that takes a few from an index, at the least price there is: one statement, no transaction.

        `keys` are its parameters in the order in which they stand; it names texts and whole numbers alone.
        """
        ...

    def trouble(self, error: Exception) -> str | None:
        """The reason in words where this is an outage; None where it is a fault of ours."""
        ...

    def insert(self, table: Table) -> Insert:
        """An INSERT that knows `ON CONFLICT`."""
        ...

    def spot(self) -> object:
        """What stands at the place now; a write that began at one spot and ended at another confirms nothing."""
        ...
