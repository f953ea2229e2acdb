"""No secret is ever said: in no log line at debug level, no number, no status, no answer, whatever goes wrong."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import urllib3
from tests.e2e.system import Load, System, customer, kill, up, wait_until
from tests.postgresql_server import PostgresqlServer
from tests.store_process import StoreProcess

from omni_etl.event import TYPES

pytestmark = pytest.mark.e2e

MARK = "hidden7f3a"  # in every secret, so that whatever shows it is found
KEY = "aGlkZGVuN2YzYWhpZGRlbjdmM2FoaWRkZW43ZjNhMDE="  # 32 bytes with the mark in them, in base64
LOUD = {"OMNI_LOG_LEVEL": "debug", "OMNI_LOG_FORMAT": "console", "OMNI_SECRETS_KEY": KEY}  # fmt: skip
TROUBLE = re.compile("_away|_waiting|omni:")
COMMANDS = ("hose", "run", "api", "status --json", "settings")
AWAY = {
    "OMNI_DATABASE_URL": f"postgresql://user:{MARK}@127.0.0.1:1/x",
    "OMNI_QUEUE_URL": f"postgresql://user:{MARK}@127.0.0.1:1/x",
    "OMNI_TRACKER_URL": f"redis://user:{MARK}@127.0.0.1:1/0",
    "OMNI_STORE_URL": f"http://user:{MARK}@127.0.0.1:1/x",
    "OMNI_HOSE_URL": f"http://user:{MARK}@127.0.0.1:1",
}
AWAY_AT_AWS = {
    "OMNI_QUEUE_URL": "sqs://",
    "OMNI_SQS_REGION": "eu-west-1",
    "OMNI_SQS_ENDPOINT_URL": f"http://user:{MARK}@127.0.0.1:1",
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": MARK,
    "AWS_SESSION_TOKEN": MARK,
}
MALFORMED = {
    "OMNI_DATABASE_URL": f"postgresql://user:{MARK}@host:no-port/x",
    "OMNI_QUEUE_URL": f"oracle://user:{MARK}@host/x",
    "OMNI_TRACKER_URL": f"redis://user:{MARK}@[::1/0",
    "OMNI_STORE_URL": f"http://user:{MARK}@host:99999999/x",
    "OMNI_SECRETS_KEY": f"{MARK} is no base64",
    "OMNI_HOSE_URL": f"ftp://user:{MARK}@[host",
}


def said(*commands: str, directory: Path, environment: Mapping[str, str]) -> list[str]:
    """All that each says, all at the same time, until it ends, or is told to because it has said what troubles it."""
    files = [directory / f"{number}.out" for number in range(len(commands))]
    started = [start(*each, directory, environment) for each in zip(commands, files, strict=True)]

    def all_troubled() -> bool:
        texts = [path.read_text() for path in files]
        return all(each.poll() is not None or TROUBLE.search(text) for each, text in zip(started, texts, strict=True))

    try:
        wait_until(all_troubled, "each has said what troubles it", lambda: [path.read_text() for path in files])
    finally:
        for each in started:
            each.send_signal(signal.SIGINT)
        for each in started:
            each.wait(timeout=60)
    return [path.read_text() for path in files]


def start(command: str, told: Path, directory: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """One command, which writes all that it says into a file."""
    variables = {"OMNI_HOSE_PORT": "0", "OMNI_API_PORT": "0", "OMNI_HEARTBEAT_SECONDS": "0.2", **environment}
    with told.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "omni_etl", *command.split()],
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env={**os.environ, **LOUD, "OMNI_DATA_DIR": str(directory / "data"), **variables},
        )


def shows_secret(text: str, *secrets: str) -> list[str]:
    """The lines that show one."""
    return [line[:300] for line in text.splitlines() if any(each in line for each in (MARK, KEY, *secrets))]


@pytest.mark.parametrize("environment", [AWAY, {**AWAY, **AWAY_AT_AWS}], ids=["postgresql", "sqs"])
def test_engines_that_are_away(environment: dict[str, str], tmp_path: Path) -> None:
    """Each role names the engine and where it is, without the password."""
    texts = said(*COMMANDS, directory=tmp_path, environment=environment)
    assert all(map(TROUBLE.search, texts[:3]))
    assert shows_secret("\n".join(texts), "hose_queue_away")  # a secret that was said would be found
    assert shows_secret("\n".join(texts)) == []


@pytest.mark.parametrize("name", MALFORMED)
def test_a_setting_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    """Named, and not shown."""
    role = "api" if name in {"OMNI_SECRETS_KEY", "OMNI_HOSE_URL"} else "run"
    [text] = said(role, directory=tmp_path, environment={name: MALFORMED[name]})
    assert shows_secret(text) == []


def test_wrong_credentials(tmp_path: Path, store_host: StoreProcess, postgresql: PostgresqlServer) -> None:
    """What the engines answer to them is passed on, the credentials are not."""
    store = urllib3.util.parse_url(store_host.url("x"))
    database = urllib3.util.parse_url(postgresql.empty_database("secrets"))
    url = f"postgresql://nobody:{MARK}@{database.host}:{database.port}/secrets"
    environment = {
        "OMNI_STORE_URL": f"http://default:{MARK}@{store.host}:{store.port}/x",
        "OMNI_TRACKER_URL": f"redis://user:{MARK}@{store.host}:{store.port}/0",
        "OMNI_DATABASE_URL": url,
        "OMNI_QUEUE_URL": url,
    }
    texts = said(*COMMANDS, directory=tmp_path, environment=environment)
    assert shows_secret("\n".join(texts)) == []


def test_a_running_system(tmp_path: Path) -> None:
    """Webhooks with every kind of secret, a customer that goes down, wrong keys, broken bodies, and the store killed.

    And what is kept meanwhile is for nobody else's eyes.
    """
    with customer() as receiver, up(tmp_path, queue="sqlite", **LOUD) as system:
        make_webhooks(system, receiver.target)
        Load(system.places["hose_url"], 200).start().join()
        receiver.process.kill()
        Load(system.places["hose_url"], 200, seed=2).start().join()
        provoke(system)
        wait_until(lambda: "webhook_attempt_failed" in logs(tmp_path), "the customer is missed")
        kill(system.pids["store"])
        answers = [provoke(system), json.dumps(system.status())]
        urls = (system.places["api_url"], system.places["hose_url"])
        answers += [urllib3.request("GET", f"{url}/metrics").data.decode() for url in urls]
        store_password = str(urllib3.util.parse_url(system.places["store_url"]).auth).partition(":")[2]
        key = system.places["api_key"]
        kept = list(tmp_path.rglob("*"))
        assert [path for path in kept if not path.is_symlink() and path.stat().st_mode & 0o077] == []
    told = logs(tmp_path) + "\n".join(answers)
    assert "role_died" in told or "child_started" in told
    assert shows_secret(told, store_password, key) == []


def make_webhooks(system: System, target: str) -> None:
    """Basic authorization, headers of their own, a token in the URL."""
    secrets: list[dict[str, Any]] = [
        {"auth_type": "basic", "auth_credentials": {"username": "user", "password": MARK}},
        {"custom_headers": {"X-Api-Token": MARK}},
        {"auth_token": MARK},
    ]
    for number, more in enumerate(secrets):
        url = f"{target}?token={MARK}"
        system.api("POST", "/api/v1/webhooks", name=f"w{number}", target=url, events=sorted(TYPES), **more)


def provoke(system: System) -> str:
    """Requests with secrets in all the wrong places; what is answered to them."""
    url, key = system.places["api_url"], system.places["api_key"]
    tried: list[tuple[str, str, str, Any]] = [
        ("GET", "/api/v1/webhooks", f"omni_{MARK}", None),
        ("GET", "/api/v1/webhooks", f"Basic {MARK}", None),
        ("GET", "/api/v1/events/message?per_page=x", key, None),
        ("GET", "/api/v1/metrics/deliverability?metrics=count_sent", key, None),
        ("POST", "/api/v1/webhooks", key, b'{"name": 7, "auth_token": "x" '),
        ("PUT", "/api/v1/suppression-list", key, b"[" * 100_000),
        ("POST", "/api/v1/ingest/events", key, b"\xff"),
    ]
    found = []
    for method, path, authorization, body in tried:
        answer = urllib3.request(
            method, url + path, headers={"Authorization": authorization}, body=body, retries=False, timeout=30
        )
        found.append(answer.data.decode())
    return "\n".join(found)


def logs(directory: Path) -> str:
    """What every role wrote."""
    return "\n".join(each.read_text(errors="replace") for each in (directory / "logs").iterdir())
