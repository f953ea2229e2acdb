"""The path over SQS's protocol, by real processes: kill -9 under load, and a queue that stops answering."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.e2e.system import (
    Load,
    assert_all_landed,
    customer,
    halted,
    is_alive,
    kill,
    survive_kills,
    up,
    wait_until,
    watch_everything,
)

pytestmark = [pytest.mark.e2e, pytest.mark.engines, pytest.mark.timeout(240)]


def test_killed_processes_lose_and_double_nothing(tmp_path: Path) -> None:
    """Each under load: what the victim held comes again, and every figure agrees."""
    with up(tmp_path, queue="sqs") as system, customer() as receiver:
        survive_kills(system, receiver, ["hose", "run", "metrics", "webhooks"])


def test_a_queue_that_stops_answering_is_waited_for(tmp_path: Path) -> None:
    """Polls, sends, renewals and deletes hang for some seconds under load: no crash, no loss, nothing twice."""
    with up(tmp_path, queue="sqs") as system, customer() as receiver:
        watch_everything(system, receiver.target)
        load = Load(system.places["hose_url"], 10_000, seed=7).start()
        load.begun.wait(30)
        before = system.pids
        with halted(before["queue"], seconds=12):  # longer than calls may take, and than a lease lasts
            load.join()
        assert_all_landed(system, receiver, [load])
        assert system.pids == before


def test_nothing_outlives_a_killed_starter(tmp_path: Path) -> None:
    """The queue's server neither."""
    with up(tmp_path, queue="sqs") as system:
        pids = system.pids
        assert "queue" in pids
        kill(system.process.pid)
        system.process.wait()
        wait_until(lambda: not any(map(is_alive, pids.values())), "all processes ended")
