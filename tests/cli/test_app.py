"""cli.app: every command, told quickly and in words."""

import subprocess
import sys

import pytest
import typer
from tests.cli.conftest import Omni

from omni_etl.cli.app import app

HEAVY = ["aiohttp", "alembic", "chdb", "clickhouse_connect", "fastapi", "pandas", "pyarrow", "redis", "sqlalchemy"]
COMMANDS = [
    *("demo", "up", "send", "status", "queues", "dead-letters", "settings", "webhooks", "keys", "services", "cost"),
    *("suppressions", "erase", "audit", "hose", "run", "api", "store"),
]


def test_each_command_is_listed_with_a_sentence(omni: Omni) -> None:
    """Whoever types `omni --help` sees everything there is, and what for."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # a group, as it has several
    assert sorted(commands) == sorted(COMMANDS)
    shown = omni("--help")
    assert shown.exit_code == 0
    listed = " ".join(shown.stdout.split())
    for name, command in commands.items():
        sentence = (command.help or "").strip().splitlines()[0]
        assert sentence.endswith("."), name
        assert f"│ {name} " in listed
        assert " ".join(sentence.split()[:3]) in listed, name


def test_each_argument_has_a_type_or_a_word(omni: Omni) -> None:
    """`--help` of every command works, subcommands included."""
    for arguments in [[name] for name in COMMANDS] + [
        ["webhooks", "create"],
        ["keys", "revoke"],
        ["services", "retire"],
    ]:
        shown = omni(*arguments, "--help")
        assert shown.exit_code == 0
        assert "Usage: " in shown.stdout


def test_help_loads_no_engine() -> None:
    """It answers at once, because a command imports what it runs on only when it runs."""
    program = (
        "import sys\nfrom omni_etl.cli.app import main\nsys.argv = ['omni', '--help']\n"
        f"try:\n    main()\nfinally:\n    print('loaded:', [each for each in {HEAVY!r} if each in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=30)
    assert run.stdout.splitlines()[-1] == "loaded: []"
    assert "Start with omni demo" in run.stdout


def test_a_mistyped_command_is_told_without_a_trace() -> None:
    """Exit code 2 and a suggestion."""
    command = [sys.executable, "-m", "omni_etl", "webhooks", "creat"]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    assert run.returncode == 2
    assert "Usage: omni webhooks" in run.stderr
    assert "Did you mean 'create'" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--nope"], "No such option: --nope"),
        (["keys", "revoke"], "Missing argument"),
        (["demo", "--events", "0"], "greater than or equal to 1"),
    ],
)
def test_a_bad_argument_is_told_in_words(omni: Omni, arguments: list[str], words: str) -> None:
    """With the usage of that command."""
    refused = omni(*arguments)
    assert refused.exit_code == 2
    assert "Usage: " in refused.stderr
    assert words in refused.stderr


def test_without_a_command_it_helps(omni: Omni) -> None:
    """The first thing a newcomer types."""
    assert "Everything on one machine" in omni().stdout


def test_a_command_answers_its_exit_code(omni: Omni) -> None:
    """0 where it did what was asked, 1 where it could not."""
    assert omni("keys", "list").exit_code == 0
    assert omni("keys", "revoke", "nobody").exit_code == 1
