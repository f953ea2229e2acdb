"""The pages of docs/reference, made from code; `make docs` writes them, tests/test_papers.py compares.

python -m omni_etl.cli.reference docs/reference
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from prometheus_client import Metric
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from omni_etl.settings import PREFIX, Settings
from omni_etl.telemetry import LINES, NUMBERS

MADE: Final = "<!-- Made from code by `make docs`; do not edit. -->"


def settings_page() -> str:
    """Every setting: its variable, default, limits and sentence."""
    rows = [
        f"| `{PREFIX}{name.upper()}` | {_default(field.default)} | {_limits(field)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return _page(
        "Settings",
        "From the environment, or from `omni.toml` in the working directory (there in lower case and without `OMNI_`); "
        "the environment wins. A unit stands at the end of a name. `omni settings` shows what is in force.",
        ["| variable | default | limits | meaning |", "| --- | --- | --- | --- |", *rows],
    )


def telemetry_page() -> str:
    """Every log line and every number."""
    lines = [f"| `{name}` | {sentence} |" for name, sentence in LINES.items()]
    numbers = [f"| `{_exposed(metric)}` | {metric.type} | {metric.documentation} |" for metric in NUMBERS.collect()]
    return _page(
        "Log lines and numbers",
        "Names that alarms may be built on: they change only with a note in the changelog. "
        "What to do about the ones that matter stands in [RUNBOOK](../RUNBOOK.md).",
        [
            *("## Log lines", "", "| name | meaning |", "| --- | --- |", *lines, ""),
            *("## Numbers", "", "| name | type | meaning |", "| --- | --- | --- |", *numbers),
        ],
    )


PAGES: Final[dict[str, Callable[[], str]]] = {"settings.md": settings_page, "telemetry.md": telemetry_page}


def write(directory: Path) -> None:
    """Write every page anew."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (directory / name).write_text(page(), encoding="utf-8")


def _page(title: str, opening: str, lines: list[str]) -> str:
    return "\n".join([f"# {title}", "", MADE, "", opening, "", *lines, ""])


def _exposed(metric: Metric) -> str:
    """Its name as it is scraped: the text format adds a suffix to counters."""
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


def _default(value: Any) -> str:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    return f"`{value}`" if value not in ("", None) else "not set"


def _limits(field: FieldInfo) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found = [
        f"{sign} {getattr(rule, name)}"
        for rule in field.metadata
        for name, sign in signs.items()
        if hasattr(rule, name)
    ]
    return ", ".join(found)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
