"""A customer that is away for a day at 1,000 events/s: `python -m tests.simulation.outage_day`, a quarter of an hour of CPU.

The real matching, outbox and delivery on SQLite, with time by hand: every one of the 86.4 million events is matched, compressed,
written, and read again for the customer who is back; or dropped by the limit of the backlog, which is set lower than the day.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import resource
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import msgspec
import psutil
import structlog
from tests.builders import envelope, line
from tests.services.webhooks.fakes import OK, TURNS
from tests.services.webhooks.scene import Scene, opened

from omni_etl.envelope import Envelope
from omni_etl.event import TYPES
from omni_etl.outbox import Lane
from omni_etl.poster import Answer
from omni_etl.services.webhooks.lanes import FRESH_BYTES_MAX, DeliveryLimits
from omni_etl.services.webhooks.match import cut
from omni_etl.webhook import Webhook

ENVELOPE_EVENTS = 2_500
STEP_SECONDS = 2.5
HOUR = 3_600
CUSTOMER = "https://away.test/"
POST_SECONDS = 0.05  # once the customer is back
AWAY = Answer(503, "503")
SHARE_KEPT = 0.8  # of the day's backlog: what the limit leaves


@dataclass
class Customer:
    """Away, and then back; what it took, each batch once."""

    scene: Scene
    is_away: bool = True
    events: int = 0
    refused: int = 0
    repeated: int = 0
    taken: set[str] = field(default_factory=set)

    async def open(self) -> None:
        """Nothing to make."""

    async def close(self) -> None:
        """Nothing to close."""

    async def post(self, target: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Count what came."""
        if self.is_away:
            self.refused += 1
            return AWAY
        await self.scene.clock.sleep(POST_SECONDS)
        batch_id = headers["X-MessageSystems-Batch-ID"]
        self.repeated += batch_id in self.taken
        self.taken.add(batch_id)
        self.events += body.count(b'{"msys":{')
        return OK


@dataclass(frozen=True)
class Told:
    """The figures of one run."""

    hours: float
    events: int
    event_bytes: int  # in a batch
    backlog_bytes_an_event: float  # as it is kept
    limit_bytes: int
    waiting_events_max: int
    file_bytes: int
    delivered_events: int
    dropped_events: int
    attempts_refused: int
    repeated_batches: int
    drain_seconds: int  # of simulated time, while events go on coming
    memory_mib_by_hour: list[int]
    cpu_seconds: int


