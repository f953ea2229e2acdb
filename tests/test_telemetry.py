"""telemetry: lines for machines and for people, numbers with a sentence."""

import json
import re
from collections.abc import Iterator

import pytest
import structlog
from prometheus_client import generate_latest

from omni_etl import telemetry


@pytest.fixture(autouse=True)
def configuration() -> Iterator[None]:
    """Other tests find the logs as they were."""
    yield
    structlog.reset_defaults()


def test_a_line_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    """With its name, level, time, what was bound and, for a fault of ours, the whole trace; on stderr."""
    telemetry.configure_logs("info", "json")
    try:
        raise RuntimeError("told\nwhole")
    except RuntimeError:
        telemetry.get_logger(service="metrics").exception("service_failed")
    said = capsys.readouterr()
    line = json.loads(said.err)
    assert said.out == ""
    assert (line["event"], line["level"], line["service"]) == ("service_failed", "error", "metrics")
    assert "RuntimeError: told\nwhole" in line["exception"]
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize(("level", "heard"), [("debug", 3), ("info", 2), ("error", 1)])
def test_the_level_is_the_least_that_is_said(capsys: pytest.CaptureFixture[str], level: str, heard: int) -> None:
    """What is below it is not made at all."""
    telemetry.configure_logs(level, "json")
    log = telemetry.get_logger()
    for say in (log.debug, log.info, log.error):
        say("role_started")
    assert len(capsys.readouterr().err.splitlines()) == heard


def test_where_nobody_watches_lines_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    """`auto` looks at the terminal; a pipe is none. `console` is for people in any case."""
    telemetry.configure_logs("info", "auto")
    telemetry.get_logger().info("role_started")
    assert json.loads(capsys.readouterr().err)["event"] == "role_started"
    telemetry.configure_logs("info", "console")
    telemetry.get_logger().info("role_started")
    assert not capsys.readouterr().err.startswith("{")


def test_names_and_sentences_are_fit_for_alarms() -> None:
    """A line's name is words with underscores, its sentence ends; a number's name begins with omni."""
    for name, sentence in telemetry.LINES.items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", name), name
        assert sentence.endswith("."), name
    described = re.findall(r"^# HELP (\w+) (.*)$", generate_latest(telemetry.NUMBERS).decode(), re.MULTILINE)
    assert described
    assert all(name.startswith("omni_") and sentence.endswith(".") for name, sentence in described)


def test_a_trace_for_people_shows_no_values(capsys: pytest.CaptureFixture[str]) -> None:
    """By itself structlog shows the variables of every frame: keys and URLs with passwords would stand on the terminal."""

    def fails(password: str) -> None:
        raise RuntimeError("told")

    telemetry.configure_logs("debug", "console")
    try:
        fails("hidden" + "-secret")
    except RuntimeError:
        telemetry.get_logger().exception("service_failed")
    said = capsys.readouterr().err
    assert "RuntimeError" in said
    assert "hidden-secret" not in said
