"""scripts/licences.py: the page of licences is that of what is locked and installed."""

from pathlib import Path

from scripts import licences

ROOT = Path(__file__).parent.parent.parent
LOCK = (ROOT / "requirements.lock").read_text()


def test_the_page_is_what_is_installed() -> None:
    """`make docs` was run after the last `make lock`."""
    assert (ROOT / "docs" / "reference" / "licences.md").read_text() == licences.page(
        LOCK, licences.direct_dependencies()
    )


def test_it_holds_what_runs_and_nothing_that_only_tests() -> None:
    """Direct dependencies, theirs, and those of an extra; no test runner."""
    page = licences.page(LOCK, licences.direct_dependencies())
    rows = [line.split(" | ")[0].removeprefix("| ") for line in page.splitlines() if line.startswith("| ")]
    assert {"orjson", "botocore", "greenlet", "valkey", "pandas"} <= set(rows)
    assert {"pytest", "moto", "hypothesis", "ruff", "omni-etl"} & set(rows) == set()


def test_a_licence_is_named() -> None:
    """One that says nothing, or forbids what we do, needs a decision: see docs/decisions/0026."""
    page = licences.page(LOCK, licences.direct_dependencies())
    assert "not said" not in page
    strong = [line for line in page.splitlines() if "GPL" in line and "LGPL" not in line]
    assert strong == []


def test_an_expression_is_better_than_a_classifier() -> None:
    """Both forms of a requirement are read."""
    assert licences.needed("SQLAlchemy[asyncio,x] >=2.1") == ("sqlalchemy", {"asyncio", "x"})
    assert licences.needed("typing_extensions>=4; python_version<'3.13'") == ("typing-extensions", set())
