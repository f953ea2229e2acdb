"""Fuzzers are not to fill the screen with what the code under them logs."""

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True, scope="module")
def silence() -> Iterator[None]:
    """Log calls are made, and written nowhere."""
    structlog.configure(processors=[_dropped])
    yield
    structlog.reset_defaults()


def _dropped(_logger: object, _method: str, _event: object) -> structlog.types.EventDict:
    raise structlog.DropEvent
