"""The benchmark's table, page and numbers, from canned rows."""

import json
from pathlib import Path

from bench.report import Findings, as_json, page, table, write
from bench.result import Result
from bench.row import Row, Skipped
from rich.console import Console


def test_every_promised_figure_has_its_key() -> None:
    """What was measured is a number, what did not run is null with a word why."""
    said = as_json(_findings())
    assert said["end_to_end_database_events_per_second"] == 40_000
    assert said["bare_limit_events_per_second"] == 50_000
    assert said["hose_events_per_second_per_core"] == 200_000
    assert said["bytes_per_event"] == 65
    assert 0 < said["usd_per_million_events"] < said["usd_per_million_events_one_event_messages"]
    assert said["hose_rss_mib_max"] is None
    assert said["end_to_end_sqs_events_per_second"] is None
    assert said["rabbitmq_events_per_second"] is None
    assert said["skipped"] == {"rabbitmq": "rabbitmq-server is not installed"}


def test_ratios_are_taken_round_by_round() -> None:
    """A bad minute that hits both rows does not change how they compare."""
    assert as_json(_findings())["ratios"]["end_to_end_database"] == {"of_bare_limit": 1.0, "times_rabbitmq": None}


def test_the_page_shows_every_row_and_the_machine() -> None:
    """Also the row that was skipped, with its reason, and what is no row."""
    text = page(_findings())
    assert "| end to end | 40,000 | 30,000 to 52,000 | 30.0 | 1.00 |  |" in text
    assert "| RabbitMQ | skipped | rabbitmq-server is not installed |" in text
    assert "| 50 | suppressed | 210 | 640 |" in text
    assert "| cores | 2 |" in text


def test_the_terminal_shows_the_same_rows() -> None:
    """A wide terminal has each on a line of its own."""
    console = Console(width=200, record=True, file=None, quiet=False)
    with console.capture() as shown:
        console.print(table(_findings().results))
    assert "end to end" in shown.get()
    assert "skipped" in shown.get()


def test_both_files_are_written(tmp_path: Path) -> None:
    """The page for people, the numbers for programs."""
    write(_findings(), at=tmp_path / "page.md", numbers_at=tmp_path / "results.json")
    assert (tmp_path / "page.md").read_text().startswith("# Benchmark")
    assert json.loads((tmp_path / "results.json").read_text()) == as_json(_findings())


def _findings() -> Findings:
    results = {
        "hose": Result(
            "hose", [_row("hose alone", 90_000, hose_events_per_second_per_core=200_000, bytes_per_event=65)]
        ),
        "bare_limit": Result("bare_limit", [_row("bare limit", rate) for rate in (50_000, 20_000, 52_000)]),
        "end_to_end_database": Result(
            "end_to_end_database",
            [_row("end to end", rate) for rate in (40_000, 30_000, 52_000)],
            bare="bare_limit",
        ),
        "rabbitmq": Result("rabbitmq", skipped=Skipped("RabbitMQ", "rabbitmq-server is not installed")),
    }
    latency = {"latency_ms": {"50": {"suppressed": {"p50": 210.0, "p99": 640.0}}}}
    return Findings(results, {"cores": "2"}, latency)


def _row(name: str, rate: float, **figures: float) -> Row:
    costs = {"store": 20.0, "hose": 10.0}
    return Row(name, 1_000, 1_000 / rate, rate, costs, {"store": 300.0, "hose": 80.0}, "canned", figures)
