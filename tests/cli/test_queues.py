"""cli.queues: made, shown and deleted from the command line, against moto as a process."""

import json
import secrets
import subprocess
from collections.abc import Iterator

import pytest
import urllib3
from tests.cli.conftest import Omni

from omni_etl.embedded.ports import free_ports
from omni_etl.embedded.sqs_server import server_command, server_url
from omni_etl.embedded.starter import watched
from omni_etl.errors import SettingsError
from omni_etl.queue import queue_names

SERVICES = "metrics,webhooks"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A moto server."""
    [port] = free_ports(1)
    command = watched(server_command(port))
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    retries = urllib3.Retry(total=200, backoff_factor=0.02, backoff_max=0.2)
    urllib3.request("GET", f"{server_url(port)}/moto-api/data.json", retries=retries)
    yield server_url(port)
    process.terminate()
    process.wait()
    assert process.stdin is not None
    process.stdin.close()


@pytest.fixture(autouse=True)
def _settings(server: str, directory: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQS there, and names of this test."""
    monkeypatch.setenv("OMNI_QUEUE_URL", "sqs://")
    monkeypatch.setenv("OMNI_SQS_ENDPOINT_URL", server)
    monkeypatch.setenv("OMNI_SQS_REGION", "us-east-1")
    monkeypatch.setenv("OMNI_SQS_QUEUE_PREFIX", f"t{secrets.token_hex(4)}-")
    monkeypatch.setenv("OMNI_SERVICES", SERVICES)


def test_they_are_made_shown_and_deleted(omni: Omni) -> None:
    """Each may be repeated; describing what is not there is exit code 1."""
    names = queue_names(SERVICES.split(","))
    assert omni("queues", "describe").exit_code == 1
    for _ in range(2):
        created = omni("queues", "create", "--json")
        assert created.exit_code == 0
        assert list(json.loads(created.stdout)["queues"]) == names
    assert json.loads(omni("queues", "describe", "--json").stdout) == json.loads(created.stdout)
    assert "Say --yes" in omni("queues", "delete").stderr
    assert omni("queues", "describe").exit_code == 0
    assert omni("queues", "delete", "--yes").stderr.startswith("Deleted: express, bulk, siding-metrics")
    assert omni("queues", "delete", "--yes").stderr.startswith("Deleted: nothing")
    assert set(json.loads(omni("queues", "describe", "--json").stdout)["queues"].values()) == {None}


def test_a_person_sees_a_table_and_policies_to_copy(omni: Omni) -> None:
    """Encryption, how long each keeps, the net; each policy is JSON as IAM takes it."""
    shown = omni("queues", "create").stdout
    assert "SSE-SQS" in shown
    assert "604800" in shown
    assert "1000 receives → t" in shown
    for role in ("hose", "supervisor", "operator"):
        _, _, after = shown.partition(f"IAM policy for {role}:\n")
        policy, _ = json.JSONDecoder().raw_decode(after)
        assert policy["Statement"]


def test_another_kind_of_queue_has_nothing_to_make(omni: Omni, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said in words, before anything is asked."""
    monkeypatch.delenv("OMNI_QUEUE_URL")
    with pytest.raises(SettingsError, match=r"^OMNI_QUEUE_URL: found nothing\. Only SQS queues need making"):
        omni("queues", "create")
