"""Erasures in a list, for those who only ask which there are."""

from collections.abc import Sequence

from omni_etl.erasure import Erasure, Known, Receipt
from omni_etl.errors import UnavailableError


class ListedErasures:
    """As they stand in the database."""

    def __init__(self, *erasures: Erasure) -> None:
        self.erasures = list(erasures)
        self.is_away = False

    async def open(self) -> None:
        """Nothing to reach."""

    async def close(self) -> None:
        """Nothing to give back."""

    async def known(self, *, beyond: int = 0) -> Known | None:
        """All, if there are more."""
        if self.is_away:
            raise UnavailableError("no database")
        return Known(b"secret", tuple(self.erasures)) if len(self.erasures) > beyond else None

    async def begin(self, recipient: str, *, with_suppressions: bool) -> Receipt:
        """Never asked."""
        raise AssertionError(recipient)

    async def note(self, receipt: Receipt) -> None:
        """Never asked."""
        raise AssertionError(receipt)

    async def receipts(self) -> Sequence[Receipt]:
        """Never asked."""
        raise AssertionError
