"""Papers that must not go stale: each is compared with the code it speaks of."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from omni_etl.cli import reference
from omni_etl.cli.app import app
from omni_etl.settings import Settings
from omni_etl.telemetry import LINES

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "omni_etl"
DOCS = ROOT / "docs"
PAPERS = [
    *ROOT.glob("*.md"),
    *DOCS.rglob("*.md"),
    *(ROOT / "changelog.d").glob("*.md"),
    *(ROOT / "deploy").rglob("*.md"),
]
WORDS = {
    *("event", "envelope", "hose", "lane", "lease", "service", "child", "owes", "done", "ledger", "settle", "siding"),
    *("dead letter", "webhook", "batch", "attempt", "outbox", "message"),
}
FRAGMENT = re.compile(r"[a-z0-9-]+\.(breaking|security|feature|change|fix)\.md")


def test_each_setting_has_a_sentence() -> None:
    """The name says what and in which unit; the sentence says what for."""
    assert [name for name, field in Settings.model_fields.items() if not (field.description or "").endswith(".")] == []


@pytest.mark.parametrize("name", reference.PAGES)
def test_a_reference_page_is_what_the_code_says(name: str) -> None:
    """`make docs` was run after the last change of settings or log lines."""
    assert (DOCS / "reference" / name).read_text() == reference.PAGES[name]()


def test_reference_pages_show_no_secret() -> None:
    """A secret's default is told as "not set"."""
    assert "SecretStr" not in reference.settings_page()
    assert "| `OMNI_TRACKER_URL` | not set |" in reference.settings_page()


def test_writing_makes_every_page(tmp_path: Path) -> None:
    """A fresh directory is filled; repeating it changes nothing."""
    for _ in range(2):
        reference.write(tmp_path / "new")
    assert {path.name for path in (tmp_path / "new").iterdir()} == set(reference.PAGES)


@pytest.mark.parametrize("paper", PAPERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_link_leads_somewhere(paper: Path) -> None:
    """A link within the repository names a file that is there."""
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", paper.read_text())
    assert [link for link in links if not (paper.parent / link).exists()] == []


def test_each_command_in_the_papers_exists() -> None:
    """What README and RUNBOOK tell people to type can be typed."""
    targets = set(_targets())
    commands = set(_commands())
    typed = [text for name in ("README.md", "CONTRIBUTING.md", "docs/RUNBOOK.md") for text in _code(ROOT / name)]
    makes = {name for text in typed for name in re.findall(r"(?:^|[`\s])make ([a-z0-9-]+)", text)}
    omnis = {name for text in typed for name in re.findall(r"(?:^|[`\s/])omni ([a-z-]+)", text)}
    assert makes - targets == set()
    assert omnis - commands == set()


def test_the_runbook_speaks_of_lines_that_are_logged() -> None:
    """An alarm that was renamed is renamed there too."""
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \|", (DOCS / "RUNBOOK.md").read_text(), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)}
    assert len(named) > 10
    assert named - LINES.keys() == set()


def test_a_line_that_calls_someone_says_in_the_runbook_what_to_do() -> None:
    """Whoever is woken finds the line that woke them."""
    runbook = (DOCS / "RUNBOOK.md").read_text()
    waking = [name for name, sentence in LINES.items() if sentence.endswith("Call someone.")]
    assert len(waking) >= 3
    assert [name for name in waking if f"`{name}`" not in runbook] == []


def test_each_make_target_explains_itself() -> None:
    """`make help` shows every target that is not a file."""
    phony = set(re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split())  # type: ignore[index]  # it is there
    assert phony == set(_targets())
    assert {"help", "setup", "demo", "up", "check", "sim", "e2e", "bench", "docs", "lock", "clean"} <= phony


def test_the_words_have_a_table() -> None:
    """One word, one meaning: each is explained in ARCHITECTURE."""
    rows = re.findall(r"^\| ([^|]+) \|", (DOCS / "ARCHITECTURE.md").read_text(), re.MULTILINE)
    explained = {word.strip() for row in rows for word in row.split("/")}
    assert WORDS - explained == set()


def test_the_map_names_every_module_and_nothing_else() -> None:
    """Whoever looks for the right file finds it in ARCHITECTURE."""
    named = set(re.findall(r"`([a-z_/]+(?:\.py|/))`", _map()))
    modules = {path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py")}
    there = modules | {f"{parent.as_posix()}/" for each in modules for parent in Path(each).parents}
    unnamed = {
        each for each in modules if not each.endswith("__init__.py") and each not in named and not _covered(each, named)
    }
    assert named - there == set()
    assert unnamed == set()


def test_each_dependency_has_its_line() -> None:
    """A dependency is a decision: what it saves and what it drags in stands in docs/decisions/0006."""
    decision = (DOCS / "decisions" / "0006-dependencies.md").read_text()
    assert [name for name in _dependencies() if f"| {name} |" not in decision] == []


def test_each_dependency_is_locked_with_hashes() -> None:
    """`make setup` installs exactly what was tested."""
    pinned = re.findall(r"^([a-z0-9-]+)==\S+ \\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", _lock(), re.MULTILINE)
    assert {_normal(name) for name in _dependencies()} - set(pinned) == set()
    assert len(pinned) == len(re.findall("==", _lock()))


def test_each_decision_says_what_why_cost_and_doubt() -> None:
    """Somebody who wants another choice finds what it must beat."""
    for path in (DOCS / "decisions").glob("*.md"):
        assert re.fullmatch(r"\d{4}-[a-z-]+\.md", path.name)
        headings = re.findall(r"^## (.+)$", path.read_text(), re.MULTILINE)
        assert headings == ["What", "Why", "Cost", "What would change our mind"], path.name


def test_each_change_fragment_has_a_kind() -> None:
    """The changelog is made from them."""
    names = [path.name for path in (ROOT / "changelog.d").iterdir() if path.name != "README.md"]
    assert [name for name in names if not FRAGMENT.fullmatch(name)] == []


def _code(paper: Path) -> list[str]:
    """Blocks and spans of code."""
    text = paper.read_text()
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    lines = [line.split("#")[0] for block in blocks for line in block.splitlines() if not line.startswith((" ", "#"))]
    return lines + spans


def _targets() -> Iterator[str]:
    for name, _ in re.findall(r"^([a-z0-9-]+):.*?## (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE):
        yield name


def _commands() -> Iterator[str]:
    yield from typer.main.get_command(app).commands  # type: ignore[attr-defined]  # a group, as it has several


def _map() -> str:
    text = (DOCS / "ARCHITECTURE.md").read_text()
    return text[text.index("| to change") :]


def _covered(module: str, named: set[str]) -> bool:
    """Whether a folder that is named as a whole holds it."""
    return any(f"{parent.as_posix()}/" in named for parent in Path(module).parents if parent != Path())


def _dependencies() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    every = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    return [re.split(r"[\[>=<~! ]", each)[0] for each in every]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _lock() -> str:
    return (ROOT / "requirements.lock").read_text()
