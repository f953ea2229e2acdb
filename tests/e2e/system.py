"""The whole system as real processes, and a customer beside it; every figure is read back from where it landed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import psutil
import urllib3

from omni_etl import settings as settings_module
from omni_etl.backends.database.suppression_list import DatabaseSuppressionList
from omni_etl.client import Hose
from omni_etl.clock import SystemClock
from omni_etl.demo.expectation import Expectation
from omni_etl.demo.life import events
from omni_etl.embedded.ports import free_ports
from omni_etl.embedded.up import running
from omni_etl.event import TYPES
from omni_etl.wiring.databases import control_database
from omni_etl.wiring.stores import build_store
from omni_etl.wiring.totals import StoreTotals, read_totals

SETTLE_SECONDS_MAX = 90.0
READY_SECONDS_MAX = 60.0
UP_ON_SQS = Path(__file__).with_name("up_on_sqs.py")
ENVIRONMENT = {
    "OMNI_WEBHOOKS_ALLOW_NETWORKS": "127.0.0.0/8",  # customers live on loopback here
    "OMNI_LEASE_SECONDS": "10",  # what a killed parent held comes back soon
}


@dataclass
class System:
    """One `omni up`."""

    process: subprocess.Popen[str]
    places: dict[str, Any]
    trusted: Path | None = None  # who certified the API, where it speaks TLS

    @property
    def pids(self) -> dict[str, int]:
        """Every living process by role or service, as the kernel knows them now; `tracker` is the server itself."""
        found = {}
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                arguments = process.cmdline()
            except psutil.NoSuchProcess:
                continue
            if "omni_etl.cli.child" in arguments or "--watch-stdin" in arguments:
                found[arguments[-2]] = process.pid
            elif (arguments and arguments[0].endswith("valkey-server")) or "valkey-server" in process.name():
                found["tracker"] = process.pid
            elif any(each.endswith("starter.py") for each in arguments):
                found["queue starter" if "moto.server" in arguments else "tracker starter"] = process.pid
            elif "moto.server" in arguments:
                found["queue"] = process.pid
        return found

    def api(self, method: str, path: str, **body: Any) -> Any:
        """One call with the key."""
        answer = urllib3.PoolManager(ca_certs=self.trusted and str(self.trusted)).request(
            method,
            self.places["api_url"] + path,
            headers={"Authorization": self.places["api_key"]},
            json=body or None,
            retries=False,
            timeout=10,
        )
        assert answer.status < 300, (answer.status, answer.data)
        return answer.json() if answer.data else None

    def status(self) -> dict[str, Any]:
        """What `omni status --json` prints."""
        found: dict[str, Any] = self.api("GET", "/api/v1/status")["results"]
        return found

    def try_again(self) -> None:
        """Every batch that waits for its next attempt, at once: customers are well again."""
        for webhook in self.api("GET", "/api/v1/webhooks")["results"]:
            self.api("POST", f"/api/v1/webhooks/{webhook['id']}/resume")
            self.api("POST", f"/api/v1/webhooks/{webhook['id']}/retry")

    def totals(self) -> StoreTotals:
        """What the store holds."""

        async def read() -> StoreTotals:
            store = build_store(self._settings())
            await store.open()
            try:
                return await read_totals(store)
            finally:
                await store.close()

        return asyncio.run(read())

    def suppressions(self) -> int:
        """Entries that hold."""

        async def count() -> int:
            clock = SystemClock()
            entries = DatabaseSuppressionList(control_database(self._settings(), clock), clock)
            await entries.open()
            try:
                return await entries.count()
            finally:
                await entries.close()

        return asyncio.run(count())

    def rows(self, statement: str) -> list[list[str]]:
        """Run a SELECT on the store; rows of texts."""
        url = urllib3.util.parse_url(self.places["store_url"])
        answer = urllib3.request(
            "POST",
            f"http://{url.host}:{url.port}/?default_format=TSV",
            body=statement,
            headers=urllib3.make_headers(basic_auth=url.auth),
        )
        assert answer.status == 200, answer.data
        return [line.split("\t") for line in answer.data.decode().splitlines()]

    def stop(self) -> int:
        """Ctrl-C, and wait."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=40)

    def kill_everything(self) -> None:
        """Power off, nearly: every process at once."""
        for pid in [self.process.pid, *self.pids.values()]:
            kill(pid)
        self.process.wait()

    def _settings(self) -> settings_module.Settings:
        return running(settings_module.load(data_dir=Path(self.places["data_dir"])))


@contextmanager
def up(directory: Path, *, queue: Literal["sqlite", "sqs"] = "sqlite", **environment: str) -> Iterator[System]:
    """`omni up`, on engines of its own."""
    plain = [sys.executable, "-m", "omni_etl", "up", "--json", "--data", str(directory)]
    command = plain if queue == "sqlite" else [sys.executable, str(UP_ON_SQS), str(directory)]
    with started(command, **environment) as system:
        yield system


@contextmanager
def started(command: list[str], **environment: str) -> Iterator[System]:
    """Start it, wait until it is ready, and end it, whatever happened."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, **ENVIRONMENT, **environment}
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, f"omni up ended with {process.wait()}"
        yield System(process, json.loads(line))
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=40)
            except subprocess.TimeoutExpired:
                process.kill()
        process.stdout.close()


@dataclass
class Customer:
    """A webhook receiver that outlives restarts of the system."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def target(self) -> str:
        """Where batches go."""
        return f"http://127.0.0.1:{self.port}/hook"

    def receipts(self) -> dict[str, int]:
        """What came."""
        retries = urllib3.Retry(total=20, connect=20, backoff_factor=0.05, backoff_max=0.5)
        found: dict[str, int] = urllib3.request("GET", f"http://127.0.0.1:{self.port}/receipts", retries=retries).json()
        return found


