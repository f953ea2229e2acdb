"""The real database on SQLite, time by hand, and a customer's server."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.secret_boxes import BOX
from tests.services.webhooks.fakes import CustomerPoster, StumblingOutbox, WatchedDatabase
from tests.services.webhooks.scene import Scene, opened

from omni_etl.backends.database import DatabaseWebhooks
from omni_etl.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    """Time by hand."""
    return ManualClock()


@pytest.fixture
async def outbox(tmp_path: Path, clock: ManualClock) -> AsyncIterator[StumblingOutbox]:
    """An empty, open outbox."""
    opened = StumblingOutbox(WatchedDatabase(f"sqlite:///{tmp_path}", "outbox", clock), clock)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def webhooks(tmp_path: Path, clock: ManualClock) -> AsyncIterator[DatabaseWebhooks]:
    """An empty, open table of webhooks."""
    opened = DatabaseWebhooks(WatchedDatabase(f"sqlite:///{tmp_path}", "control", clock), clock, BOX)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def customer() -> CustomerPoster:
    """A customer's server that takes everything."""
    return CustomerPoster()


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """Delivery that has looked into an empty outbox once, and runs."""
    async with opened(tmp_path) as subject:
        await subject.start()
        yield subject
