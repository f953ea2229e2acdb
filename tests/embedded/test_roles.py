"""roles: real processes, started, watched, started again, ended; none outlives its starter."""

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.embedded import up_program
from tests.embedded.up_program import role, roles

from omni_etl.clock import SystemClock
from omni_etl.embedded.roles import RoleFailedError, Roles

pytestmark = pytest.mark.timeout(20)


@pytest.fixture
async def subject(tmp_path: Path) -> AsyncIterator[Roles]:
    """Roles whose processes end with the test."""
    found = roles(tmp_path)
    yield found
    for name in list(found._keeping):
        await found.stop(role(name, tmp_path, stop_seconds_max=0))
    os.close(found._lock)


def pids_of(directory: Path, name: str) -> list[int]:
    """Who was started under this name, one after another."""
    return [int(each) for each in (directory / name).read_text().split()]


async def replaced(subject: Roles, name: str, pid: int) -> int:
    """Wait for another process under this name; the test's time limit ends this."""
    while (found := subject.pids().get(name, pid)) == pid:
        await asyncio.sleep(0.002)
    return found


async def test_a_role_is_started_served_and_stopped(subject: Roles, tmp_path: Path) -> None:
    """`start` returns when it serves; after `stop` it is gone and not started again."""
    await subject.start(role("good", tmp_path), seconds_max=15)
    process = subject._processes["good"]
    assert subject.pids() == {"good": process.pid}
    await subject.stop(role("good", tmp_path))
    assert (process.returncode, subject.pids()) == (0, {})
    assert pids_of(tmp_path, "good") == [process.pid]


async def test_a_killed_role_is_started_again_with_growing_pauses(subject: Roles, tmp_path: Path) -> None:
    """Each death is said; the pause after the second is longer than the first could be."""
    await subject.start(role("good", tmp_path), seconds_max=15)
    with capture_logs() as lines:
        for _ in range(2):
            pid = subject.pids()["good"]
            os.kill(pid, signal.SIGKILL)
            began = SystemClock().monotonic()
            await replaced(subject, "good", pid)
    assert SystemClock().monotonic() - began >= 0.2
    said = [(each["event"], each.get("code")) for each in lines if each["event"] == "role_died"]
    assert said == [("role_died", -signal.SIGKILL)] * 2


async def test_a_refused_setting_stops_everything_with_its_words(subject: Roles, tmp_path: Path) -> None:
    """Exit code 2 is not tried again: `start` and `watch` raise what the role said last."""
    with pytest.raises(RoleFailedError, match=r"refuses cannot start:\n.*OMNI_X: found nothing. Set it."):
        await subject.start(role("refuses", tmp_path), seconds_max=15)
    with pytest.raises(RoleFailedError):
        await subject.watch()
    assert len(pids_of(tmp_path, "refuses")) == 1


async def test_watching_ends_for_nothing_else(subject: Roles, tmp_path: Path) -> None:
    """A death that is mended is no reason."""
    await subject.start(role("good", tmp_path), seconds_max=15)
    watching = asyncio.create_task(subject.watch())
    pid = subject.pids()["good"]
    os.kill(pid, signal.SIGKILL)
    await replaced(subject, "good", pid)
    assert not watching.done()
    watching.cancel()


async def test_a_role_that_never_serves_is_given_up(subject: Roles, tmp_path: Path) -> None:
    """It was tried more than once, and its last words are in the error."""
    with pytest.raises(RoleFailedError, match=r"did not serve within 2 s.\n(.*\n)*.*it was me"):
        await subject.start(role("crashes", tmp_path), seconds_max=2)
    assert len(pids_of(tmp_path, "crashes")) > 1


async def test_stop_escalates(subject: Roles, tmp_path: Path) -> None:
    """Who ignores SIGTERM is killed after its time, and that is said."""
    stubborn = role("stubborn", tmp_path, stop_seconds_max=0.2)
    await subject.start(stubborn, seconds_max=15)
    process = subject._processes["stubborn"]
    with capture_logs() as lines:
        await subject.stop(stubborn)
    assert process.returncode == -signal.SIGKILL
    assert [each["event"] for each in lines] == ["role_stalled"]


async def test_roles_hold_the_lock_of_their_starter(subject: Roles, tmp_path: Path) -> None:
    """A second starter finds the directory locked while any role of a dead one still lives."""
    await subject.start(role("good", tmp_path), seconds_max=15)
    lock, subject._lock = subject._lock, os.open(tmp_path / "lock", os.O_RDWR)
    os.close(lock)
    with pytest.raises(BlockingIOError):
        fcntl.flock(subject._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    await subject.stop(role("good", tmp_path))
    fcntl.flock(subject._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_no_role_outlives_its_starter(tmp_path: Path) -> None:
    """Kill -9 of the starter: every role it had ends within two seconds."""
    argv = [sys.executable, str(Path(up_program.__file__)), str(tmp_path), "good", "stubborn"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    # Its own standard input is held open, so that only its end can end the roles.
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as starter:
        assert starter.stdout is not None
        while starter.stdout.readline() != b"up\n":
            assert starter.poll() is None
        starter.kill()
        began = SystemClock().monotonic()
        lock = os.open(tmp_path / "lock", os.O_RDWR)
        fcntl.flock(lock, fcntl.LOCK_EX)  # free when the last of them has ended
        assert SystemClock().monotonic() - began < 2.5
        os.close(lock)
