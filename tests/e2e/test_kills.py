"""kill -9 of each role and each engine under load: nothing lost, nothing doubled."""

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
    moved_away,
    survive_kills,
    up,
    wait_until,
    watch_everything,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

VICTIMS = [
    ("hose", "api", "hose", "hose"),
    ("run", "run", "run"),
    ("store", "tracker", "store", "tracker"),
    ("metrics", "message_events", "suppressions", "webhooks", "webhooks", "metrics"),
]


@pytest.mark.parametrize("victims", VICTIMS, ids=lambda victims: victims[0])
def test_killed_processes_lose_and_double_nothing(victims: tuple[str, ...], tmp_path: Path) -> None:
    """Each under load; the system mends itself and every figure agrees."""
    with up(tmp_path) as system, customer() as receiver:
        survive_kills(system, receiver, victims)


def test_everything_killed_at_once_goes_on_after_a_restart(tmp_path: Path) -> None:
    """All processes die with kill -9; the next `omni up` shows the same counts and goes on."""
    with customer() as receiver:
        with up(tmp_path) as system:
            watch_everything(system, receiver.target)
            first = Load(system.places["hose_url"], 6_000, seed=1).start()
            first.join()
            system.kill_everything()
        with up(tmp_path) as system:
            assert_all_landed(system, receiver, [first])
            second = Load(system.places["hose_url"], 3_000, seed=2).start()
            second.join()
            assert_all_landed(system, receiver, [first, second])


def test_nothing_outlives_a_killed_starter(tmp_path: Path) -> None:
    """Kill -9 of `omni up` alone: everything it started ends by itself within two seconds."""
    with up(tmp_path) as system:
        pids = system.pids
        kill(system.process.pid)
        system.process.wait()
        wait_until(lambda: not any(map(is_alive, pids.values())), "all processes ended")


@pytest.mark.parametrize("victim", ["store", "tracker"])
def test_a_hanging_engine_is_waited_for(victim: str, tmp_path: Path) -> None:
    """An engine that stops answering for some seconds under load: no crash, no loss, and all goes on when it is back."""
    with up(tmp_path, OMNI_STORE_TIMEOUT_SECONDS="2") as system, customer() as receiver:
        watch_everything(system, receiver.target)
        load = Load(system.places["hose_url"], 10_000, seed=7).start()
        load.begun.wait(30)
        before = system.pids
        with halted(before[victim], seconds=6):
            load.join()
        assert_all_landed(system, receiver, [load])
        assert system.pids == before


@pytest.mark.parametrize("part", ["queue", "database"])
def test_a_file_that_vanishes_is_waited_for(part: str, tmp_path: Path) -> None:
    """The directory of the queue or the database is gone for some seconds under load: no crash, no loss."""
    with up(tmp_path) as system, customer() as receiver:
        watch_everything(system, receiver.target)
        load = Load(system.places["hose_url"], 10_000, seed=9).start()
        load.begun.wait(30)
        before = system.pids
        with moved_away(tmp_path / part, seconds=4):
            load.join()
        assert_all_landed(system, receiver, [load])
        assert system.pids == before
