"""cli.roles, and cli.hose, run, api and store behind it: each role as a process that starts alone."""

import asyncio
import json
import signal
import subprocess
from pathlib import Path

import pytest
import urllib3
from tests.certificates import certified
from tests.cli.conftest import Started

from omni_etl.clock import SystemClock
from omni_etl.embedded.ports import free_ports
from omni_etl.embedded.up import answers

AWAY = {"OMNI_STORE_URL": "http://default:hunter2@127.0.0.1:1/omni", "OMNI_TRACKER_URL": "redis://:hunter2@127.0.0.1:1"}


def get(port: int, path: str) -> urllib3.BaseHTTPResponse:
    """An answer, once it listens."""
    retries = urllib3.Retry(total=400, backoff_factor=0.02, backoff_max=0.05)
    return urllib3.request("GET", f"http://127.0.0.1:{port}{path}", retries=retries, timeout=5)


def lines_until(process: subprocess.Popen[str], name: str) -> list[str]:
    """The names of its log lines, up to this one."""
    assert process.stderr is not None
    names: list[str] = []
    for line in process.stderr:
        names.append(json.loads(line)["event"])
        if names[-1] == name:
            return names
    raise AssertionError(f"{name} was not logged; {names}")


def line_of(process: subprocess.Popen[str], name: str) -> str:
    """Its first log line of this name."""
    assert process.stderr is not None
    return next(line for line in process.stderr if json.loads(line)["event"] == name)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """SIGTERM; exit code and what it said last."""
    process.send_signal(signal.SIGTERM)
    code = process.wait(timeout=15)
    assert process.stderr is not None
    return code, process.stderr.read()


def test_the_hose_starts_alone_and_stops_in_order(started: Started) -> None:
    """No other role runs: what it takes goes into its own spool and queue; at the end it closes its id."""
    [port] = free_ports(1)
    process = started("-m", "omni_etl", "hose", OMNI_HOSE_PORT=str(port))
    assert get(port, "/health").json()["status"] == "ok"
    event = {"type": "open", "timestamp": str(int(SystemClock().now())), "rcpt_to": "a@example.com"}
    answer = urllib3.request("POST", f"http://127.0.0.1:{port}/v1/events", json=event, timeout=5)
    assert answer.json()["accepted"] == 1
    code, said = ended(process)
    assert code == 0
    assert json.loads(said.splitlines()[-1])["event"] == "hose_stopped"


def test_the_api_starts_alone_and_asks_for_a_key(started: Started) -> None:
    """Health is for everybody, the rest for key holders."""
    [port] = free_ports(1)
    process = started("-m", "omni_etl", "api", OMNI_API_PORT=str(port))
    assert get(port, "/health").json() == {"status": "ok"}
    assert get(port, "/api/v1/status").status == 401
    code, said = ended(process)
    assert code == 0
    assert "Traceback" not in said


def test_the_api_speaks_tls(started: Started, tmp_path: Path) -> None:
    """And nothing else then; the certificate is what its option names, whatever the setting says."""
    [port] = free_ports(1)
    made = certified(tmp_path / "tls")
    arguments = ("-m", "omni_etl", "api", "--tls-cert", str(made.cert), "--tls-key", str(made.key))
    process = started(*arguments, OMNI_API_PORT=str(port), OMNI_API_TLS_CERT="nowhere")
    assert json.loads(line_of(process, "api_started"))["tls"] is True
    retries = urllib3.Retry(total=400, backoff_factor=0.02, backoff_max=0.05)
    with urllib3.PoolManager(ca_certs=str(made.authority), retries=retries, timeout=5) as pool:
        answer = pool.request("GET", f"https://localhost:{port}/health")
        assert (answer.status, answer.json()) == (200, {"status": "ok"})
        assert pool.request("GET", f"https://127.0.0.1:{port}/api/v1/status").status == 401
    assert asyncio.run(answers(f"https://127.0.0.1:{port}/health"))  # as `omni up` asks, which knows no authority
    with pytest.raises(urllib3.exceptions.HTTPError):
        urllib3.request("GET", f"http://127.0.0.1:{port}/health", retries=False, timeout=5)
    assert ended(process)[0] == 0


def test_a_role_whose_port_is_taken_is_refused(started: Started) -> None:
    """Exit code 2, a sentence, no trace: whoever starts it must not try again."""
    [port] = free_ports(1)
    first = started("-m", "omni_etl", "api", OMNI_API_PORT=str(port))
    assert get(port, "/health").status == 200
    second = started("-m", "omni_etl", "api", OMNI_API_PORT=str(port))
    assert second.wait(timeout=15) == 2
    assert second.stderr is not None
    said = second.stderr.read()
    assert "OMNI_API_PORT: found 127.0.0.1" in said
    assert "Traceback" not in said
    assert first.poll() is None


def test_the_parent_stops_while_it_still_waits_for_its_database(started: Started, directory: Path) -> None:
    """Nothing was received, so there is nothing to give back."""
    (directory / "database").write_text("a file where a directory should be")
    process = started("-m", "omni_etl", "run", **AWAY)
    assert lines_until(process, "run_waiting") == ["run_waiting"]
    code, said = ended(process)
    assert code == 0
    assert "Traceback" not in said
    assert "hunter2" not in said


def test_the_parent_works_without_tracker_and_store_and_stops_in_order(started: Started) -> None:
    """It says what is away, starts its children, and at the end says what it gave back."""
    process = started("-m", "omni_etl", "run", OMNI_SERVICES="suppressions", **AWAY)
    names = lines_until(process, "child_started")
    assert {"tracker_away", "run_started"} <= set(names)
    code, said = ended(process)
    assert code == 0
    assert [json.loads(line)["event"] for line in said.splitlines() if "run_sto" in line] == [
        "run_stopping",
        "run_stopped",
    ]
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("role", "environment", "words"),
    [
        ("store", {"OMNI_STORE_URL": ""}, "OMNI_STORE_URL: found no password. Name this host with one"),
        ("run", {**AWAY, "OMNI_SERVICES": "metrics,nobody"}, "OMNI_SERVICES: found 'nobody'"),
        ("api", {"OMNI_API_PORT": "many"}, "OMNI_API_PORT: found 'many'"),
        ("api", {"OMNI_API_TLS_CERT": "nowhere"}, "OMNI_API_TLS_CERT: found nowhere, which cannot be used"),
        ("api", {"OMNI_API_TLS_KEY": "k"}, "OMNI_API_TLS_KEY: found a key without a certificate"),
        ("api", {"OMNI_HOSE_URL": "http://u:hunter2@h"}, "OMNI_HOSE_URL: found an address of another form"),
    ],
)
def test_what_waiting_cannot_heal_is_refused(
    started: Started, role: str, environment: dict[str, str], words: str
) -> None:
    """Exit code 2, the setting, what was found, what to do; no trace, no secret."""
    process = started("-m", "omni_etl", role, **environment)
    assert process.wait(timeout=15) == 2
    assert process.stderr is not None
    said = process.stderr.read()
    assert words in said
    assert "Traceback" not in said
    assert "hunter2" not in said
