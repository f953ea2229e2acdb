"""The ClickHouse dialect, one statement a file.

`schema/NNNN_*.sql` makes the tables, `queries/` reads them, `commands/` notes small things; envelopes are inserted as
columns and have no statement here. Parameters are `{name:Type}`, bound by the engine.

Until 1.0 a step may be edited. It and those after it then take numbers that were never used (1 to 6 were), so that a
store made before is refused instead of misread. An index or a setting needs no number: a store without it is slower, and right.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class SchemaStep:
    """One statement of the schema, applied once and in order of its version; repeating it is harmless."""

    version: int
    name: str
    statement: str


@cache
def schema() -> tuple[SchemaStep, ...]:
    """Every step, the lowest version first."""
    found = [each for each in (files(__name__) / "schema").iterdir() if each.name.endswith(".sql")]
    steps = [SchemaStep(int(each.name[:4]), each.name[5:-4], each.read_text(encoding="utf-8")) for each in found]
    return tuple(sorted(steps, key=lambda step: step.version))


@cache
def query(name: str) -> str:
    """The SELECT in `queries/<name>.sql`."""
    return (files(__name__) / "queries" / f"{name}.sql").read_text(encoding="utf-8")


@cache
def command(name: str) -> str:
    """The statement in `commands/<name>.sql`."""
    return (files(__name__) / "commands" / f"{name}.sql").read_text(encoding="utf-8")
