"""wiring.opened: whatever happens in between, connections are given back."""

import pytest

from omni_etl.errors import UnavailableError
from omni_etl.wiring.opened import opened


class Door:
    """Notes what is done with it."""

    def __init__(self, *, is_away: bool = False) -> None:
        self.is_away = is_away
        self.done: list[str] = []

    async def open(self) -> None:
        """Reach nothing."""
        self.done.append("open")
        if self.is_away:
            raise UnavailableError("no engine")

    async def close(self) -> None:
        """Noted."""
        self.done.append("close")


async def test_it_is_open_inside_and_closed_after() -> None:
    """The block gets the very thing."""
    door = Door()
    async with opened(door) as mine:
        assert mine is door
        assert door.done == ["open"]
    assert door.done == ["open", "close"]


@pytest.mark.parametrize("is_away", [True, False])
async def test_an_error_closes_it_too(*, is_away: bool) -> None:
    """Raised while opening or in the block."""
    door = Door(is_away=is_away)
    with pytest.raises(UnavailableError):
        async with opened(door):
            raise UnavailableError("in the block")
    assert door.done == ["open", "close"]
