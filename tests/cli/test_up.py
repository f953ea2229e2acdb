"""cli.up: what is printed when everything is ready. That it starts and stops is tests/e2e's."""

import io
import json

import pytest
from rich.console import Console

from omni_etl.cli.up import EXAMPLE, _show
from omni_etl.embedded.up import Places
from omni_etl.event import check

PLACES = Places(
    hose_url="http://127.0.0.1:1",
    api_url="http://127.0.0.1:2",
    api_key="key",
    store_url=f"http://default:{'x' * 32}@127.0.0.1:3/default",
    database_url="sqlite:////d/database",
    tracker_url="unix:///d/tracker/valkey.sock",
    data_dir="/d",
    pids={"up": 10, "hose": 11},
)


def test_for_a_program_it_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Exactly the promised members, and nothing else on standard output."""
    _show(PLACES, Console(file=io.StringIO()), as_json=True)
    [line] = capsys.readouterr().out.splitlines()
    assert list(json.loads(line)) == [
        *("hose_url", "api_url", "api_key", "store_url", "database_url", "tracker_url", "data_dir", "pids"),
    ]


def test_for_people_it_is_a_table_and_two_commands_to_try() -> None:
    """What can be copied stands on one line, however narrow the terminal, and the example is a valid event."""
    console = Console(file=io.StringIO(), width=60)
    _show(PLACES, console, as_json=False)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert f"  curl -d '{EXAMPLE}' -H 'Content-Type: application/json' http://127.0.0.1:1/v1/events\n" in text
    assert "  curl -H 'Authorization: key' http://127.0.0.1:2/api/v1/suppression-list/someone@example.com\n" in text
    assert "up=10 hose=11" in text
    assert "…" not in text  # an address is folded, never cut
    checked = check(EXAMPLE.encode())
    assert checked is not None
    assert checked.suppresses
