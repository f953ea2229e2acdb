"""cli.suppressions: the list as a file, out and in, on a real database."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Omni

from omni_etl import settings
from omni_etl.cli import suppressions
from omni_etl.clock import SystemClock
from omni_etl.errors import SettingsError
from omni_etl.suppression_list import Change, Entry, Question, Saying
from omni_etl.wiring.databases import build_suppression_list
from omni_etl.wiring.opened import opened


def say(*sayings: Saying) -> None:
    """On the list of the environment."""

    async def run() -> None:
        async with opened(build_suppression_list(settings.load(), SystemClock())) as kept:
            await kept.say(sayings)

    asyncio.run(run())


def standing() -> list[Entry]:
    """All that holds, oldest first."""

    async def run() -> list[Entry]:
        async with opened(build_suppression_list(settings.load(), SystemClock())) as kept:
            return await kept.search(Question(newest_first=False), count_max=10_000)

    return asyncio.run(run())


def changed() -> list[Change]:
    """The last change of each entry that holds, and of each that was deleted."""

    async def run() -> list[Change]:
        async with opened(build_suppression_list(settings.load(), SystemClock())) as kept:
            return list((await kept.changes(0, count_max=10_000)).changes)

    return asyncio.run(run())


def saying(number: int, *, holds: bool = True, said_at_ms: int = 0, subaccount_id: int = 0) -> Saying:
    """Of a recipient of that number."""
    return Saying(
        subaccount_id=subaccount_id,
        recipient=f"{number}@x.example",
        type="transactional",
        suppressed=holds,
        said_at_ms=said_at_ms or 1_000_000 + number,
        said_id="e",
        source="Bounce Rule",
        description=f'550 "no", {number}\nü',
    )


@pytest.mark.parametrize("kind", ["csv", "ndjson"])
def test_a_list_moves_to_another_system(
    omni: Omni, directory: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """With sources and times; in several pages and steps."""
    monkeypatch.setattr(suppressions, "ENTRIES_AT_ONCE", 3)
    monkeypatch.setattr(suppressions, "SAYINGS_AT_ONCE", 3)
    say(*(saying(number, subaccount_id=number % 2) for number in range(10)))
    before = standing()
    path = str(directory.parent / f"list.{kind}")
    out = omni("suppressions", "export", path)
    assert (out.exit_code, out.stdout) == (0, "")
    assert out.stderr.startswith("10 exported, ")
    other = directory.parent / "other"
    other.mkdir()
    monkeypatch.setenv("OMNI_DATA_DIR", str(other))
    came = omni("suppressions", "import", path)
    assert came.exit_code == 0, came.stderr
    assert came.stderr.startswith("10 imported, ")
    assert [
        (each.recipient, each.subaccount_id, each.source, each.description, each.updated_at_ms) for each in standing()
    ] == [(each.recipient, each.subaccount_id, each.source, each.description, each.updated_at_ms) for each in before]
    assert not list(directory.parent.glob("*.part"))


def test_an_old_export_brings_nothing_back(omni: Omni, directory: Path) -> None:
    """What was deleted since stays deleted; imported twice it changes nothing."""
    say(saying(1), saying(2))
    path = str(directory.parent / "list.csv")
    omni("suppressions", "export", path)
    say(saying(1, holds=False, said_at_ms=2_000_000))
    before = changed()
    for _ in range(2):
        assert omni("suppressions", "import", path).exit_code == 0
    assert changed() == before


def test_lines_that_are_wrong_are_named_and_the_rest_is_taken(omni: Omni, directory: Path) -> None:
    """With file and number, on standard error; the exit code says so."""
    path = directory.parent / "list.csv"
    path.write_text(
        "recipient,type\na@x.example,transactional\nnobody,transactional\nb@x.example,[x]\nc@x.example,transactional\n"
    )
    came = omni("suppressions", "import", str(path))
    assert came.exit_code == 1
    first, second, last = came.stderr.splitlines()
    assert first == f"{path}:3: Invalid email address: nobody"
    assert second == f"{path}:4: Type must be one of: 'transactional', 'non_transactional'"
    assert last.startswith("2 imported, 2 lines refused, ")
    assert [each.recipient for each in standing()] == ["a@x.example", "c@x.example"]


def test_the_summary_is_one_line(omni: Omni, directory: Path) -> None:
    """Of JSON, on standard output; of many bad lines the first are named, all are counted."""
    path = directory.parent / "list.ndjson"
    path.write_text('{"recipient":"a@x.example","transactional":true,"non_transactional":true}\n' + "{\n" * 150)
    came = omni("suppressions", "import", str(path), "--json", "--subaccount", "7")
    summary = json.loads(came.stdout)
    assert (came.exit_code, came.stderr) == (1, "")
    assert (summary["imported"], summary["rejected"], len(summary["rejections"]), summary["error"]) == (
        1,
        150,
        100,
        None,
    )
    assert summary["rejections"][0]["line"] == 2
    assert {(each.subaccount_id, each.type) for each in standing()} == {(7, "transactional"), (7, "non_transactional")}
    out = omni("suppressions", "export", str(path), "--json")
    assert (out.exit_code, json.loads(out.stdout)["exported"]) == (0, 2)


def test_one_subaccounts_entries(omni: Omni, directory: Path) -> None:
    """And only those."""
    say(saying(1), saying(2, subaccount_id=7))
    path = directory.parent / "list.ndjson"
    assert omni("suppressions", "export", str(path), "--subaccount", "7").exit_code == 0
    assert [json.loads(line)["recipient"] for line in path.read_text().splitlines()] == ["2@x.example"]


def test_standard_output_and_input(directory: Path) -> None:
    """From one into the other, as real processes; the summary stands beside the list."""
    say(*(saying(number) for number in range(3)))
    out = subprocess.run(omni_command("export", "-", "--format", "ndjson", "--json"), capture_output=True, check=True)
    assert len(out.stdout.splitlines()) == 3
    assert json.loads(out.stderr)["exported"] == 3
    say(*(saying(number, holds=False, said_at_ms=9_000_000) for number in range(3)))
    lines = b"".join(line.partition(b',"updated"')[0] + b"}\n" for line in out.stdout.splitlines())
    came = subprocess.run(
        omni_command("import", "-", "--format", "ndjson", "--json"), input=lines, capture_output=True, check=True
    )
    assert json.loads(came.stdout or came.stderr)["imported"] == 3
    assert len(standing()) == 3


def omni_command(*arguments: str) -> list[str]:
    """As a shell has it."""
    return [sys.executable, "-m", "omni_etl", "suppressions", *arguments]


def test_a_file_that_is_not_there(omni: Omni, directory: Path) -> None:
    """Exit code 2, and its name."""
    for command in ("import", "export"):
        answer = omni("suppressions", command, str(directory / "no" / "list.csv"))
        assert answer.exit_code == 2
        assert "list.csv: No such file or directory" in answer.stderr


def test_a_format_that_nobody_told(omni: Omni, directory: Path) -> None:
    """Before anything is opened."""
    with pytest.raises(SettingsError, match="--format"):
        omni("suppressions", "import", "-")


def test_help_teaches(omni: Omni) -> None:
    """Columns, exit codes, and a line to copy."""
    text = omni("suppressions", "import", "--help").stdout
    assert all(
        word in text
        for word in ("recipient", "non_transactional", "updated", "Exit code 0", "omni suppressions import list.csv")
    )
    assert "omni suppressions export list.csv" in omni("suppressions", "export", "--help").stdout
