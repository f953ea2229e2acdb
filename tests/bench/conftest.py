"""What the benchmark's tests leave as they found it."""

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """The benchmark silences logs for its process, which here is everybody's."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)
