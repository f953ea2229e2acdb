"""`omni demo`: the whole way of many events, and every figure read back from where it landed."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import urllib3
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from omni_etl.backends.clickhouse import ClickHouseStore
from omni_etl.client import Hose
from omni_etl.clock import Clock, SystemClock
from omni_etl.demo.expectation import Expectation
from omni_etl.demo.life import events
from omni_etl.demo.outcome import Landed, Outcome
from omni_etl.demo.usage import Usage, usage
from omni_etl.embedded.ports import free_ports
from omni_etl.embedded.starter import watched
from omni_etl.embedded.up import Places, Up
from omni_etl.errors import OmniError
from omni_etl.event import TYPES
from omni_etl.settings import Settings
from omni_etl.suppression_list import SuppressionList
from omni_etl.wiring.databases import build_suppression_list
from omni_etl.wiring.stores import build_store
from omni_etl.wiring.totals import read_totals

SEED: Final = 20170407  # the day SparkPost told the story
CONNECTIONS: Final = 4
CHUNK_EVENTS: Final = 1_000
STALLED_SECONDS: Final = 60.0
POLL_SECONDS: Final = 1.0  # reading back is work for the store too


class StalledError(OmniError):
    """Nothing moved for a minute; the system's logs say why."""


@dataclass(frozen=True, slots=True)
class Demo:
    """One run of the demo on a system that is up."""

    places: Places
    settings: Settings
    count: int
    console: Console
    clock: Clock

    async def run(self) -> tuple[Outcome, dict[str, Usage]]:
        """Send, wait until all is settled, and read back.

        Raises:
            StalledError: it does not come to an end.

        """
        receiver = await _start_receiver()
        hose = Hose(self.places.hose_url)
        store = build_store(self.settings)
        entries = build_suppression_list(self.settings, self.clock)
        try:
            await store.open()
            await entries.open()
            hook = await asyncio.to_thread(_until_it_answers, receiver.port)
            await asyncio.to_thread(self._create_webhook, hook)
            before = await asyncio.to_thread(self._usages)
            started_at = self.clock.monotonic()
            with self._progress() as progress:
                expected, accepted = await asyncio.to_thread(self._send, hose, progress)
                landed = await self._settled(progress, accepted, _Sources(store, entries, receiver.port))
            seconds = self.clock.monotonic() - started_at
            outcome = Outcome(expected=expected, accepted=accepted, landed=landed, seconds=seconds)
            after = await asyncio.to_thread(self._usages)
            return outcome, {name: each.since(before.get(name)) for name, each in after.items()}
        finally:
            hose.give_up()  # interrupted, a thread still sends: it ends with the hose and does not wait for another
            await store.close()
            await entries.close()
            receiver.process.terminate()
            await receiver.process.wait()

    def _create_webhook(self, target: str) -> None:
        """Through the API, as a customer would."""
        body = {"name": "demo", "target": target, "events": sorted(TYPES)}
        answer = urllib3.request(
            "POST",
            f"{self.places.api_url}/api/v1/webhooks",
            json=body,
            headers={"Authorization": self.places.api_key},
            retries=False,
        )
        if answer.status != 200:  # noqa: PLR2004 OK
            raise OmniError(f"the API answered {answer.status} to a new webhook: {answer.data.decode()[:300]}")

    def _send(self, hose: Hose, progress: Progress) -> tuple[Expectation, int]:
        """Post everything over a few connections; a full hose is waited for."""
        task = progress.add_task("accepted by the hose", total=self.count)
        expected = Expectation()
        accepted = 0
        lines = events(self.count, seed=SEED, now=self.clock.now())
        with hose, ThreadPoolExecutor(CONNECTIONS) as pool:
            waiting = []
            for chunk in _chunks(lines, CHUNK_EVENTS):
                expected.add(chunk)
                waiting.append(pool.submit(hose.send, chunk))
                if len(waiting) > 2 * CONNECTIONS:
                    accepted += waiting.pop(0).result().accepted
                    progress.update(task, completed=accepted)
            for each in waiting:
                accepted += each.result().accepted
                progress.update(task, completed=accepted)
        return expected, accepted

    async def _settled(self, progress: Progress, accepted: int, sources: _Sources) -> Landed:
        """Wait until every figure stands at what was accepted, or nothing moves any more."""
        tasks = {
            name: progress.add_task(name, total=accepted) for name in ("message_events", "metrics", "webhook_events")
        }
        landed = await sources.read()
        moved_at = self.clock.monotonic()
        while not landed.has_all(accepted):
            await self.clock.sleep(POLL_SECONDS)
            before, landed = landed, await sources.read()
            for name, task in tasks.items():
                progress.update(task, completed=getattr(landed, name))
            now = self.clock.monotonic()
            moved_at = now if landed != before else moved_at
            if now - moved_at > STALLED_SECONDS:
                raise StalledError(f"nothing moved for {STALLED_SECONDS:g} s; landed: {landed}")
        for name, task in tasks.items():
            progress.update(task, completed=getattr(landed, name))
        return landed

    def _usages(self) -> dict[str, Usage]:
        """Per process, children included."""
        pids = {("demo: generator, client" if name == "up" else name): pid for name, pid in self.places.pids.items()}
        answer = urllib3.request(
            "GET", f"{self.places.api_url}/api/v1/status", headers={"Authorization": self.places.api_key}
        )
        for role in answer.json()["results"]["fleet"].get("roles", []):
            pids |= {f"child {name}": pid for name, pid in role.get("children", {}).items()}
        found = {name: usage(pid) for name, pid in pids.items()}
        return {name: each for name, each in found.items() if each is not None}

    def _progress(self) -> Progress:
        columns = (TextColumn("{task.description:>22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        return Progress(*columns, console=self.console)


@dataclass(frozen=True, slots=True)
class _Sources:
    """Where figures are read back from: the engines themselves, and the customer."""

    store: ClickHouseStore
    entries: SuppressionList
    receiver_port: int

    async def read(self) -> Landed:
        totals, suppressions, receipts = await asyncio.gather(
            read_totals(self.store), self.entries.count(), asyncio.to_thread(_receipts, self.receiver_port)
        )
        return Landed(
            message_events=totals.message_events,
            metrics=sum(totals.metrics_by_type.values()),
            metrics_by_type=totals.metrics_by_type,
            webhook_events=receipts["events"],
            webhook_batches=receipts["batches"],
            webhook_repeats=receipts["repeats"],
            webhook_doubled=receipts["doubled"] + receipts["changed"],
            webhook_largest=receipts["largest"],
            suppressions=suppressions,
        )


@dataclass(frozen=True, slots=True)
class _Receiver:
    process: asyncio.subprocess.Process
    port: int


async def _start_receiver() -> _Receiver:
    [port] = free_ports(1)
    command = watched([sys.executable, "-m", "omni_etl.demo.receiver", str(port)])
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE)  # it ends when we do
    return _Receiver(process, port)


def _receipts(port: int) -> dict[str, Any]:
    answer: dict[str, Any] = urllib3.request("GET", f"http://127.0.0.1:{port}/receipts").json()
    return answer


def _until_it_answers(port: int) -> str:
    retries = urllib3.Retry(total=40, backoff_factor=0.05, backoff_max=0.5)
    urllib3.request("GET", f"http://127.0.0.1:{port}/receipts", retries=retries)
    return f"http://127.0.0.1:{port}/hook"


def _chunks(lines: Iterator[bytes], size: int) -> Iterator[list[bytes]]:
    while chunk := list(islice(lines, size)):
        yield chunk


async def demo(system: Up, *, count: int, console: Console) -> tuple[Outcome, dict[str, Usage], Places]:
    """Start the system and run the demo on it; stopping it is the caller's."""
    with console.status("Starting tracker, store, hose, parent with its children, and API…"):
        places = await system.start()
    run = Demo(places, system.settings, count, console, SystemClock())
    watching = asyncio.create_task(system.watch())
    running = asyncio.create_task(run.run())
    try:
        await asyncio.wait({watching, running}, return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            await watching  # a role cannot be kept running: say so, and not that nothing moves
        outcome, usages = await running
    finally:
        for task in (watching, running):
            task.cancel()
        await asyncio.gather(watching, running, return_exceptions=True)
    return outcome, usages, places


def as_line(outcome: Outcome) -> str:
    """The last line of `omni demo`."""
    return json.dumps(outcome.as_dict())
