"""Style that a tool can check and ruff does not: sizes, names, mirrors, exports, and who may call what."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import omni_etl
from omni_etl.telemetry import LINES

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "omni_etl"
TESTS = ROOT / "tests"
FILE_LINES_MAX = 300
FUNCTION_LINES_MAX = 50
PARAMETERS_MAX = 6
VAGUE_NAMES = {"utils", "helpers", "common", "misc", "base", "core", "manager", "processor", "data", "info"}
LOG_METHODS = {"debug", "info", "warning", "error", "critical", "exception"}
EXPORTS = ["Hose"]

# Modules whose promises are tested under another name than theirs: module → test file. Keep it short.
MIRRORED_ELSEWHERE = {
    # contracts are tested by one suite each, on every backend
    "outbox": "contracts/test_outbox.py",
    "deliveries": "contracts/test_deliveries.py",
    "replay": "contracts/test_replays.py",
    "backends/database/replays": "contracts/test_replays.py",
    "poster": "contracts/test_poster.py",
    "erasure": "contracts/test_erasures.py",
    "dead_letters": "contracts/test_dead_letters.py",
    "backends/database/dead_letters": "contracts/test_dead_letters.py",
    "supervisor/dead_letters": "contracts/test_dead_letters.py",
    "wiring/dead_letters": "cli/test_dead_letters.py",
    "backends/clickhouse_audit": "auditing/test_steps.py",
    "embedded/store_writes": "embedded/test_store_host.py",
    "wiring/audit": "e2e/test_audit.py",
    "cli/audit": "e2e/test_audit.py",
    "backends/database/erasures": "contracts/test_erasures.py",
    "backends/database/deliveries": "contracts/test_deliveries.py",
    "backends/database/outbox_batches": "contracts/test_outbox_segments.py",
    "backends/database/outbox_lanes": "contracts/test_outbox_lanes.py",
    "backends/database/outbox_limits": "contracts/test_outbox_lanes.py",
    "backends/database/outbox_tables": "backends/database/test_tables.py",
    "store": "contracts/test_store.py",
    "event_search": "contracts/test_event_search.py",
    "backends/clickhouse_events": "contracts/test_event_search.py",
    "tracker": "contracts/test_tracker.py",
    "backends/memory_tracker": "contracts/test_tracker.py",
    "backends/clickhouse_verdicts": "backends/test_clickhouse.py",
    "backends/database/payloads": "contracts/test_queue.py",
    "backends/database/product": "backends/database/test_engine.py",
    "backends/database/suppression_sayings": "contracts/test_suppression_list.py",
    "backends/database/suppression_search": "contracts/test_suppression_list.py",
    # what a request asks and how a page is written show in its answers
    "api/event_query": "api/test_events.py",
    "api/event_page": "api/test_events.py",
    "backends/clickhouse_reader": "contracts/test_event_search.py",
    "reports": "api/test_metrics.py",
    "backends/clickhouse_reports": "api/test_metrics.py",
    "api/metric_formulas": "api/test_metrics.py",
    # the OpenAPI document is held against the API as a whole
    "api/metric_described": "clients/test_openapi.py",
    # the demo's vocabulary shows in its events
    "demo/account": "demo/test_life.py",
    "demo/message": "demo/test_life.py",
    "demo/sidelights": "demo/test_life.py",
    "demo/words": "demo/test_life.py",
    # the pages are compared with the code there
    "cli/reference": "test_papers.py",
    # a role is tested as the process it is, all of them in one file
    "cli/hose": "cli/test_roles.py",
    "cli/store": "cli/test_roles.py",
    # two lines; every test of a process starts them
    "__main__": "cli/test_roles.py",
}

MODULES = sorted(SOURCE.rglob("*.py"))
TEST_FILES = sorted(path for path in TESTS.rglob("*.py") if "node_modules" not in path.parts)
Function = ast.FunctionDef | ast.AsyncFunctionDef


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_file_holds_one_idea(path: Path) -> None:
    """No source file is longer than can be kept in mind."""
    assert len(path.read_text().splitlines()) <= FILE_LINES_MAX


def test_a_function_fits_a_screen() -> None:
    """No function is longer than 50 lines, so that its name can be true."""
    long = [
        f"{_where(path, each)} has {lines} lines"
        for path, each in _functions(MODULES)
        if (lines := (each.end_lineno or 0) - each.lineno + 1) > FUNCTION_LINES_MAX
        and "migrations" not in path.parts  # a list of tables, read once
    ]
    assert long == []


def test_a_function_takes_six_arguments_at_most() -> None:
    """What takes more is called wrongly; `self` and `cls` do not count."""
    greedy = [
        f"{_where(path, each)} takes {count}"
        for path, each in _functions(MODULES)
        if (count := len(_parameters(each))) > PARAMETERS_MAX
    ]
    assert greedy == []


def test_a_file_is_named_after_what_it_holds() -> None:
    """A vague name is where important things hide."""
    parts = {part for path in MODULES for part in path.relative_to(SOURCE).with_suffix("").parts}
    assert parts & VAGUE_NAMES == set()


def test_each_module_has_its_mirrored_test() -> None:
    """`src/omni_etl/hose/spool.py` is tested in `tests/hose/test_spool.py`."""
    wanted = {name: MIRRORED_ELSEWHERE.get(name, _mirror(name)) for name in map(_module_name, MODULES) if name}
    missing = {name: test for name, test in wanted.items() if not (TESTS / test).exists()}
    assert missing == {}


def test_the_list_of_mirrors_elsewhere_is_true() -> None:
    """An exception that is no longer needed goes."""
    names = {_module_name(path) for path in MODULES}
    stale = {name for name in MIRRORED_ELSEWHERE if name not in names or (TESTS / _mirror(name)).exists()}
    assert stale == set()


def test_public_is_what_is_listed() -> None:
    """A new public name is a decision, made here too."""
    assert omni_etl.__all__ == EXPORTS
    assert all(hasattr(omni_etl, name) for name in EXPORTS)


def test_a_log_line_has_a_name_and_a_sentence() -> None:
    """Every line we log is described in telemetry.LINES, because people build alarms on it."""
    undescribed = {f"{path.relative_to(SOURCE)}: {name}" for path, name in _logged_names() if name not in LINES}
    assert undescribed == set()


def test_each_described_log_line_is_logged() -> None:
    """No alarm waits for a line that nobody writes."""
    spoken = {
        node.value
        for path in MODULES
        if path.name != "telemetry.py"
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert LINES.keys() - spoken == set()


def test_only_settle_deletes_from_the_queue() -> None:
    """The one step that could lose an envelope stands alone."""
    deleting = {
        str(path.relative_to(SOURCE))
        for path in MODULES
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Call) and re.search(r"queue\.delete$", ast.unparse(node.func))
    }
    assert deleting <= {"supervisor/settle.py"}


def test_a_test_says_what_it_promises() -> None:
    """A red test explains itself by its docstring."""
    silent = [
        _where(path, each)
        for path, each in _functions(TEST_FILES)
        if each.name.startswith("test_") and not ast.get_docstring(each)
    ]
    assert silent == []


def test_an_exception_to_a_rule_names_the_rule_and_the_reason() -> None:
    """`noqa` and `type: ignore` stand with a code and, after it, why."""
    bare = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in [*MODULES, *TEST_FILES]
        for number, text in enumerate(path.read_text().splitlines(), start=1)
        for mark in re.findall(r"#\s*(?:noqa|type:\s*ignore).*", text)
        if not re.match(r"#\s*(noqa: [A-Z]+\d+(, ?[A-Z]+\d+)*|type: ignore\[[\w, -]+\]\s*#)\s+\w+", mark)
    ]
    assert bare == []


def test_no_path_of_a_machine_is_in_the_tree() -> None:
    """The repository runs wherever it is checked out."""
    folders = ("src", "tests", "docs", "bench", "scripts", "deploy", ".ci", "changelog.d")
    files = [*ROOT.glob("*.*"), ROOT / "Makefile", *(each for name in folders for each in (ROOT / name).rglob("*"))]
    machine = re.compile(rb"(?<![\w.])/(?:root|work|home|Users)/")
    found = [
        str(path.relative_to(ROOT))
        for path in files
        if path.is_file()
        and not {"__pycache__", "node_modules"} & set(path.parts)
        and machine.search(path.read_bytes())
    ]
    assert found == []


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def _functions(paths: list[Path]) -> Iterator[tuple[Path, Function]]:
    for path in paths:
        for node in ast.walk(_tree(path)):
            if isinstance(node, Function):
                yield path, node


def _parameters(function: Function) -> list[str]:
    found = function.args
    every = [*found.posonlyargs, *found.args, *found.kwonlyargs, found.vararg, found.kwarg]
    return [each.arg for each in every if each is not None and each.arg not in ("self", "cls")]


def _logged_names() -> Iterator[tuple[Path, str]]:
    """First arguments of log calls, both where it is a choice between two; one handed on in a variable is not seen here."""
    for path in MODULES:
        for node in ast.walk(_tree(path)):
            if not (
                isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOG_METHODS
            ):
                continue
            if "log" not in ast.unparse(node.func.value).lower() or not node.args:
                continue
            first = node.args[0]
            for each in (first.body, first.orelse) if isinstance(first, ast.IfExp) else (first,):
                if isinstance(each, ast.Constant):
                    yield path, str(each.value)


def _module_name(path: Path) -> str:
    """`hose/spool`; a package's `__init__` counts as its folder, and only where it holds more than imports."""
    name = path.relative_to(SOURCE).with_suffix("").as_posix()
    if path.name != "__init__.py":
        return "" if name.startswith("migrations/") else name
    holds_code = any(isinstance(node, Function | ast.ClassDef) for node in _tree(path).body)
    return name.removesuffix("/__init__") if holds_code else ""


def _mirror(name: str) -> str:
    folder, _, last = name.rpartition("/")
    return f"{folder}/test_{last}.py".lstrip("/")


def _where(path: Path, function: Function) -> str:
    return f"{path.relative_to(ROOT)}:{function.lineno} {function.name}"
