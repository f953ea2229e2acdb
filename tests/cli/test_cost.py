"""cli.cost: the bill as people and programs read it."""

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Omni

from omni_etl.errors import SettingsError


def test_a_person_sees_ours_beside_one_event_messages(omni: Omni) -> None:
    """By the day, the month and the million, with the fixed price of real time, and where prices are from."""
    shown = omni("cost", "--events-per-day", "3456000000", "--hoses", "2").stdout
    assert "3,456,000,000 events a day, 2 x hose, 1 x run" in shown
    for word in ("bulk", "express", "renewals", "empty polls", "one event a message", "ten messages a call"):
        assert word in shown
    assert "$15.55 a month for each hose" in shown
    assert "2026" in shown


def test_a_program_reads_the_same(omni: Omni, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every arrangement with its requests and dollars; envelopes are cut as the settings say."""
    first = json.loads(omni("cost", "--events-per-day", "1e9", "--json").stdout)
    assert first["one_event"]["usd_per_million_events"] == pytest.approx(1.2)
    assert first["envelopes"]["usd_per_day"] == pytest.approx(first["envelopes"]["usd_per_month"] / 30)
    monkeypatch.setenv("OMNI_EXPRESS_AGE_SECONDS", "0.05")
    second = json.loads(omni("cost", "--events-per-day", "1e9", "--json").stdout)
    assert second["busy_express_usd_per_hose_month"] == pytest.approx(4 * first["busy_express_usd_per_hose_month"])
    assert second["envelopes"]["requests"]["express"] > 2 * first["envelopes"]["requests"]["express"]


def test_a_price_table_may_be_a_file(omni: Omni, tmp_path: Path) -> None:
    """For regions that are not built in, and for prices that have changed."""
    path = tmp_path / "prices.json"
    path.write_text(json.dumps({"region": "here", "source": "a letter", "steps": [[1e6, 2.0], [None, 1.0]]}))
    seen = json.loads(omni("cost", "--events-per-day", "1000000", "--price-table", str(path), "--json").stdout)
    assert (seen["region"], seen["prices_from"]) == ("here", "a letter")
    assert seen["one_event"]["usd_per_month"] == pytest.approx(2.0 + 89.0)


@pytest.mark.parametrize(
    "text", ["{}", '{"region": "r", "source": "s", "steps": []}', '{"region": "r", "source": "s", "steps": [[1, 1]]}']
)
def test_a_price_table_that_says_nothing_is_refused(omni: Omni, tmp_path: Path, text: str) -> None:
    """In words, as is a region that is not there."""
    path = tmp_path / "prices.json"
    path.write_text(text)
    for name in (str(path), "mars-north-1"):
        with pytest.raises(SettingsError, match=r"^--price-table: found "):
            omni("cost", "--events-per-day", "1", "--price-table", name)
