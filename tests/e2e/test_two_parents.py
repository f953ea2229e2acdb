"""Two `omni run` on one queue: they share the work, each may die or stall at any moment, and nothing is doubled."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from tests.e2e.system import (
    ENVIRONMENT,
    Load,
    System,
    assert_all_landed,
    customer,
    kill,
    up,
    wait_until,
    watch_everything,
)

from omni_etl.embedded.sqs_server import CREDENTIALS
from omni_etl.embedded.up import RUNNING_FILE

pytestmark = [pytest.mark.e2e, pytest.mark.engines, pytest.mark.timeout(240)]

SMALL = "16384"  # bytes: many envelopes, so that each parent holds some when one of them dies
LEASES = 6  # more than one child's slots
QUEUES = ["sqlite", "sqs"]


@pytest.mark.parametrize("queue", QUEUES)
def test_each_parent_may_die_under_load(queue: Literal["sqlite", "sqs"], tmp_path: Path) -> None:
    """Kill -9 of the one, then of the other, each while work is under way: the one that lives takes over what was held."""
    with (
        up(tmp_path, queue=queue, OMNI_ENVELOPE_BYTES=SMALL) as system,
        customer() as receiver,
        another_parent(system) as second,
    ):
        watch_everything(system, receiver.target)
        first_load = Load(system.places["hose_url"], 6_000, seed=1).start()
        wait_until(lambda: receiver.receipts()["events"] > 0, "work is under way")
        kill(second.pid)
        first_load.join()
        assert_all_landed(system, receiver, [first_load])
        with another_parent(system):
            second_load = Load(system.places["hose_url"], 6_000, seed=2).start()
            wait_until(lambda: receiver.receipts()["events"] > first_load.accepted, "work is under way")
            kill(system.pids["run"])
            second_load.join()
            assert_all_landed(system, receiver, [first_load, second_load])


def test_a_parent_that_stalls_doubles_nothing(tmp_path: Path) -> None:
    """The first stops for longer than its leases last, with work handed out: the second does all of it once more, or finds it done.

    Then the first wakes up, with leases that have lapsed and answers of its children that nobody waits for any more.
    """
    with up(tmp_path, OMNI_ENVELOPE_BYTES=SMALL) as system, customer() as receiver:
        watch_everything(system, receiver.target)
        load = Load(system.places["hose_url"], 12_000, seed=3).start()
        first = system.pids["run"]
        wait_until(lambda: is_halted_with_leases(system, first), "the first holds leases and stands still")
        try:
            with another_parent(system):
                load.join()
                assert_all_landed(system, receiver, [load])
                os.kill(first, signal.SIGCONT)
                late = Load(system.places["hose_url"], 2_000, seed=4).start()
                late.join()
                assert_all_landed(system, receiver, [load, late])
        finally:
            os.kill(first, signal.SIGCONT)
        assert system.pids["run"] == first


def is_halted_with_leases(system: System, pid: int) -> bool:
    """Stop the one parent there is; whether it holds leases now, and no lock that everybody would wait for.

    It goes on where this is not so, also where asking fails: what stands still does not notice the end of its starter.
    """
    os.kill(pid, signal.SIGSTOP)
    stays = False
    try:
        bulk = system.status()["queues"].get("bulk", {})  # none while the queue does not answer
        stays = bulk.get("leased", 0) >= LEASES and not is_any_file_locked(Path(system.places["data_dir"]))
    finally:
        if not stays:
            os.kill(pid, signal.SIGCONT)
    return stays


def is_any_file_locked(directory: Path) -> bool:
    """Whether somebody is in the middle of a writing transaction, so long that it cannot be another's."""
    for path in directory.rglob("*.sqlite"):
        connection = sqlite3.connect(path, timeout=2, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return True
        finally:
            connection.close()
    return False


@contextmanager
def another_parent(system: System) -> Iterator[subprocess.Popen[bytes]]:
    """One more `omni run` on the engines of this system, ready to work; it ends with the block."""
    running = json.loads((Path(system.places["data_dir"]) / RUNNING_FILE).read_text())
    process = subprocess.Popen(
        [sys.executable, "-m", "omni_etl", "run", "--watch-stdin"],
        stdin=subprocess.PIPE,
        env={**os.environ, **ENVIRONMENT, **CREDENTIALS, **running["environment"]},
    )
    try:
        wait_until(lambda: is_ready(system, process.pid), "the second parent is ready")
        yield process
    finally:
        process.terminate()
        process.wait(timeout=40)
        assert process.stdin is not None
        process.stdin.close()


def is_ready(system: System, pid: int) -> bool:
    """Whether this parent has said that all its children take work."""
    roles: list[dict[str, Any]] = system.status()["fleet"]["roles"]
    return any(role["pid"] == pid and all(each["ready"] for each in role["services"].values()) for role in roles)
