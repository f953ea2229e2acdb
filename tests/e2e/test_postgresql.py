"""The path with queue and database in one PostgreSQL, by real processes: kill -9 of the parent, and of the server."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.e2e.system import (
    Load,
    System,
    assert_all_landed,
    customer,
    started,
    survive_kills,
    wait_until,
    watch_everything,
)
from tests.postgresql_server import PostgresqlServer, postgresql_server

pytestmark = [pytest.mark.e2e, pytest.mark.engines, pytest.mark.timeout(240)]

UP_ON_POSTGRESQL = Path(__file__).with_name("up_on_postgresql.py")


@contextmanager
def up(directory: Path, server: PostgresqlServer) -> Iterator[System]:
    """Every role, with queue and database in a new database of this server."""
    with started([sys.executable, str(UP_ON_POSTGRESQL), str(directory), server.empty_database()]) as system:
        assert system.places["database_url"].startswith("postgresql://")
        yield system


def test_killed_processes_lose_and_double_nothing(tmp_path: Path, postgresql: PostgresqlServer) -> None:
    """Accepted = stored = counted = received, once each."""
    with up(tmp_path, postgresql) as system, customer() as receiver:
        survive_kills(system, receiver, ["run", "suppressions", "webhooks", "hose"])
        tables = "SELECT count(*) FROM queue_messages"
        wait_until(lambda: postgresql.sql(tables, url=system.places["database_url"]) == "0", "nothing waits")


def test_a_killed_server_is_waited_for(tmp_path: Path) -> None:
    """Queue, registry, suppressions and outbox are gone at once, twice, under load: no crash, no loss, nothing twice."""
    with postgresql_server() as server, up(tmp_path, server) as system, customer() as receiver:
        watch_everything(system, receiver.target)
        before = system.pids
        loads = []
        for seed in range(2):
            loads.append(Load(system.places["hose_url"], 6_000, seed=seed).start())
            loads[-1].begun.wait(30)
            server.kill()
            server.start()
            loads[-1].join()
        assert_all_landed(system, receiver, loads)
        assert system.pids == before


def test_a_hanging_server_is_waited_for(tmp_path: Path) -> None:
    """It takes packets and answers nothing, for longer than every limit of ours."""
    with postgresql_server() as server, up(tmp_path, server) as system, customer() as receiver:
        watch_everything(system, receiver.target)
        before = system.pids
        load = Load(system.places["hose_url"], 6_000, seed=3).start()
        load.begun.wait(30)
        server.signal(signal.SIGSTOP)
        load.join()
        wait_until(lambda: is_away(system), "the outage is told")
        server.signal(signal.SIGCONT)
        assert_all_landed(system, receiver, [load])
        assert system.pids == before


def is_away(system: System) -> bool:
    """Whether the API says so; it looks keys up in the database."""
    try:
        system.status()
    except AssertionError as answer:
        return "An engine is away" in str(answer)
    return False
