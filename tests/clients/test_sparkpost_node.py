"""npm's `sparkpost`, as it comes: its whole surface for what we serve. `make clients` installs it; node must be there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.clients.filled import Filled

NODE = Path(__file__).with_name("node")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.clients,
    pytest.mark.timeout(240),
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
]


@pytest.fixture
def seen(system: Filled) -> dict[str, Any]:
    """Everything the client was told."""
    return _surface(system.host, system.key, system.receiver.target, str(system.certified.authority))


@cache
def _surface(host: str, key: str, target: str, authority: str) -> dict[str, Any]:
    assert (NODE / "node_modules" / "sparkpost").is_dir(), "`make clients` installs it"
    ran = subprocess.run(
        ["node", str(NODE / "surface.js"), f"https://{host}", key, target],
        env={**os.environ, "NODE_EXTRA_CA_CERTS": authority, "NODE_NO_WARNINGS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def test_suppression_list(seen: dict[str, Any]) -> None:
    """Upserts, reads, a walk by the links, deletes, and errors that name what was wrong."""
    assert seen["upsertedOne"] == {"results": {"message": "Suppression List successfully updated"}}
    assert seen["upsertedMany"] == seen["upsertedOne"]
    [entry] = seen["entry"]["results"]
    assert (entry["recipient"], entry["type"], entry["description"]) == (
        "node.one@example.com",
        "transactional",
        "from node",
    )
    assert {each["type"] for each in seen["entryWithPlus"]["results"]} == {"transactional", "non_transactional"}
    first, then = seen["listed"]["results"], seen["listedNext"]["results"]
    assert len(first) == 2
    assert not {_identity(each) for each in first} & {_identity(each) for each in then}
    assert seen["deleted"] is None
    assert seen["deletedTwice"]["statusCode"] == 404
    assert seen["notFound"]["errors"] == [{"message": "Recipient could not be found"}]
    assert seen["malformed"]["statusCode"] == 400


def _identity(entry: dict[str, Any]) -> tuple[str, str]:
    return entry["recipient"], entry["type"]


def test_events(seen: dict[str, Any]) -> None:
    """A search, its next page by its link, and the search of old."""
    first, then = seen["found"]["results"], seen["foundNext"]["results"]
    assert len(first) == len(then) == 10
    assert {each["type"] for each in first + then} <= {"bounce", "delivery"}
    assert not {each["event_id"] for each in first} & {each["event_id"] for each in then}
    assert seen["found"]["total_count"] == seen["legacy"]["total_count"] > 20
    assert [each["event_id"] for each in seen["legacy"]["results"]] == [each["event_id"] for each in then]
    assert seen["badSearch"]["statusCode"] == 400


def test_metrics(seen: dict[str, Any], system: Filled) -> None:
    """Reached by `client.get`, as this client's users do it."""
    [summary] = seen["summary"]["results"]
    assert summary["count_injected"] == system.load.expected.types["injection"]
    assert summary["count_delivered"] == system.load.expected.types["delivery"]
    counts = [each["count_injected"] for each in seen["byDomain"]["results"]]
    assert len(counts) == 3
    assert counts == sorted(counts, reverse=True)
    assert {each["param"] for each in seen["noFrom"]["errors"]} == {"from"}


def test_webhooks(seen: dict[str, Any], system: Filled) -> None:
    """Made, read, changed, validated, removed; documentation and samples."""
    assert seen["webhook"]["results"]["target"] == system.receiver.target
    assert seen["renamed"]["results"]["name"] == "renamed"
    assert seen["renamed"]["results"]["active"] is False
    assert {each["name"] for each in seen["webhooks"]["results"]} >= {"all", "renamed"}
    assert seen["validated"]["results"]["response"]["status"] == 200
    assert seen["batchStatus"]["results"] == []
    assert "bounce" in seen["documentation"]["results"]["message_event"]["events"]
    assert [next(iter(each["msys"].values()))["type"] for each in seen["samples"]["results"]] == ["bounce", "open"]
    assert seen["webhookDeleted"] is None
    assert seen["webhookGone"]["statusCode"] == 404


def test_a_wrong_key_is_told(seen: dict[str, Any]) -> None:
    """With status 401."""
    assert seen["unauthorized"]["statusCode"] == 401
