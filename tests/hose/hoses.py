"""Start a hose with small limits, stop it, or take its power away."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
from tests.hose.fake_queue import FakeQueue

from omni_etl.clock import Clock, SystemClock
from omni_etl.envelope import open_header
from omni_etl.hose import CutLimits, EventHose, HoseLimits, RememberLimits

MIB = 1024 * 1024
CUTS = CutLimits(
    envelope_bytes=8 * 1024,
    envelope_events_max=100,
    bulk_age_seconds=0.01,
    express_age_seconds=0.001,
    express_age_idle_seconds=0.005,
    express_busy_events_per_second=10.0,
    heartbeat_seconds=60.0,
)
LIMITS = HoseLimits(
    cuts=CUTS,
    requests=RememberLimits(1_000, 86_400),
    spool_bytes_max=64 * MIB,
    spool_segment_bytes=64 * 1024,
    body_bytes_max=MIB,
    raw_bytes_max=4 * MIB,
    waiting_bytes_max=8 * MIB,
    uncut_bytes_max=8 * MIB,
    sends_in_flight_max=4,
    event_age_seconds_max=0,
)


def never_cut(limits: HoseLimits = LIMITS) -> HoseLimits:
    """What is accepted stays uncut until something else happens."""
    cuts = replace(limits.cuts, bulk_age_seconds=1e6, express_age_seconds=1e6, express_age_idle_seconds=1e6)
    return replace(limits, cuts=replace(cuts, heartbeat_seconds=1e6))


def make_hose(
    directory: Path, queue: FakeQueue, *, limits: HoseLimits = LIMITS, clock: Clock | None = None
) -> EventHose:
    """A hose that is not started."""
    return EventHose(
        queue=queue, clock=clock or SystemClock(), rng=random.Random(1), limits=limits, spool_dir=directory
    )


@asynccontextmanager
async def running_hose(directory: Path, queue: FakeQueue, **kwargs: Any) -> AsyncIterator[EventHose]:
    """A hose that is stopped in order at the end."""
    hose = make_hose(directory, queue, **kwargs)
    await hose.start()
    try:
        yield hose
    finally:
        await hose.stop(10)


async def crash(hose: EventHose, *, into: Path) -> Path:
    """What a kill -9 right now would leave, as a new directory; then the hose is taken out of the way."""
    # In the thread that writes: between two commits, since a copy takes its time and a crash does not.
    left = await asyncio.get_running_loop().run_in_executor(hose._spool._thread, shutil.copytree, hose._directory, into)
    await discard(hose)
    return left


async def discard(hose: EventHose) -> None:
    """End a hose without a word to its spool."""
    for task in hose._tasks:
        task.cancel()
    await asyncio.gather(*hose._tasks, return_exceptions=True)
    hose._spool._thread.shutdown()
    if hose._spool._writer._file is not None:
        os.close(hose._spool._writer._file)
    hose._memory.close()
    assert hose._lock is not None
    os.close(hose._lock)


async def recover(directory: Path, queue: FakeQueue) -> None:
    """Start on what is there, send all of it, stop."""
    async with running_hose(directory, queue):
        pass


def event(number: int, type_name: str = "delivery", **fields: Any) -> bytes:
    """A canonical line with an id that tells it from all others."""
    return orjson.dumps({"type": type_name, "timestamp": "1764000000", "event_id": f"id{number}", **fields})


def check_numbers(queue: FakeQueue) -> None:
    """In each lane of each hose the envelopes count from 1 without a gap, and only the last one may be closing."""
    lanes: dict[tuple[str, str], dict[int, bool]] = {}
    for envelope in queue.unique().values():
        header = open_header(envelope.header)
        lanes.setdefault((header.hose_id, header.lane), {})[header.seq] = header.closing
        assert header.last_seq[header.lane] == header.seq
    for lane, closing in lanes.items():
        assert sorted(closing) == list(range(1, len(closing) + 1)), lane
        assert [seq for seq, is_last in closing.items() if is_last] in ([], [len(closing)]), lane
