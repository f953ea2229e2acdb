"""A filled system that speaks TLS: what the official clients meet."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import urllib3
from tests.certificates import Certified, certified
from tests.e2e.system import Customer, Load, System, assert_all_landed, customer, started, up, watch_everything

from omni_etl.demo.life import events

EVENTS = 4_000
UP_ON_POSTGRESQL = Path(__file__).parents[1] / "e2e" / "up_on_postgresql.py"


@dataclass(frozen=True, slots=True)
class Filled:
    """One `omni up` with events of the last minutes in every store, and whom its clients have to trust."""

    system: System
    receiver: Customer
    load: Load
    certified: Certified

    @property
    def host(self) -> str:
        """Host and port."""
        return str(self.system.places["api_url"]).removeprefix("https://")

    def events(self) -> list[dict[str, Any]]:
        """What was sent."""
        return [orjson.loads(line) for line in events(EVENTS, seed=self.load.seed, now=self.load.now)]

    def client(self) -> urllib3.PoolManager:
        """It trusts our authority, and tries nothing twice."""
        return urllib3.PoolManager(ca_certs=str(self.certified.authority), retries=False, timeout=60)

    def new_key(self, *arguments: str) -> str:
        """By `omni keys create`."""
        command = [sys.executable, "-m", "omni_etl", "keys", "create", "--name", "test"]
        command += ["--data", self.system.places["data_dir"], *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    @property
    def key(self) -> str:
        """Of the primary account, without limits."""
        return str(self.system.places["api_key"])


@contextmanager
def filled(directory: Path, database_url: str | None = None) -> Iterator[Filled]:
    """Start it, send, and wait until everything landed; queue and database are in PostgreSQL where one is given."""
    files = certified(directory / "tls")
    tls = {"OMNI_API_TLS_CERT": str(files.cert), "OMNI_API_TLS_KEY": str(files.key)}
    data = directory / "data"
    starting = (
        started([sys.executable, str(UP_ON_POSTGRESQL), str(data), database_url], **tls)
        if database_url
        else up(data, queue="sqlite", **tls)
    )
    with starting as system, customer() as receiver:
        system.trusted = files.authority
        watch_everything(system, receiver.target)
        load = Load(system.places["hose_url"], EVENTS, now=time.time()).start()  # noqa: TID251 searches ask for the last day by default
        load.join()
        assert_all_landed(system, receiver, [load])
        yield Filled(system, receiver, load, files)