@contextmanager
def customer() -> Iterator[Customer]:
    """Start a receiver, and wait until it listens: the API tests a target before it takes it."""
    [port] = free_ports(1)
    process = subprocess.Popen([sys.executable, "-m", "omni_etl.demo.receiver", str(port)])
    try:
        receiver = Customer(port, process)
        receiver.receipts()
        yield receiver
    finally:
        process.kill()
        process.wait()


@dataclass
class Load:
    """Events on their way in, from a thread, as a patient producer sends them."""

    hose_url: str
    count: int
    seed: int = 1
    now: float = field(default_factory=time.time)  # noqa: TID251 real processes refuse events of long ago
    expected: Expectation = field(default_factory=Expectation)
    accepted: int = 0
    error: BaseException | None = None

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.begun = threading.Event()

    def start(self) -> Load:
        """Begin."""
        self._thread.start()
        return self

    def join(self) -> None:
        """Wait until all is accepted."""
        self._thread.join(SETTLE_SECONDS_MAX)
        assert not self._thread.is_alive(), "the load did not end"
        if self.error:
            raise self.error

    def _run(self) -> None:
        try:
            lines = events(self.count, seed=self.seed, now=self.now)
            with Hose(self.hose_url) as hose:
                while chunk := list(islice(lines, 500)):
                    self.expected.add(chunk)
                    self.accepted += hose.send(chunk).accepted
                    self.begun.set()
        except BaseException as error:  # noqa: BLE001 handed to join
            self.error = error
            self.begun.set()


def watch_everything(system: System, target: str) -> None:
    """One webhook for all events."""
    system.api("POST", "/api/v1/webhooks", name="all", target=target, events=sorted(TYPES))


def survive_kills(system: System, receiver: Customer, victims: Sequence[str]) -> None:
    """Kill -9 one process after another, each under a load of its own; everything lands once all the same."""
    watch_everything(system, receiver.target)
    loads = []
    for seed, victim in enumerate(victims):
        load = Load(system.places["hose_url"], 5_000, seed=seed).start()
        loads.append(load)
        load.begun.wait(30)
        wait_until(lambda: victim in system.pids, f"{victim} runs")  # noqa: B023 asked before the next turn
        pid = system.pids[victim]
        kill(pid)
        wait_until(lambda: system.pids.get(victim, pid) != pid, f"{victim} is replaced")  # noqa: B023 asked before the next turn
        load.join()
    assert_all_landed(system, receiver, loads)


def assert_all_landed(system: System, receiver: Customer, loads: list[Load]) -> None:
    """Accepted = stored = counted = received, each exactly once; suppressions right."""
    accepted = sum(load.accepted for load in loads)
    assert accepted == sum(load.expected.accepted for load in loads)

    def landed() -> bool:
        totals, receipts = system.totals(), receiver.receipts()
        return min(totals.message_events, sum(totals.metrics_by_type.values()), receipts["events"]) >= accepted

    wait_until(landed, "everything landed", lambda: f"{system.totals()} {receiver.receipts()} {system.status()}")
    totals, receipts = system.totals(), receiver.receipts()
    assert totals.message_events == accepted
    types = sum((load.expected.types for load in loads), start=type(loads[0].expected.types)())
    assert {name: count for name, count in totals.metrics_by_type.items() if count} == dict(types)
    assert (receipts["events"], receipts["doubled"], receipts["changed"]) == (accepted, 0, 0)
    assert receipts["largest"] <= 100
    suppressed = set[tuple[str, str, bool]]().union(*(load.expected.suppressed for load in loads))
    wait_until(lambda: system.suppressions() == len(suppressed), "suppressions are right", system.suppressions)


def wait_until(holds: Callable[[], bool], what: str, otherwise: Callable[[], Any] = lambda: "") -> None:
    """Poll a real system until this holds."""
    until = time.monotonic() + SETTLE_SECONDS_MAX  # noqa: TID251 real processes have real time
    while True:
        try:
            if holds():
                return
            seen: Any = ""
        except Exception as error:  # noqa: BLE001 an engine that was just killed may not answer
            seen = error
        assert time.monotonic() < until, f"not within {SETTLE_SECONDS_MAX} s: {what}; {seen} {otherwise()}"  # noqa: TID251 see above
        time.sleep(0.1)  # noqa: TID251 see above


def kill(pid: int) -> None:
    """Kill -9."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


@contextmanager
def halted(pid: int, *, seconds: float) -> Iterator[None]:
    """SIGSTOP for at least so long."""
    until = time.monotonic() + seconds  # noqa: TID251 real processes have real time
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
        time.sleep(max(0.0, until - time.monotonic()))  # noqa: TID251 see above
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def moved_away(directory: Path, *, seconds: float) -> Iterator[None]:
    """As if a mount was lost, for at least so long."""
    until = time.monotonic() + seconds  # noqa: TID251 real processes have real time
    elsewhere = directory.with_name(directory.name + "-elsewhere")
    directory.rename(elsewhere)
    try:
        yield
        time.sleep(max(0.0, until - time.monotonic()))  # noqa: TID251 see above
    finally:
        elsewhere.rename(directory)


def is_alive(pid: int) -> bool:
    """Whether a process still runs (a zombie does not)."""
    try:
        state = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
