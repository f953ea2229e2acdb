"""Settings of a system that keeps everything in one temporary directory."""

from collections.abc import Callable
from pathlib import Path

import pytest

from omni_etl import settings
from omni_etl.settings import Settings

Make = Callable[..., Settings]


@pytest.fixture
def make_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Settings by argument alone: no `omni.toml` is read, and everything unnamed lies in the temporary directory."""
    monkeypatch.chdir(tmp_path)
    return lambda **named: settings.load(**{"data_dir": tmp_path / "omni-data", **named})
