"""cli.send: `omni send`."""

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.hose.hoses import LIMITS, event
from tests.hose.served import Served, served

from omni_etl.cli.send import REJECTIONS_SHOWN_MAX, send_paths
from omni_etl.client import Hose, SendReport
from omni_etl.errors import SendError

SAMPLES = Path(__file__).parents[3] / "shared" / "data" / "sparkpost-sample-events.json"


@pytest.fixture
def hose(tmp_path: Path) -> Iterator[Served]:
    """A hose of its own."""
    with served(tmp_path / "spool") as running:
        yield running


def _send(url: str, *paths: object, as_json: bool = False, connections: int = 2, old: bool = False) -> tuple[int, str]:
    said = io.StringIO()
    console = Console(file=said, width=500)
    named = [str(path) for path in paths]
    code = send_paths(named, url=url, connections=connections, as_json=as_json, console=console, old=old)
    return code, said.getvalue()


def test_all_events_of_all_files_arrive(tmp_path: Path) -> None:
    """Exit code 0, and a last line that says how many."""
    for part in range(3):
        lines = [event(number) for number in range(part * 2_000, part * 2_000 + 2_000)]
        (tmp_path / f"{part}.ndjson").write_bytes(b"\n".join(lines))
    with served(tmp_path / "spool") as hose:
        code, said = _send(hose.url, *(tmp_path / f"{part}.ndjson" for part in range(3)))
    assert code == 0
    assert said.splitlines()[-1].startswith("6,000 accepted, 0 refused")
    assert len(set(hose.queue.lines())) == 6_000


def test_sending_a_file_twice_means_it(tmp_path: Path) -> None:
    """Its events are twice there: whoever sends again wants that."""
    (tmp_path / "a").write_bytes(event(1))
    with served(tmp_path / "spool") as hose:
        assert [_send(hose.url, tmp_path / "a")[0] for _ in range(2)] == [0, 0]
    assert hose.queue.lines() == [event(1)] * 2


def test_old_events_are_sent_as_an_import(tmp_path: Path) -> None:
    """Refused without a word about it, with what to do."""
    (tmp_path / "a").write_bytes(event(1))
    with served(tmp_path / "spool", limits=replace(LIMITS, event_age_seconds_max=86_400)) as hose:
        code, said = _send(hose.url, tmp_path / "a")
        assert (code, "imports say old=true" in said) == (1, True)
        assert _send(hose.url, tmp_path / "a", old=True)[0] == 0
    assert hose.queue.lines() == [event(1)]


def test_refused_lines_are_shown_with_file_and_line(hose: Served, tmp_path: Path) -> None:
    """Exit code 1; the good ones were sent."""
    (tmp_path / "a").write_bytes(b"\n".join([event(1), b"", b"{", event(2)]))
    code, said = _send(hose.url, tmp_path / "a")
    assert code == 1
    assert f"{tmp_path / 'a'}:3: not valid JSON" in said
    assert "2 accepted, 1 refused" in said


def test_many_refused_lines_are_not_all_shown(hose: Served, tmp_path: Path) -> None:
    """But counted."""
    (tmp_path / "a").write_bytes(b"rubbish\n" * 1_234)
    code, said = _send(hose.url, tmp_path / "a")
    assert code == 1
    assert f"and {1_234 - REJECTIONS_SHOWN_MAX:,} more" in said
    assert len(said.splitlines()) == REJECTIONS_SHOWN_MAX + 2


def test_json_is_one_line(hose: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For programs."""
    (tmp_path / "a").write_bytes(event(1) + b"\n[]")
    capsys.readouterr()
    code, said = _send(hose.url, tmp_path / "a", as_json=True)
    summary = json.loads(capsys.readouterr().out)
    assert (code, said) == (1, "")
    assert summary.pop("seconds") >= 0
    assert summary == {
        "accepted": 1,
        "rejected": 1,
        "rejections": [{"file": str(tmp_path / "a"), "line": 2, "reason": "an event is a JSON object, found an array"}],
        "error": None,
    }


def test_what_cannot_be_sent_is_2_and_says_how_far_it_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those accepted before are counted."""
    (tmp_path / "a").write_bytes(b"\n".join(event(number) for number in range(5_000)))
    _answer(monkeypatch, [SendReport(1_000, (), 0), SendReport(1_000, (), 0), SendError("HTTP 503: full")])
    code, said = _send("http://127.0.0.1:1", tmp_path / "a", connections=1)
    assert code == 2
    assert "HTTP 503: full" in said
    assert "2,000 accepted" in said


def test_a_file_that_is_not_there_is_2(tmp_path: Path) -> None:
    """With its name."""
    code, said = _send("http://127.0.0.1:1", tmp_path / "missing")
    assert code == 2
    assert "missing: No such file" in said


def test_ctrl_c_says_how_many_were_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was under way is waited for and counted."""
    (tmp_path / "a").write_bytes(b"\n".join(event(number) for number in range(5_000)))
    _answer(monkeypatch, [SendReport(1_000, (), 0)] * 5)
    monkeypatch.setattr("omni_etl.cli.send._count", _interrupted)
    code, said = _send("http://127.0.0.1:1", tmp_path / "a", connections=1)
    assert code == 130
    assert "stopped by Ctrl-C" in said
    assert "000 accepted" in said


@pytest.mark.skipif(not SAMPLES.exists(), reason="third-party data stays out of the repository")
def test_the_vendors_own_samples_are_accepted_whole(hose: Served) -> None:
    """One of each type, as SparkPost posts them."""
    assert _send(hose.url, SAMPLES)[0] == 0


def _answer(monkeypatch: pytest.MonkeyPatch, answers: list[Any]) -> None:
    def _send_lines(_: Hose, __: list[bytes]) -> SendReport:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, SendReport)
        return answer

    monkeypatch.setattr(Hose, "send_lines", _send_lines)


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt
