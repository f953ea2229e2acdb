"""Write docs/reference/licences.md: what runs with omni-etl, in which version, under which licence, by its own metadata.

`make docs` runs this in the environment that requirements.lock made; tests/scripts/test_licences.py compares.
"""

import re
import sys
import tomllib
from importlib.metadata import Distribution, distribution
from pathlib import Path

ROOT = Path(__file__).parent.parent
MADE = "<!-- Made from the installed packages by `make docs`; do not edit. -->"
NAMES_CHARACTERS_MAX = 60  # a field that holds a whole licence tells nothing here
READ = {"pysimdjson": "MIT (read in its LICENSE file; its metadata is silent)"}
EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)""")
NAME = re.compile(r"([A-Za-z0-9._-]+)\s*(?:\[([^\]]*)\])?")


def page(lock: str, direct: list[str]) -> str:
    """The whole page, for these direct dependencies."""
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock, re.MULTILINE))
    rows = [f"| {name} | {pinned[name]} | {licence(distribution(name))} |" for name in sorted(running(direct, pinned))]
    opening = "Packages that run with omni-etl, direct dependencies and theirs, as requirements.lock pins them. Those that only tests and benchmarks use are not here."
    return "\n".join(
        ["# Licences", "", MADE, "", opening, "", "| package | version | licence |", "| --- | --- | --- |", *rows, ""]
    )


def running(direct: list[str], pinned: dict[str, str]) -> set[str]:
    """Every package that these need, and theirs; one that is not pinned is for another machine or Python."""
    names: set[str] = set()
    pending = [needed(each) for each in direct]
    while pending:
        name, extras = pending.pop()
        if name not in pinned or name in names:
            continue
        names.add(name)
        for requirement in distribution(name).requires or []:
            text, _, marker = requirement.partition(";")
            if set(EXTRA.findall(marker)) <= extras:
                pending.append(needed(text))
    return names


def direct_dependencies() -> list[str]:
    """As pyproject.toml says them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [str(each) for each in project["dependencies"]]


def needed(requirement: str) -> tuple[str, set[str]]:
    """Name and extras of `SQLAlchemy[asyncio]>=2`."""
    said = NAME.match(requirement.strip())
    assert said is not None, requirement
    return re.sub(r"[-_.]+", "-", said[1]).lower(), {
        each.strip() for each in (said[2] or "").split(",") if each.strip()
    }


def licence(found: Distribution) -> str:
    """As it is said best: an SPDX expression, else the classifiers, else a short text."""
    told = found.metadata
    if "License-Expression" in told:
        return told["License-Expression"]
    classified = [
        each.rpartition(" :: ")[2]
        for each in told.get_all("Classifier", [])
        if each.startswith("License :: ") and each != "License :: OSI Approved"
    ]
    if classified:
        return ", ".join(sorted(classified))
    text = str(told["License"] or "").strip()
    said_shortly = text and len(text) <= NAMES_CHARACTERS_MAX and "\n" not in text
    return text if said_shortly else READ.get(told["Name"], "not said")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(
        page((ROOT / "requirements.lock").read_text(), direct_dependencies()), encoding="utf-8"
    )
