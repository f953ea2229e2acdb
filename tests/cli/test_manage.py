"""cli.manage: agreements, looked at and changed, on a real database."""

import asyncio
import json
import re
from pathlib import Path

import pytest
from tests.cli.conftest import Omni

from omni_etl import settings
from omni_etl.clock import SystemClock
from omni_etl.errors import SettingsError
from omni_etl.event import TYPES
from omni_etl.webhook import SUBACCOUNTS_ALL, Webhook
from omni_etl.wiring.databases import build_registry, build_webhooks
from omni_etl.wiring.opened import opened

TARGET = "https://example.com/hook"


def kept_webhooks() -> list[Webhook]:
    """As the services read them."""

    async def read() -> list[Webhook]:
        async with opened(build_webhooks(settings.load(), SystemClock())) as webhooks:
            return list(await webhooks.all())

    return asyncio.run(read())


def test_a_webhook_lives_from_create_to_delete(omni: Omni) -> None:
    """The id that create prints is the one that list shows and delete takes."""
    made = omni("webhooks", "create", "shop", TARGET, "--events", "delivery, bounce", "--subaccount", "7")
    assert made.exit_code == 0
    webhook_id = made.stdout.strip()
    [kept] = kept_webhooks()
    assert (kept.id, kept.name, kept.target, kept.subaccount_id) == (webhook_id, "shop", TARGET, 7)
    assert kept.events == {"delivery", "bounce"}
    assert json.loads(omni("webhooks", "list", "--json").stdout) == [
        {
            "id": webhook_id,
            "name": "shop",
            "target": TARGET,
            "events": 2,
            "state": "delivering",
            "waiting": 0,
            "authorization": "not set",
        }
    ]
    assert omni("webhooks", "delete", webhook_id).exit_code == 0
    again = omni("webhooks", "delete", webhook_id)
    assert (again.exit_code, again.stderr.strip()) == (1, "no such webhook")
    assert omni("webhooks", "list").stdout.strip() == "Webhooks: none"


def test_a_webhook_gets_everything_unless_told(omni: Omni) -> None:
    """All types, all subaccounts."""
    omni("webhooks", "create", "all", TARGET)
    [kept] = kept_webhooks()
    assert (kept.events, kept.subaccount_id) == (TYPES, SUBACCOUNTS_ALL)


def test_a_webhook_signs_from_the_beginning(omni: Omni) -> None:
    """Its secret is shown when asked for, replaced when told to, and nowhere else."""
    webhook_id = omni("webhooks", "create", "shop", TARGET).stdout.strip()
    first = omni("webhooks", "secret", webhook_id)
    assert (first.exit_code, first.stdout[:6]) == (0, "whsec_")
    assert omni("webhooks", "secret", webhook_id).stdout == first.stdout
    second = omni("webhooks", "secret", webhook_id, "--rotate")
    [kept] = kept_webhooks()
    now_ms = int(SystemClock().now() * 1000)
    assert kept.signing_secrets(now_ms) == (second.stdout.strip(), first.stdout.strip())
    assert kept.former_secrets[0].until_ms == pytest.approx(now_ms + 86_400_000, abs=60_000)
    third = omni("webhooks", "secret", webhook_id, "--rotate", "--overlap-hours", "0")
    [kept] = kept_webhooks()
    assert kept.signing_secrets(now_ms) == (third.stdout.strip(),)
    for words in (("list",), ("list", "--json"), ("show", webhook_id), ("show", webhook_id, "--json")):
        assert "whsec_" not in omni("webhooks", *words).stdout


def test_a_secret_that_is_not_there_is_not_shown(omni: Omni) -> None:
    """No such webhook; and an overlap without a rotation is a mistake."""
    for words in ((), ("--rotate",)):
        answer = omni("webhooks", "secret", "nobody", *words)
        assert (answer.exit_code, answer.stdout, answer.stderr.strip()) == (1, "", "no such webhook")
    with pytest.raises(SettingsError, match="--rotate"):
        omni("webhooks", "secret", "nobody", "--overlap-hours", "3")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("shop", TARGET, "--events", "delivery,delivred"), "delivred"),
        (("shop", "ftp://example.com"), "'target' must be an http or https URL"),
        (("", TARGET), "at least 1 character"),
    ],
)
def test_a_bad_webhook_is_refused_in_words(omni: Omni, arguments: tuple[str, ...], words: str) -> None:
    """And nothing is kept of it."""
    with pytest.raises(SettingsError, match=words):
        omni("webhooks", "create", *arguments)
    assert kept_webhooks() == []


