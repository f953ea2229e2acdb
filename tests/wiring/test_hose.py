"""wiring.hose: settings become limits."""

from pathlib import Path

import pytest
from tests.wiring.conftest import Make

from omni_etl.errors import SettingsError
from omni_etl.wiring.hose import build_hose


def test_each_limit_is_its_setting(make_settings: Make) -> None:
    """Seven settings that are all numbers of bytes or counts, each in its place."""
    names = {
        "spool_bytes_max": 2_000_001,
        "spool_segment_bytes": 100_002,
        "intake_body_bytes_max": 10_003,
        "intake_raw_bytes_max": 10_004,
        "intake_waiting_bytes_max": 10_005,
        "requests_count_max": 6,
        "requests_age_seconds_max": 7,
        "sends_in_flight_max": 8,
        "envelope_bytes": 200_009,
        "bulk_age_seconds": 10.0,
    }
    limits = build_hose(make_settings(**names)).limits
    found = {
        "spool_bytes_max": limits.spool_bytes_max,
        "spool_segment_bytes": limits.spool_segment_bytes,
        "intake_body_bytes_max": limits.body_bytes_max,
        "intake_raw_bytes_max": limits.raw_bytes_max,
        "intake_waiting_bytes_max": limits.waiting_bytes_max,
        "requests_count_max": limits.requests.count_max,
        "requests_age_seconds_max": limits.requests.age_seconds_max,
        "sends_in_flight_max": limits.sends_in_flight_max,
        "envelope_bytes": limits.cuts.envelope_bytes,
        "bulk_age_seconds": limits.cuts.bulk_age_seconds,
    }
    assert found == names


async def test_it_spools_where_the_setting_says(make_settings: Make, tmp_path: Path) -> None:
    """A disk of its own for what was accepted and not yet sent."""
    hose = build_hose(make_settings(spool_dir=tmp_path / "disk"))
    await hose.start()
    await hose.stop(5)
    assert any((tmp_path / "disk").iterdir())
    assert not (tmp_path / "omni-data" / "hose").exists()


def test_another_queue_is_refused(make_settings: Make) -> None:
    """Before anything is accepted."""
    with pytest.raises(SettingsError, match=r"^OMNI_QUEUE_URL: found the scheme 'amqp'"):
        build_hose(make_settings(queue_url="amqp://broker"))
