"""embedded.starter: nothing outlives its starter, proven with real processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import IO

import pytest

from omni_etl.clock import SystemClock
from omni_etl.embedded.starter import watched

pytestmark = pytest.mark.timeout(10)

PYTHON = [sys.executable, "-c"]
SLEEPS = "import time; print('up', flush=True); time.sleep(60)"
IGNORES = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
SAYS_GOODBYE = (
    "import signal, sys, time; signal.signal(15, lambda *_: (print('bye', flush=True), sys.exit(7)));"
    "print('up', flush=True); time.sleep(60)"
)
# A starter that starts a watcher; its end of the pipe dies with it.
STARTER = "import subprocess, sys, time; p = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE); time.sleep(60)"
OWN_PROCESS = (
    "import threading; from omni_etl.embedded.starter import watch_starter\n"
    "stopped = threading.Event(); watch_starter(0, stop={stop}); print('up', flush=True)\n"
    "stopped.wait(60); print('stopped', flush=True)"
)


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes of a test, ended after it whatever happened."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for each in processes:
        each.kill()
        each.wait()
        for stream in (each.stdin, each.stdout):
            if stream is not None:
                stream.close()


def start(processes: list[subprocess.Popen[str]], *arguments: str) -> subprocess.Popen[str]:
    """Start a process whose standard input we hold."""
    process = subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": "src"}
    )
    processes.append(process)
    return process


def stream(of: IO[str] | None) -> IO[str]:
    """A pipe that was asked for."""
    assert of is not None
    return of


def all_gone_in_time(output: IO[str]) -> bool:
    """Wait until every process that holds this pipe has ended; whether that took at most two seconds and a bit."""
    began = SystemClock().monotonic()
    output.read()
    return SystemClock().monotonic() - began < 2.5


@pytest.mark.parametrize("program", [SLEEPS, IGNORES])
def test_a_foreign_program_ends_when_the_pipe_does(started: list[subprocess.Popen[str]], program: str) -> None:
    """EOF ends the program within two seconds, also one that ignores SIGTERM."""
    watcher = start(started, *watched([*PYTHON, program]))
    assert stream(watcher.stdout).readline() == "up\n"
    stream(watcher.stdin).close()
    assert all_gone_in_time(stream(watcher.stdout))
    assert watcher.wait(timeout=1) in {128 + signal.SIGTERM, 128 + signal.SIGKILL}


def test_a_killed_starter_takes_everything_with_it(started: list[subprocess.Popen[str]]) -> None:
    """Kill -9 of the starter: watcher and program end within two seconds."""
    starter = start(started, *PYTHON, STARTER, *watched([*PYTHON, SLEEPS]))
    assert stream(starter.stdout).readline() == "up\n"
    starter.kill()
    assert all_gone_in_time(stream(starter.stdout))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a program that its watcher was killed")
def test_a_killed_watcher_takes_the_program_with_it(started: list[subprocess.Popen[str]]) -> None:
    """Kill -9 of the watcher leaves no orphan either."""
    watcher = start(started, *watched([*PYTHON, SLEEPS]))
    assert stream(watcher.stdout).readline() == "up\n"
    watcher.kill()
    assert all_gone_in_time(stream(watcher.stdout))


def test_signals_and_the_exit_code_pass_through(started: list[subprocess.Popen[str]]) -> None:
    """The program gets our SIGTERM and its own exit code comes back."""
    watcher = start(started, *watched([*PYTHON, SAYS_GOODBYE]))
    assert stream(watcher.stdout).readline() == "up\n"
    watcher.send_signal(signal.SIGTERM)
    assert stream(watcher.stdout).readline() == "bye\n"
    assert watcher.wait(timeout=2) == 7


def test_our_own_process_may_stop_by_itself(started: list[subprocess.Popen[str]]) -> None:
    """At EOF `stop` is called, and a process that heeds it ends as it likes."""
    process = start(started, *PYTHON, OWN_PROCESS.format(stop="stopped.set"))
    assert stream(process.stdout).readline() == "up\n"
    stream(process.stdin).close()
    assert stream(process.stdout).readline() == "stopped\n"
    assert process.wait(timeout=2) == 0


def test_our_own_process_that_hangs_is_ended(started: list[subprocess.Popen[str]]) -> None:
    """A process that does not stop, or whose stop hangs, ends after the grace."""
    process = start(started, *PYTHON, OWN_PROCESS.format(stop="threading.Event().wait"))
    assert stream(process.stdout).readline() == "up\n"
    stream(process.stdin).close()
    assert process.wait(timeout=2.5) == 1
