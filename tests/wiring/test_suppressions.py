"""wiring.suppressions: the entry point."""

import pytest
from tests.builders import envelope, line
from tests.wiring.conftest import Make

from omni_etl.clock import SystemClock
from omni_etl.errors import SettingsError
from omni_etl.service import Deadline
from omni_etl.wiring import suppressions
from omni_etl.wiring.databases import build_suppression_list


async def test_what_the_service_writes_the_api_reads(make_settings: Make) -> None:
    """Service and list stand on the same database, so a bounce suppresses."""
    mine = make_settings()
    clock = SystemClock()
    service = suppressions.build(mine)
    entries = build_suppression_list(mine, clock)
    assert service.name == "suppressions"
    await service.open()
    await entries.open()
    bounce = line("bounce", rcpt_to="a@example.com", bounce_class="10")
    await service.apply(envelope([bounce]), Deadline(clock, clock.monotonic() + 60))
    assert [entry.recipient for entry in await entries.check("a@example.com")] == ["a@example.com"]
    await service.close()
    await entries.close()


def test_another_database_is_refused(make_settings: Make) -> None:
    """By the setting's name."""
    with pytest.raises(SettingsError, match=r"^OMNI_DATABASE_URL"):
        suppressions.build(make_settings(database_url="mysql://h/omni"))