async def day(directory: Path, *, hours: float, say: bool = True) -> Told:
    """Live through it; what is wrong is an AssertionError."""
    one = _envelope()
    bytes_each = await _kept_bytes(directory / "one", one)
    steps = int(hours * HOUR / STEP_SECONDS)
    limits = DeliveryLimits(64, 16, attempt_seconds_max=10.0, backlog_bytes_max=int(steps * bytes_each * SHARE_KEPT))
    async with opened(directory / "day", limits) as scene:
        customer = Customer(scene)
        _prepare(scene, customer)
        await scene.start()
        memory: list[int] = []
        for step in range(steps):
            await _one_step(scene, one)
            if step % (HOUR / STEP_SECONDS) == 0 or step == steps - 1:
                memory.append(await _look(scene, step + 1, limits.backlog_bytes_max // bytes_each, say=say))
        waiting = (await scene.lane(CUSTOMER)).waiting_events
        file_bytes = sum(each.stat().st_size for each in (directory / "day").iterdir())
        customer.is_away = False
        put, drain_seconds = await _drained(scene, one, steps)
        lane = await scene.lane(CUSTOMER)
        assert (lane.waiting_batches, lane.waiting_events, lane.waiting_bytes, lane.given_up_events) == (0, 0, 0, 0), (
            lane
        )
        assert lane.delivered_events == customer.events
        assert lane.delivered_events + lane.dropped_events == put * ENVELOPE_EVENTS
        assert customer.repeated == 0
    return Told(
        hours=hours,
        events=put * ENVELOPE_EVENTS,
        event_bytes=len(cut(one, [_webhook()]).batches[0].body) // ENVELOPE_EVENTS,
        backlog_bytes_an_event=round(bytes_each / ENVELOPE_EVENTS, 1),
        limit_bytes=limits.backlog_bytes_max,
        waiting_events_max=waiting,
        file_bytes=file_bytes,
        delivered_events=lane.delivered_events,
        dropped_events=lane.dropped_events,
        attempts_refused=customer.refused,
        repeated_batches=customer.repeated,
        drain_seconds=drain_seconds,
        memory_mib_by_hour=memory,
        cpu_seconds=int(_cpu_seconds()),
    )


def _envelope() -> Envelope:
    """Events as large and as random as real ones; the same in every envelope, which is compressed by itself."""
    rng = random.Random(1)
    words = [f"{rng.getrandbits(40):x}" for _ in range(400)]
    lines = [
        line(
            "delivery",
            n=number,
            rcpt_to=f"{rng.choice(words)}@{rng.choice(words[:60])}.example",
            message_id=f"{rng.getrandbits(80):020x}",
            transmission_id=str(rng.getrandbits(50)),
            campaign_id=rng.choice(words[:20]),
            sending_ip=f"10.0.{rng.randrange(4)}.{rng.randrange(256)}",
            subject=" ".join(rng.choices(words[:100], k=4)),
            msg_size=str(rng.randrange(2_000, 90_000)),
        )
        for number in range(ENVELOPE_EVENTS)
    ]
    return envelope(lines)


def _webhook() -> Webhook:
    return Webhook(CUSTOMER, CUSTOMER, CUSTOMER, TYPES, batch_events_max=ENVELOPE_EVENTS)


def _prepare(scene: Scene, customer: Customer) -> None:
    scene.table.rows = {CUSTOMER: _webhook()}
    scene.customer = customer  # type: ignore[assignment]  # it remembers less
    scene.made()


async def _kept_bytes(directory: Path, one: Envelope) -> int:
    """What one envelope is in the outbox: by this the day's backlog is computed."""
    async with opened(directory) as scene:
        _prepare(scene, Customer(scene))
        await scene.delivery.put(one, cut(one, await scene.subscriptions.now()))
        return (await scene.lane(CUSTOMER)).waiting_bytes


async def _put(scene: Scene, one: Envelope) -> None:
    scene.puts += 1
    coming = _numbered(one, scene.puts)
    await scene.delivery.put(coming, cut(coming, await scene.subscriptions.now()))


async def _one_step(scene: Scene, one: Envelope) -> None:
    await _put(scene, one)
    await _rest(scene)
    scene.clock.advance(STEP_SECONDS)
    await _rest(scene)


def _numbered(one: Envelope, seq: int) -> Envelope:
    """The same events under another key."""
    return replace(one, header=msgspec.structs.replace(one.header, seq=seq))


async def _rest(scene: Scene) -> None:
    """As `at_rest`, but idle while the disk is at work."""
    quiet = 0
    while quiet < TURNS:
        is_busy = scene.database.at_work > 0
        await asyncio.sleep(0.001 if is_busy else 0)
        quiet = 0 if is_busy else quiet + 1


async def _look(scene: Scene, steps: int, batches_max: int, *, say: bool) -> int:
    """Counters as computed, nothing in memory; MiB of this process."""
    lane: Lane = await scene.lane(CUSTOMER)
    assert lane.waiting_events + lane.dropped_events == steps * ENVELOPE_EVENTS, lane
    assert steps <= batches_max + 1 or lane.waiting_batches in range(batches_max - 1, batches_max + 2), lane
    assert scene.lanes.fresh_bytes <= FRESH_BYTES_MAX
    mib: int = psutil.Process().memory_info().rss // 2**20
    if say:
        told = {
            "hour": round(steps * STEP_SECONDS / HOUR),
            "events": steps * ENVELOPE_EVENTS,
            "waiting": lane.waiting_events,
        }
        told |= {"waiting_mib": lane.waiting_bytes // 2**20, "dropped": lane.dropped_events, "memory_mib": mib}
        print(json.dumps(told | {"cpu_seconds": int(_cpu_seconds())}), file=sys.stderr, flush=True)
    return mib


async def _drained(scene: Scene, one: Envelope, steps: int) -> tuple[int, int]:
    """Until nothing waits, while events go on coming; envelopes that were put, and how long it took."""
    began = at = scene.clock.monotonic()
    while (await scene.lane(CUSTOMER)).waiting_events or scene.clock.monotonic() == began:
        if scene.clock.monotonic() >= at + STEP_SECONDS:
            at = scene.clock.monotonic()
            steps += 1
            await _put(scene, one)
        await _rest(scene)
        scene.clock.advance(POST_SECONDS + 0.001)
        await _rest(scene)
    return steps, round(scene.clock.monotonic() - began)


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Run it, and show what it was."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.outage_day")
    parser.add_argument("--hours", type=float, default=24.0)
    hours = parser.parse_args().hours
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with tempfile.TemporaryDirectory(prefix="outage-day-") as directory:
        for name in ("one", "day"):
            (Path(directory) / name).mkdir()
        print(json.dumps(asdict(asyncio.run(day(Path(directory), hours=hours))), indent=2))


if __name__ == "__main__":
    main()