def test_a_name_is_shown_as_it_is(omni: Omni) -> None:
    """Brackets are no markup: a customer's name neither vanishes nor ends the command."""
    omni("webhooks", "create", "[/x] [bold]shop", TARGET)
    assert "[/x] [bold]shop" in omni("webhooks", "list").stdout


def test_an_id_is_whole_however_narrow_the_terminal(omni: Omni, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there to be copied into the next command."""
    monkeypatch.setenv("COLUMNS", "60")
    webhook_id = omni("webhooks", "create", "shop with a long name", TARGET + "/" + "x" * 80).stdout.strip()
    assert f"│ {webhook_id} │" in omni("webhooks", "list").stdout


def test_a_key_is_shown_once(omni: Omni) -> None:
    """List knows its id and name; a revoked one stays listed, and is refused."""
    secret = omni("keys", "create", "--name", "laptop").stdout.strip()
    listed = omni("keys", "list", "--json")
    [key] = json.loads(listed.stdout)
    assert (key["name"], key["revoked"]) == ("laptop", False)
    assert secret not in listed.stdout
    assert secret not in omni("keys", "list").stdout
    assert omni("keys", "revoke", key["id"]).exit_code == 0
    again = omni("keys", "revoke", key["id"])
    assert (again.exit_code, again.stderr.strip()) == (1, "no such key, or revoked already")
    assert json.loads(omni("keys", "list", "--json").stdout)[0]["revoked"] is True


def test_a_key_may_what_is_said(omni: Omni) -> None:
    """Everything where nothing is; a subaccount's key is its own alone."""
    omni("keys", "create", "--name", "all")
    some = ("--grant", "metrics/view", "--grant", "events/view", "--subaccount", "7")
    assert omni("keys", "create", "--name", "some", *some).exit_code == 0
    listed = json.loads(omni("keys", "list", "--json").stdout)
    assert {(each["name"], each["grants"], each["subaccount"]) for each in listed} == {
        ("all", "everything", None),
        ("some", "events/view, metrics/view", 7),
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--grant", "metrics/modify"), "the grant 'metrics/modify'. There are webhooks/view,"),
        (("--grant", "ingest", "--subaccount", "7"), "Only the primary account hands in events"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused(omni: Omni, arguments: tuple[str, ...], words: str) -> None:
    """And none is made."""
    with pytest.raises(SettingsError, match=re.escape(words)):
        omni("keys", "create", "--name", "x", *arguments)
    assert json.loads(omni("keys", "list", "--json").stdout) == []


def test_a_service_is_retired_by_name(omni: Omni) -> None:
    """The only way in which an owed service is forgotten."""

    async def register() -> None:
        async with opened(build_registry(settings.load(), SystemClock())) as registry:
            await registry.register(["metrics"])

    asyncio.run(register())
    assert omni("services", "retire", "metrics").exit_code == 0
    [service] = json.loads(omni("services", "list", "--json").stdout)
    assert (service["name"], service["retired"]) == ("metrics", True)
    assert omni("services", "retire", "nobody").stderr.strip() == "no such service"


def test_settings_are_shown_without_secrets(omni: Omni, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret is set or not set; every other setting has its value in force, and each its meaning."""
    monkeypatch.setenv("OMNI_STORE_URL", "http://default:hunter2@127.0.0.1:8123/omni")
    monkeypatch.setenv("OMNI_LEASES_MAX", "7")
    shown = omni("settings", "--json")
    found = {row["setting"]: row for row in json.loads(shown.stdout)}
    assert list(found) == [f"OMNI_{name.upper()}" for name in settings.Settings.model_fields]
    values = [found[f"OMNI_{name}"]["value"] for name in ("STORE_URL", "TRACKER_URL", "LEASES_MAX")]
    assert values == ["set", "not set", "7"]
    assert all(row["meaning"] for row in found.values())
    table = omni("settings").stdout
    assert "OMNI_LEASES_MAX" in table
    assert "hunter2" not in shown.stdout + table


@pytest.mark.parametrize(
    "command", [("keys", "create", "--name", "x"), ("webhooks", "list"), ("status",), ("settings",)]
)
def test_a_mistyped_directory_is_not_made(omni: Omni, tmp_path: Path, command: tuple[str, ...]) -> None:
    """A key for a system that is not there would be made, shown, and never open anything."""
    with pytest.raises(SettingsError, match=r"^OMNI_DATA_DIR: found .*typo, which is no directory\. Start `omni up`"):
        omni(*command, "--data", str(tmp_path / "typo"))
    assert not (tmp_path / "typo").exists()
