"""The audit on the real thing: before, during and after; and three wounds made by hand, each found and named."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import urllib3
from tests.e2e.system import Load, System, up, wait_until

SERVICES = {"metrics", "message_events", "suppressions", "webhooks"}

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """A small one, whose parent audits all the time and whose hose is never silent for long."""
    with up(tmp_path / "data", OMNI_AUDIT_SECONDS="1", OMNI_HEARTBEAT_SECONDS="2") as made:
        yield made


def audit(system: System, *arguments: str) -> tuple[int, dict[str, Any]]:
    """What the command line says, and its exit code."""
    command = [sys.executable, "-m", "omni_etl", "audit", "--json", "--data", system.places["data_dir"], *arguments]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert run.stdout, run.stderr
    return run.returncode, json.loads(run.stdout)


def found(report: dict[str, Any]) -> set[tuple[str, str, str]]:
    """Service, key, what."""
    return {(each["service"], each["key"], each["what"]) for each in report["findings"]}


def load(system: System, *, seed: int = 1, count: int = 2_000) -> None:
    """Events, all of them settled."""
    before = system.totals().message_events
    sent = Load(system.places["hose_url"], count, seed=seed).start()
    sent.join()
    wait_until(lambda: system.totals().message_events >= before + sent.accepted, "all are stored", system.totals)


def numbers(system: System) -> str:
    """As Prometheus reads them."""
    return urllib3.request("GET", system.places["api_url"] + "/metrics").data.decode()


def told(system: System, name: str) -> float | None:
    """A number of the audit, from the API; None where nobody vouches for one."""
    lines = [line for line in numbers(system).splitlines() if line.startswith(f'{name}{{hours="24"}}')]
    return float(lines[0].split()[1]) if lines else None


@contextmanager
def queue_by_hand(system: System) -> Iterator[sqlite3.Connection]:
    """While the parent stands still."""
    parent = system.pids["run"]
    os.kill(parent, signal.SIGSTOP)
    try:
        with closing(sqlite3.connect(Path(system.places["data_dir"]) / "queue" / "queue.sqlite")) as connection:
            yield connection
    finally:
        os.kill(parent, signal.SIGCONT)


def lose_an_envelope(system: System) -> str:
    """Delete a message from the queue, and answer its key."""
    lost: list[tuple[int, str]] = []

    def arrived() -> bool:
        rows = connection.execute(
            "SELECT id, header FROM queue_payloads JOIN queue_messages USING (id) "
            "WHERE queue_name = 'bulk' AND receive_count = 0"
        )
        lost[:] = [(id_, header) for id_, header in rows if json.loads(header)["event_count"]]
        return bool(lost)

    with queue_by_hand(system) as connection:
        Load(system.places["hose_url"], 200, seed=7).start().join()
        wait_until(arrived, "an envelope lies in the lane")
        id_, header = lost[0]
        for table in ("queue_payloads", "queue_messages"):
            connection.execute(f"DELETE FROM {table} WHERE id = ?", (id_,))
        connection.commit()
    said = json.loads(header)
    return f"{said['hose_id']}-{said['lane']}-{said['seq']}"


def test_the_audit_before_during_and_after(system: System) -> None:
    """Nothing, then late ones and nothing missing, then all of it in every service; by command, API and number."""
    code, before = audit(system)
    assert (code, before["findings"], before["not_audited"]) == (0, [], [])
    sent = Load(system.places["hose_url"], 10_000).start()
    sent.begun.wait(30)
    code, during = audit(system)
    assert (code, during["missing_envelopes"], during["doubled_events"]) == (0, 0, 0)
    sent.join()
    wait_until(lambda: system.totals().message_events >= 10_000, "all are stored", system.totals)

    def all_done() -> bool:
        report = system.api("GET", "/api/v1/audit?since=1h")["results"]
        accounts = report["services"]
        assert (report["missing_envelopes"], report["doubled_events"], report["findings"]) == (0, 0, [])
        assert accounts.keys() == SERVICES
        [hose] = report["hoses"]
        cut = sum(lane["last"] for lane in hose["lanes"])
        return hose["accepted"] == 10_000 and all(each["done"] == cut for each in accounts.values())

    wait_until(all_done, "everything is done", lambda: system.api("GET", "/api/v1/audit"))
    wait_until(lambda: told(system, "omni_audit_missing_envelopes") == 0.0, "the check says 0", lambda: numbers(system))
    assert told(system, "omni_audit_doubled_events") == 0.0


def test_three_wounds_are_found_and_named(system: System) -> None:
    """A message deleted from the queue, a row deleted, a row doubled."""
    load(system)
    lost = lose_an_envelope(system)
    load(system, seed=3)
    keys = [
        key
        for (key,) in system.rows(
            "SELECT marker_key FROM message_events WHERE row_count > 1 ORDER BY marker_key LIMIT 2"
        )
    ]
    _, healthy = audit(system)
    assert (healthy["missing_envelopes"], healthy["services"]["metrics"]["late"] > 0) == (0, True)  # young: not yet

    where = "marker_key = '' AND envelope_key = '{}' AND line_number = 1"
    system.rows(f"INSERT INTO message_events SELECT * FROM message_events WHERE {where.format(keys[0])}")
    system.rows(f"ALTER TABLE message_events DELETE WHERE {where.format(keys[1])} SETTINGS mutations_sync = 2")

    wait_until(
        lambda: told(system, "omni_audit_doubled_events") == 1.0, "the doubled row rings", lambda: numbers(system)
    )
    wait_until(lambda: told(system, "omni_audit_missing_envelopes") == 1.0, "the lost one too", lambda: numbers(system))

    def everything_came() -> bool:
        code, report = audit(system, "--late-seconds", "0")
        assert code == 1
        return found(report) == {
            *((service, lost, "missing") for service in SERVICES),
            ("message_events", keys[0], "rows doubled"),
            ("message_events", keys[1], "rows missing"),
        }

    wait_until(everything_came, "all three are named", lambda: audit(system, "--late-seconds", "0"))
    command = [sys.executable, "-m", "omni_etl", "audit", "--late-seconds", "0", "--data", system.places["data_dir"]]
    said = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60).stdout
    assert f"metrics {lost}: missing." in said
    assert "1 events doubled" in " ".join(said.split())
