"""wiring.webhooks: the entry point."""

import pytest
import structlog
from tests.wiring.conftest import Make

from omni_etl.clock import SystemClock
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


def test_a_port_that_is_none_is_refused(make_settings: Make) -> None:
    """The same of ports."""
    with pytest.raises(SettingsError) as refused:
        webhooks.build(make_settings(webhooks_allow_ports="8443, https"))
    assert (refused.value.setting, refused.value.found) == ("OMNI_WEBHOOKS_ALLOW_PORTS", "'https'")


@pytest.mark.parametrize(
    ("networks", "warned"), [("0.0.0.0/0", True), ("10.0.0.0/8, ::/0", True), ("10.0.0.0/8", False)]
)
def test_a_guard_that_lets_everything_through_warns(make_settings: Make, networks: str, warned: bool) -> None:  # noqa: FBT001 by parametrize
    """At start, with what was written."""
    with structlog.testing.capture_logs() as logs:
        webhooks.build_poster(make_settings(webhooks_allow_networks=networks), SystemClock())
    found = [(each["event"], each["log_level"], each["networks"]) for each in logs]
    assert found == ([("webhook_guard_open", "warning", networks)] if warned else [])
