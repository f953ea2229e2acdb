"""wiring.api: the API on its database."""

from pathlib import Path

import pytest
from tests.wiring.conftest import Make

from omni_etl.api import ApiParts
from omni_etl.errors import SettingsError
from omni_etl.wiring.api import build_api


async def test_its_parts_meet_in_one_database(make_settings: Make, tmp_path: Path) -> None:
    """A key that one part makes is one it verifies; the status comes from the same settings."""
    parts: ApiParts = build_api(make_settings()).state.parts
    await parts.open()
    secret = await parts.keys.create("test")
    assert await parts.keys.verify(secret) is not None
    assert list(await parts.webhooks.all()) == []
    assert await parts.deliveries.lanes(["w"]) == {}
    assert await parts.suppression_list.count() == 0
    status = await parts.status()
    await parts.close()
    assert status["suppressions"] == {"entries": 0}
    assert [path.name for path in (tmp_path / "omni-data" / "database").glob("control.sqlite")] == ["control.sqlite"]


def test_another_database_is_refused(make_settings: Make) -> None:
    """By the setting's name, before it listens."""
    with pytest.raises(SettingsError, match=r"^OMNI_DATABASE_URL"):
        build_api(make_settings(database_url="mysql://u:hunter2@h/omni"))
