"""cli.status: one look, and an exit code for scripts."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.cli.conftest import Omni

from omni_etl.cli.status import _show, loaded

SERVICE = {
    "circuit": "open",
    "waiting": 3,
    "in_flight": 1,
    "ready": True,
    "reason": "the store is away: [/data] [Errno 111]",
}
SEEN: dict[str, Any] = {
    "hose": {"status": "ok", "spool_bytes": 7},
    "fleet": {
        "services": [],
        "roles": [
            {
                "role": "run",
                "instance": "here-12",
                "seen_seconds_ago": 1.5,
                "leases": 4,
                "services": {"metrics": SERVICE, "webhooks": {**SERVICE, "circuit": "closed", "reason": ""}},
                "children": {"webhooks": 4711},
            }
        ],
        "dead_letters": [
            {"service": "metrics", "key": "h-bulk-1", "reason": "Code: 27. [/x] cannot parse", "died_at_ms": 1}
        ],
    },
    "queues": {
        "bulk": {"ready": 12, "leased": 3, "oldest_age_seconds": 4.25},
        "dead-metrics": {"ready": 1, "leased": 0, "oldest_age_seconds": None},
    },
    "outbox": {"waiting": 5},
    "suppressions": {"entries": 6},
    "store": {"message_events": 8, "metrics": 8},
}


def shown(seen: dict[str, Any]) -> str:
    """What a terminal of 200 columns shows."""
    console = Console(file=io.StringIO(), width=200)
    _show(seen, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def row(text: str, first: str) -> list[str]:
    """The cells of a table's row."""
    [found] = [line for line in text.splitlines() if line.startswith(f"│ {first} ")]
    return [cell.strip() for cell in found.strip("│").split("│")]


def test_everything_is_in_the_picture() -> None:
    """Queues, each role's services with child and circuit, dead letters, and counts; reasons as they were said."""
    text = shown(SEEN)
    assert row(text, "bulk") == ["bulk", "12", "3", "4.2"]
    assert row(text, "dead-metrics")[-1] == "not told"
    assert row(text, "webhooks") == ["webhooks", "4711", "closed", "3", "1", ""]
    assert "run here-12: 4 leases, seen 1.5 s ago" in text
    assert "Code: 27. [/x] cannot parse" in text
    metrics = [line for line in text.splitlines() if line.startswith("│ metrics ") and "open" in line]
    assert len(metrics) == 1
    assert "the store is away: [/data] [Errno 111]" in metrics[0]
    assert row(text, "suppressions") == ["suppressions", "entries", "6"]


def test_a_parent_that_fell_silent_is_not_shown_as_if_it_lived() -> None:
    """Its last word stays for an hour, and says so."""
    [role] = SEEN["fleet"]["roles"]
    silent = {**SEEN, "fleet": {**SEEN["fleet"], "roles": [{**role, "seen_seconds_ago": 11.0}]}}
    assert "seen 11.0 s ago, perhaps gone" in shown(silent)
    assert "perhaps gone" not in shown(SEEN)


@pytest.mark.parametrize("name", list(SEEN))
def test_an_engine_that_is_away_is_named_with_its_reason(name: str) -> None:
    """Whichever it is, the others are still shown."""
    text = shown({**SEEN, name: {"away": "no answer in 5 s [/data]"}})
    assert f"{name} is away: no answer in 5 s [/data]" in text
    assert ("dead-metrics" in text) == (name != "queues")
    assert ("run here-12" in text) == (name != "fleet")


def test_away_is_exit_code_one(omni: Omni, monkeypatch: pytest.MonkeyPatch) -> None:
    """For scripts; the words are the same for people and as JSON, and hold no secret."""
    monkeypatch.setenv("OMNI_HOSE_PORT", "1")
    monkeypatch.setenv("OMNI_STORE_URL", "http://default:hunter2@127.0.0.1:1/omni")
    people, machine = omni("status"), omni("status", "--json")
    assert (people.exit_code, machine.exit_code) == (1, 1)
    assert "store is away: the store is away" in people.stdout
    seen = json.loads(machine.stdout)
    assert seen["queues"]["bulk"]["ready"] == 0
    assert "Connection refused" in seen["hose"]["away"]
    assert "hunter2" not in people.stdout + machine.stdout


def test_a_running_system_is_found_by_its_directory(directory: Path) -> None:
    """What `omni up` wrote down counts, and not the defaults."""
    (directory / "up.json").write_text(
        json.dumps({"environment": {"OMNI_DATA_DIR": str(directory), "OMNI_HOSE_PORT": "4"}})
    )
    assert loaded(directory).hose_port == 4
    (directory / "up.json").unlink()
    assert loaded(None).hose_port == 8125
