"""Two deliverers on one outbox, killed at random moments: every event arrives, and what repeats is a whole batch under its id."""

from __future__ import annotations

import random
import time
from pathlib import Path

import psutil
import pytest
from tests.e2e.system import Load, assert_all_landed, customer, kill, up, wait_until, watch_everything
from tests.e2e.test_two_parents import another_parent

pytestmark = [pytest.mark.e2e, pytest.mark.engines, pytest.mark.timeout(240)]

EVENTS = 100_000  # a thousand batches
KILLS = 12
SEED = 5


def test_deliverers_killed_at_random_moments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Kill -9 of the one and of the other while a thousand batches go out."""
    rng = random.Random(SEED)
    with up(tmp_path, OMNI_ENVELOPE_BYTES="32768") as system, customer() as receiver, another_parent(system) as second:
        watch_everything(system, receiver.target)
        load = Load(system.places["hose_url"], EVENTS).start()
        kills = 0
        while kills < KILLS and receiver.receipts()["events"] < EVENTS * 0.9:
            parent = rng.choice([system.pids["run"], second.pid])
            deliverers = webhooks_children(parent)
            if deliverers and receiver.receipts()["batches"] > kills * 30:
                kill(deliverers[0])
                kills += 1
            time.sleep(rng.uniform(0.05, 0.5))  # noqa: TID251 moments at random
        load.join()
        # What a killed one had claimed comes back when its claims lapse, after half a minute.
        wait_until(lambda: receiver.receipts()["events"] >= load.accepted, "everything arrived", receiver.receipts)
        assert_all_landed(system, receiver, [load])
        receipts = receiver.receipts()
    with capsys.disabled():
        print(f"\n{kills} kills of two deliverers: {receipts['batches']} batches, {receipts['repeats']} repeated")  # noqa: T201 the figure is wanted
    assert kills >= KILLS // 2
    assert receipts["batches"] >= EVENTS / 100


def webhooks_children(parent_pid: int) -> list[int]:
    """The deliverer of a parent, where it runs now."""
    return [
        process.pid
        for process in psutil.Process(parent_pid).children()
        if process.status() != psutil.STATUS_ZOMBIE and "webhooks" in process.cmdline()
    ]
