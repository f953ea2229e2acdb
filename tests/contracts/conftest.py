"""An empty database of each kind, for the suites of the contracts that live in one."""

from pathlib import Path

import pytest

from omni_etl.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    """Time by hand."""
    return ManualClock()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty database is; another kind is one more entry here."""
    return f"sqlite:///{tmp_path}" if request.param == "sqlite" else str(request.getfixturevalue("postgresql_url"))
