"""The whole way of an event under faults, by seed; and the simulation itself: it repeats, and it sees what is broken."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.simulation.mutants import MUTANTS
from tests.simulation.oracle import judge
from tests.simulation.virtual_loop import PROCESS, VirtualLoop, run
from tests.simulation.way import lived

ROOT = Path(__file__).parents[2]
SEEDS = 30  # `make sim` runs a thousand


def simulation(*arguments: str, seconds_max: float = 110.0) -> subprocess.CompletedProcess[str]:
    """The program, whose hashes have no salt."""
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=seconds_max, check=False
    )


def test_nothing_is_lost_and_nothing_doubled() -> None:
    """Hose, parents, children and all services, on engines that fail, lie, repeat and come late: every promise holds."""
    ended = simulation("--seeds", str(SEEDS))
    assert ended.returncode == 0, ended.stdout[-5_000:] + ended.stderr[-2_000:]
    total = json.loads(ended.stdout.splitlines()[-1])
    assert (total["seeds"], total["lost"], total["doubled"]) == (SEEDS, 0, 0)
    assert total["faults"] > 100 * SEEDS
    assert total["events"] > 20 * SEEDS


def test_a_seed_replays() -> None:
    """In another process the same seed meets the same faults, to the last one."""
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: simulation("--seed", "7").stdout, range(2))
    assert first == second
    assert '"seeds":1' in first


def test_without_faults_nothing_is_done_twice() -> None:
    """Each envelope is sent, and each batch posted, once: the repetitions of other runs are the faults' own."""
    with lived(3, calm=True) as way:
        assert judge(way).ok
        assert way.faults.counted.total() == 0
        assert set(way.customers.posts.values()) == {1}
        assert way.queue.sends == len(way.queue.sent)
        assert len(way.producers.accepted) == len(way.producers.events)


@pytest.mark.simulation
@pytest.mark.timeout(1_200)
def test_every_mutant_is_seen() -> None:
    """The code broken on purpose, in each of these ways, fails on a seed on which it is green unbroken."""
    ended = simulation("--mutants", seconds_max=1_100.0)
    assert ended.returncode == 0, ended.stdout + ended.stderr[-2_000:]
    assert len(ended.stdout.splitlines()) == len(MUTANTS) >= 10


def test_time_passes_where_nothing_else_can() -> None:
    """An hour of sleep takes no time, and those who sleep wake in order."""
    woken: list[float] = []

    async def sleep(loop: VirtualLoop, seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append(loop.elapsed)

    async def main(loop: VirtualLoop) -> None:
        await asyncio.gather(*(sleep(loop, seconds) for seconds in (3_600.0, 60.0, 0.0)))

    run(main)
    assert woken == pytest.approx([0.0, 60.0, 3_600.0])


def test_a_killed_process_does_nothing_more() -> None:
    """Not even what stands in a `finally`; one that is frozen does it later."""
    done: list[str] = []

    async def work(name: str) -> None:
        try:
            await asyncio.sleep(1)
        finally:
            done.append(f"{name} in {PROCESS.get()}")

    async def main(loop: VirtualLoop) -> None:
        loop.start("first", work("killed"))
        loop.start("second", work("frozen"))
        await asyncio.sleep(0.5)
        loop.kill("first")
        loop.freeze("second")
        await asyncio.sleep(5)
        assert not done
        loop.thaw("second")
        await asyncio.sleep(1)
        assert done == ["frozen in second"]
        done.clear()
        await asyncio.sleep(60)
        assert not done

    run(main)
