"""A running API with a key."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.api.server import Api, running


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """On a database of its own."""
    async with running(tmp_path / "database") as subject:
        subject.key = await subject.parts.keys.create("test")
        yield subject
