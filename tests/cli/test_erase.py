"""cli.erase: `omni erase`, with its receipt."""

import asyncio
import json

import pytest
from tests.cli.conftest import Omni

from omni_etl import settings
from omni_etl.clock import SystemClock
from omni_etl.errors import SettingsError, UnavailableError
from omni_etl.wiring.databases import build_agreements
from omni_etl.wiring.opened import opened


def test_a_receipt_is_given_and_kept(omni: Omni, store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In any spelling; as one JSON value for programs, as a table for people; and it names nobody."""
    monkeypatch.setenv("OMNI_STORE_URL", store_url)
    made = omni("erase", " Ann@Example.com", "--json")
    [receipt] = json.loads(made.stdout)
    assert (made.exit_code, receipt["events"], receipt["with_suppressions"], receipt["silent"]) == (0, 0, False, [])
    assert receipt["finished"] >= receipt["until"]
    [kept] = json.loads(omni("erase", "--receipts", "--json").stdout)
    assert kept == {name: value for name, value in receipt.items() if name != "silent"}
    shown = omni("erase", "--receipts").stdout
    assert receipt["id"] in shown
    assert "ann" not in (made.stdout + shown).lower()


def test_one_that_is_cut_off_says_so(omni: Omni, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine is away: the error names it; the erasure is noted where the database could be reached."""
    monkeypatch.setenv("OMNI_STORE_URL", "http://default:x@127.0.0.1:1/omni")
    with pytest.raises(UnavailableError):
        omni("erase", "ann@example.com")
    assert omni("erase", "--receipts").stdout.strip() == "Erased: nobody"

    async def begin() -> None:
        registry, erasures = build_agreements(settings.load(), SystemClock())
        async with opened(registry), opened(erasures):
            await erasures.begin("ann@example.com", with_suppressions=True)

    asyncio.run(begin())
    [begun] = json.loads(omni("erase", "--receipts", "--json").stdout)
    assert (begun["finished"], begun["with_suppressions"]) == ("not yet", True)


@pytest.mark.parametrize("address", [[], [""], ["  "]])
def test_nobody_is_no_recipient(omni: Omni, address: list[str]) -> None:
    """Nothing is begun."""
    with pytest.raises(SettingsError, match="no address"):
        omni("erase", *address)
