"""demo.sqs_queue: queues of one run, never at AWS by accident. The whole run is in tests/e2e/test_path.py."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.backends.sqs.strict_proxy import StrictProxy

from omni_etl import settings
from omni_etl.backends.sqs import SqsAccess, SqsClient
from omni_etl.clock import SystemClock
from omni_etl.demo.sqs_queue import SqsOfTheDemo


@pytest.fixture
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the demo changes there is taken back."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "mine")


@pytest.fixture
async def proxy() -> AsyncIterator[StrictProxy]:
    """Somebody's server."""
    subject = StrictProxy(SystemClock())
    await subject.start()
    yield subject
    await subject.stop()


async def names(proxy: StrictProxy) -> set[str]:
    """The queues of a demo that are there."""
    client = SqsClient(SqsAccess(proxy.url, "us-east-1"), SystemClock())
    await client.open()
    found = await client.call("list_queues", QueueNamePrefix="omni-demo-")
    await client.close()
    return {url.rpartition("/")[2] for url in found.get("QueueUrls", [])}


@pytest.mark.usefixtures("_own_environment")
def test_without_an_endpoint_it_brings_its_own(tmp_path: Path) -> None:
    """Watched, on loopback, and signed with nobody's keys, so that nobody is billed for a demo."""
    sqs = SqsOfTheDemo(settings.load(data_dir=tmp_path))
    role = sqs.given.role
    assert role is not None
    assert role.name == "queue"
    assert "moto.server" in role.arguments
    assert sqs.given.named["queue_url"] == "sqs://"
    assert str(sqs.given.named["sqs_endpoint_url"]).startswith("http://127.0.0.1:")
    assert {name: value for name, value in os.environ.items() if name.startswith("AWS_")} == {
        "AWS_ACCESS_KEY_ID": "demo",
        "AWS_SECRET_ACCESS_KEY": "demo",
    }


async def test_at_somebodys_endpoint_it_leaves_nothing_behind(tmp_path: Path, proxy: StrictProxy) -> None:
    """Names of one run, made and deleted; keys are those of whoever runs it."""
    mine = settings.load(data_dir=tmp_path, sqs_endpoint_url=proxy.url, sqs_region="us-east-1")
    before = dict(os.environ)
    first, second = SqsOfTheDemo(mine), SqsOfTheDemo(mine)
    assert first.given.role is None
    await first.given.prepare()
    await second.given.prepare()
    prefixes = {str(each.given.named["sqs_queue_prefix"]) for each in (first, second)}
    found = await names(proxy)
    assert len(found) == 22
    assert {name[: len("omni-demo-12345678-")] for name in found} == prefixes
    await first.delete()
    await second.delete()
    assert await names(proxy) == set()
    assert dict(os.environ) == before
