"""World: one `omni up` on small disks, its producers, its customer, and SQS where that is the queue; all of it real processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final, Literal

import redis
import urllib3
from tests.chaos.beside import ROOT, Beside
from tests.chaos.disks import Disks
from tests.chaos.load import Load
from tests.chaos.network import FarHost
from tests.e2e.system import System, kill

from omni_etl.embedded.ports import free_ports
from omni_etl.embedded.sqs_server import CREDENTIALS, REGION
from omni_etl.event import TYPES

QueueKind = Literal["sqlite", "sqs"]

UP_HERE: Final = Path(__file__).with_name("up_here.py")
READY_SECONDS_MAX: Final = 120.0
STOP_SECONDS_MAX: Final = 60.0
ANSWER_SECONDS_MAX: Final = 5.0
LEASE_SECONDS: Final = 10
# Small, so that filling one is quick; large enough for a million events and what a hose keeps while its queue is away.
DISKS_MEBIBYTES: Final = {"hose": 384, "queue": 384, "database": 512, "store": 1536}
SETTINGS: Final = {
    "OMNI_LEASE_SECONDS": str(LEASE_SECONDS),  # what a killed parent held comes back soon
    "OMNI_STORE_TIMEOUT_SECONDS": "5",
    "OMNI_WEBHOOKS_TIMEOUT_SECONDS": "3",
    "OMNI_AUDIT_SECONDS": "30",
    "OMNI_HEARTBEAT_SECONDS": "5",
    "OMNI_LOG_LEVEL": "info",
}
LEDGERS: Final = {"suppressions": ("control", "suppressions_ledger"), "webhooks": ("outbox", "webhooks_ledger")}


class World:
    """Made by `open`; everything in it ends with `close`."""

    def __init__(self, queue: QueueKind, *, seed: int) -> None:
        self.queue = queue
        self.seed = seed
        self.directory = Path(tempfile.mkdtemp(prefix="omni-chaos-"))
        self.home = self.directory / "home"  # the system's data directory
        self.receipts = self.directory / "receipts.jsonl"
        self.disks = Disks(self.directory / "disks")
        self.far = FarHost()
        self.restarts = 0
        self._ending = ExitStack()
        self._hose_port, self._api_port, self._store_port, self._hook_port, self._sqs_port, self._wire_port = (
            free_ports(6)
        )
        self.customer: Beside
        self.wire: Beside
        self.system: System
        self.load: Load
        self._up_lock = threading.Lock()

    def open(self) -> None:
        """Start everything; return when it serves and one webhook wants every event."""
        self.home.mkdir()
        self._ending.callback(self.disks.close)
        self._ending.callback(self.far.close)
        for name, mebibytes in DISKS_MEBIBYTES.items():
            self.disks.make(self.home / name, mebibytes=mebibytes)
        address = self.far.address
        if self.queue == "sqs":
            self._beside("unkind_sqs", "127.0.0.1", str(self._sqs_port), str(self.seed))
            self.wire = self._beside("wire", address, str(self._wire_port), str(self._sqs_port))
        self.customer = self._beside("receiver", address, str(self._hook_port), str(self.receipts))
        self.await_customer()
        self.start_system()
        self.system.api("POST", "/api/v1/webhooks", name="all", target=f"{self._hook}/hook", events=sorted(TYPES))
        self.load = Load(self.system.places["hose_url"], seed=self.seed)

    def close(self, *, keeps: bool) -> None:
        """End everything, whatever state it is in; the directory, with what lay on the small disks, may be kept."""
        if hasattr(self, "load"):
            self.load.give_up()
        if hasattr(self, "system"):
            self._stop_system()
        if keeps:
            self.disks.keep(self.directory / "kept")
        self._ending.close()
        if not keeps:
            shutil.rmtree(self.directory, ignore_errors=True)

    def start_system(self) -> None:
        """`omni up` on what there is."""
        with self._up_lock:
            with (self.directory / "up.log").open("ab") as log:
                process = subprocess.Popen(
                    [sys.executable, str(UP_HERE), str(self.home)],
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    cwd=ROOT,
                    env=self._environment(),
                    start_new_session=True,  # Ctrl-C comes to us, and we end it in order
                )
            assert process.stdout is not None
            self._ending.callback(process.stdout.close)
            self._ending.callback(process.kill)  # if it still runs then: what it started ends by itself
            line = process.stdout.readline()
            if not line:
                raise AssertionError(f"omni up ended with {process.wait()}: {self.log_tail()}")
            self.system = System(process, json.loads(line))

    def behave_customer(self, manner: str) -> None:
        """From now on."""
        self._ask("POST", f"{self._hook}/manner", manner)

    def behave_sqs(self, manner: str) -> None:
        """From now on. Said behind the wire, which may be away."""
        command = [*self.far.prefix, "curl", "-sf", "-m", "10", "-d", manner]
        subprocess.run([*command, f"http://127.0.0.1:{self._sqs_port}/manner"], check=True, capture_output=True)

    def await_customer(self) -> None:
        """It listens."""
        self.behave_until_it_answers(lambda: self.behave_customer("well"))

    def await_api(self) -> bool:
        """Whether a call with a key is answered."""
        return bool(self.system.api("GET", "/api/v1/webhooks")["results"])

    def behave_until_it_answers(self, ask: Callable[[], None]) -> None:
        """Ask again and again."""
        until = time.monotonic() + READY_SECONDS_MAX  # noqa: TID251 real processes have real time
        while True:
            try:
                ask()
            except (urllib3.exceptions.HTTPError, AssertionError):
                if time.monotonic() > until:  # noqa: TID251 see above
                    raise
                time.sleep(0.1)  # noqa: TID251 see above
            else:
                return

    def flush_tracker(self) -> None:
        """It forgets everything."""
        with closing(redis.Redis.from_url(self.system.places["tracker_url"], socket_timeout=ANSWER_SECONDS_MAX)) as it:
            it.flushall()

    def effects(self, service: str) -> int:
        """How many envelopes this service's ledger holds."""
        if service in LEDGERS:
            part, table = LEDGERS[service]
            url = f"file:{self.home / 'database' / part}.sqlite?mode=ro"
            with closing(sqlite3.connect(url, uri=True, timeout=1)) as connection:
                return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
        return int(self.system.rows(f"SELECT count() FROM {service} WHERE marker_key != ''")[0][0])

    def store_rows(self, statement: str) -> list[list[Any]]:
        """Run a SELECT on the store: texts as they are, numbers as numbers."""
        url = urllib3.util.parse_url(self.system.places["store_url"])
        answer = urllib3.request(
            "POST",
            f"http://{url.host}:{url.port}/?default_format=JSONCompactEachRow&output_format_json_quote_64bit_integers=0",
            body=statement,
            headers=urllib3.make_headers(basic_auth=url.auth),
        )
        assert answer.status == 200, answer.data
        return [json.loads(line) for line in answer.data.splitlines()]

    def received_bytes(self) -> int:
        """How long the customer's list of receipts is."""
        return self.receipts.stat().st_size

    def log_tail(self) -> str:
        """The last words of `omni up`."""
        return (self.directory / "up.log").read_text(errors="replace")[-1500:]

    def command(self, *arguments: str) -> tuple[int, str]:
        """Exit code and standard output of an `omni` command on this system."""
        command = [sys.executable, "-m", "omni_etl", *arguments, "--data", str(self.home)]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=600, cwd=ROOT, env=self._environment()
        )
        return done.returncode, done.stdout or done.stderr

    @property
    def _hook(self) -> str:
        return f"http://{self.far.address}:{self._hook_port}"

    def _beside(self, module: str, *arguments: str) -> Beside:
        log = self.directory / f"{module}.log"
        made = Beside(f"tests.chaos.{module}", *arguments, log=log, prefix=self.far.prefix)
        self._ending.callback(made.stop)
        return made

    def _ask(self, method: str, url: str, body: str) -> None:
        answer = urllib3.request(method, url, body=body.encode(), retries=False, timeout=ANSWER_SECONDS_MAX)
        assert answer.status == 200, answer.data

    def _environment(self) -> dict[str, str]:
        mine = {
            **SETTINGS,
            "OMNI_HOSE_PORT": str(self._hose_port),
            "OMNI_API_PORT": str(self._api_port),
            "OMNI_STORE_PORT": str(self._store_port),
            "OMNI_WEBHOOKS_ALLOW_NETWORKS": f"127.0.0.0/8,{self.far.network}",
        }
        if self.queue == "sqs":
            mine |= {
                **CREDENTIALS,
                "OMNI_SQS_ENDPOINT_URL": f"http://{self.far.address}:{self._wire_port}",
                "OMNI_SQS_REGION": REGION,
                "OMNI_SQS_QUEUE_PREFIX": "chaos-",
            }
        return {**os.environ, **mine}

    def _stop_system(self) -> None:
        process = self.system.process
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                for pid in [process.pid, *self.system.pids.values()]:
                    kill(pid)
                process.wait()
