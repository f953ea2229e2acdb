"""hose.requests: answered before, or being answered now."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from omni_etl.clock import ManualClock
from omni_etl.errors import IntakeError
from omni_etl.hose import requests
from omni_etl.hose.answer import Answer, Rejection
from omni_etl.hose.records import Answered
from omni_etl.hose.requests import FILE_NAME, InFlight, RememberLimits, RequestMemory

LIMITS = RememberLimits(count_max=100, age_seconds_max=3_600)


def _memory(directory: Path, *, clock: ManualClock | None = None, limits: RememberLimits = LIMITS) -> RequestMemory:
    return RequestMemory(directory, clock=clock or ManualClock(), limits=limits)


def _request(number: int, *, at: float = 1_700_000_000) -> Answered:
    answer = Answer(number, (Rejection(1, "why"),), 2_000)
    return Answered(name=b"name %d" % number, body=b"body", answer=answer, at_seconds=int(at))


def test_an_answered_request_is_found_as_it_was_also_after_a_restart(tmp_path: Path) -> None:
    """Answer and digest; others are not."""
    memory = _memory(tmp_path)
    memory.remember([_request(1), _request(2)])
    assert memory.find(b"name 1") == _request(1)
    assert memory.find(b"name 3") is None
    memory.close()
    again = _memory(tmp_path)
    assert again.find(b"name 2") == _request(2)
    again.close()


def test_the_oldest_are_forgotten_beyond_the_count(tmp_path: Path) -> None:
    """A million is enough, and a named limit."""
    memory = _memory(tmp_path)
    for number in range(150):
        memory.remember([_request(number)])
    found = [number for number in range(150) if memory.find(b"name %d" % number)]
    assert found == list(range(50, 150))
    memory.close()


def test_the_old_are_forgotten_after_their_time(tmp_path: Path) -> None:
    """At once to those who ask, and from the file with the next ones."""
    clock = ManualClock()
    memory = _memory(tmp_path, clock=clock)
    memory.remember([_request(1, at=clock.now())])
    clock.advance(3_601)
    assert memory.find(b"name 1") is None
    memory.remember([_request(2, at=clock.now())])
    memory.close()
    rows = sqlite3.connect(tmp_path / FILE_NAME)
    assert rows.execute("SELECT name FROM requests").fetchall() == [(b"name 2",)]
    rows.close()


def test_long_answers_do_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file has a limit in bytes too."""
    monkeypatch.setattr(requests, "FILE_BYTES_MAX", 200_000)
    memory = _memory(tmp_path, limits=RememberLimits(count_max=1_000_000, age_seconds_max=3_600))
    for number in range(500):
        answer = Answer(1, tuple(Rejection(line, "x" * 100) for line in range(20)))
        memory.remember([Answered(name=b"name %d" % number, body=b"", answer=answer, at_seconds=1_700_000_000)])
    assert memory.find(b"name 499") is not None
    assert memory.make_durable()
    assert (tmp_path / FILE_NAME).stat().st_size < 300_000
    memory.close()


def test_a_disk_that_refuses_keeps_them_in_memory_and_keeps_the_segments(tmp_path: Path) -> None:
    """Until it takes them: a segment may go only when this file can stand alone."""
    memory = _memory(tmp_path)
    blocker = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    memory._writer.execute("PRAGMA busy_timeout=0")
    blocker.execute("BEGIN IMMEDIATE")
    with capture_logs() as logs:
        memory.remember([_request(1)])
        assert not memory.make_durable()
    assert {entry["event"] for entry in logs} == {"hose_spool_failed"}
    assert memory.find(b"name 1") == _request(1)
    blocker.execute("ROLLBACK")
    blocker.close()
    assert memory.make_durable()
    memory.close()
    again = _memory(tmp_path)
    assert again.find(b"name 1") == _request(1)
    again.close()


def test_memory_that_does_not_answer_is_503(tmp_path: Path) -> None:
    """Better asked again than counted twice."""
    memory = _memory(tmp_path)
    memory._reader.close()
    with capture_logs(), pytest.raises(IntakeError) as caught:
        memory.find(b"x")
    assert caught.value.status == 503
    memory._writer.close()


def test_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    """It is only a memory; the hose starts, and says so."""
    (tmp_path / FILE_NAME).write_bytes(b"rubbish " * 1_000)
    with capture_logs() as logs:
        memory = _memory(tmp_path)
    assert [entry["event"] for entry in logs] == ["hose_spool_damaged"]
    assert (tmp_path / (FILE_NAME + ".damaged")).exists()
    memory.remember([_request(1)])
    assert memory.find(b"name 1") is not None
    memory.close()


async def test_the_second_of_a_name_waits_for_the_first() -> None:
    """And goes on only when that one has ended, well or badly; other names do not wait."""
    in_flight = InFlight()
    order: list[str] = []
    first_may_end = asyncio.Event()

    async def _first() -> None:
        async with in_flight.turn(b"a"):
            order.append("first begins")
            await first_may_end.wait()
            order.append("first fails")
            raise ValueError

    async def _other(name: bytes, word: str) -> None:
        async with in_flight.turn(name):
            order.append(word)

    tasks = [asyncio.create_task(each) for each in (_first(), _other(b"a", "second"), _other(b"b", "other"))]
    await tasks[2]
    assert order == ["first begins", "other"]
    first_may_end.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(outcomes[0], ValueError)
    assert order == ["first begins", "other", "first fails", "second"]
