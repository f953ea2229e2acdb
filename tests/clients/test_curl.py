"""curl, as the README shows it: every line of its section on asking, against a filled system."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.clients.filled import Filled

README = Path(__file__).parents[2] / "README.md"

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(240),
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
]

CURL = """curl() { command curl --silent --max-time 3 --write-out '\\n%{http_code}\\n' "$@" || true; }\n"""


def test_the_readmes_lines_are_answered(system: Filled) -> None:
    """Each with what the README says: found, or 404 for an address that may be mailed; the stream goes on until it is cut."""
    lines = [line for line in shown() if line.startswith("curl ")]
    assert [ask(line, system) for line in lines] == ["200", "200", "404", "200", "200"]


def test_a_suppressed_address_is_found(system: Filled) -> None:
    """By the line that a mail server asks."""
    [put] = [line for line in shown() if "PUT" in line]
    [check] = [line for line in shown() if "404" in line]
    assert ask(put, system) == "200"
    assert ask(check.replace("someone@", "other@"), system) == "200"


def shown() -> list[str]:
    """The lines of the block that begins with the API's address."""
    [block] = [
        each for each in re.findall(r"```sh\n(.*?)```", README.read_text(), re.DOTALL) if each.startswith("API=")
    ]
    lines: list[str] = block.splitlines()
    return lines[1:]


def ask(line: str, system: Filled) -> str:
    """The status."""
    named = f"API=https://{system.host}/api/v1; KEY={system.key}; TODAY=$(date -u +%Y-%m-%dT00:00)\n"
    environment = {**os.environ, "CURL_CA_BUNDLE": str(system.certified.authority)}
    ran = subprocess.run(
        ["bash", "-c", CURL + named + line], env=environment, capture_output=True, text=True, check=True
    )
    return ran.stdout.rsplit("\n", 2)[-2]
