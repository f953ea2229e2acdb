"""wiring.webhooks: the entry point."""

import pytest
from tests.wiring.conftest import Make

from omni_etl.errors import SettingsError
from omni_etl.wiring import webhooks


async def test_the_entry_point_builds_the_service_of_its_name(make_settings: Make) -> None:
    """It opens on SQLite files of its own making."""
    service = webhooks.build(make_settings(webhooks_allow_networks="127.0.0.0/8, ::1/128"))
    assert service.name == "webhooks"
    await service.open()
    await service.close()


def test_a_network_that_is_none_is_refused(make_settings: Make) -> None:
    """The setting and the part that is wrong, at start and not at the first batch."""
    with pytest.raises(SettingsError) as refused:
        webhooks.build(make_settings(webhooks_allow_networks="127.0.0.0/8, the office"))
    assert refused.value.setting == "OMNI_WEBHOOKS_ALLOW_NETWORKS"
    assert "the office" in refused.value.found
