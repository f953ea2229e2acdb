"""django-anymail, as it comes from PyPI: its SparkPost tracking view takes the batches that we deliver.

Django and the view run whole, behind a WSGI server on loopback; its URL has the trailing slash that Django insists on.
"""

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import orjson
import pytest
from django.conf import settings as django_settings
from tests.builders import envelope, line
from tests.secret_boxes import BOX

from omni_etl import event
from omni_etl.api.problems import Problem
from omni_etl.api.webhook_members import NewWebhook, made
from omni_etl.api.webhook_probe import probe
from omni_etl.backends.clickhouse_events import ClickHouseEvents
from omni_etl.backends.database import DatabaseOutbox, DatabaseWebhooks, open_database
from omni_etl.backends.database.replays import DatabaseReplays
from omni_etl.backends.http import AiohttpPoster
from omni_etl.clock import ManualClock
from omni_etl.demo import life
from omni_etl.event import TYPES
from omni_etl.outbox import OutboxCounts
from omni_etl.service import Deadline
from omni_etl.services.webhooks import DeliveryLimits, WebhooksParts, WebhooksService
from omni_etl.webhook import Webhook

NOW = 1_764_000_000.0
SECRET = "ann:pass:word"
NORMALIZED = {
    "injection": "queued", "delivery": "delivered", "delay": "deferred", "bounce": "bounced", "out_of_band": "bounced",
    "spam_complaint": "complained", "policy_rejection": "rejected", "generation_rejection": "rejected",
    "generation_failure": "failed", "open": "opened", "amp_open": "opened", "click": "clicked", "amp_click": "clicked",
    "list_unsubscribe": "unsubscribed", "link_unsubscribe": "unsubscribed",
}  # fmt: skip
CLASSES = {"60": "autoresponded", "100": "autoresponded", "80": "subscribed", "90": "unsubscribed"}


class Server(ThreadingMixIn, WSGIServer):
    """As many requests at once as come."""

    daemon_threads = True


class Quiet(WSGIRequestHandler):
    """Says nothing on stderr."""

    def log_message(self, *_arguments: Any) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """A Django site with Anymail's URLs."""
    django_settings.configure(
        ALLOWED_HOSTS=["127.0.0.1"],
        ANYMAIL={"WEBHOOK_SECRET": SECRET},
        INSTALLED_APPS=["anymail"],
        LOGGING_CONFIG=None,
        MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
        ROOT_URLCONF="anymail.urls",
        SECRET_KEY="not a secret",
        USE_TZ=True,
    )
    from django.core.wsgi import get_wsgi_application  # noqa: PLC0415 Django wants its settings first

    server = make_server("127.0.0.1", 0, get_wsgi_application(), server_class=Server, handler_class=Quiet)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    serving.start()
    yield f"http://127.0.0.1:{server.server_port}/sparkpost/tracking/"
    server.shutdown()
    serving.join()
    server.server_close()


@pytest.fixture
def told(site: str) -> Iterator[list[Any]]:
    """What the site's own code is told of, through Anymail's signal."""
    from anymail.signals import tracking  # noqa: PLC0415 Django wants its settings first

    events: list[Any] = []

    def hear(event: Any, **_more: Any) -> None:
        events.append(event)

    tracking.connect(hear, weak=False)
    yield events
    tracking.disconnect(hear)


@asynccontextmanager
async def posting() -> AsyncIterator[AiohttpPoster]:
    """The poster of API and deliverer."""
    poster = AiohttpPoster(refusal=lambda *_: None, timeout_seconds=30.0, connections_max=8, clock=ManualClock(NOW))
    await poster.open()
    yield poster
    await poster.close()


def webhook(site: str, username: str = "ann", password: str = "pass:word") -> Webhook:
    """As the API makes it."""
    credentials = {"username": username, "password": password}
    body = {"name": "shop", "target": site, "events": sorted(TYPES), "auth_type": "basic"}
    return made(NewWebhook.model_validate({**body, "auth_credentials": credentials}), None)


async def deliver(site: str, directory: Path, lines: list[bytes]) -> OutboxCounts:
    """Through the service, until every event was delivered; how much lies where then."""
    clock = ManualClock(NOW)
    webhooks = DatabaseWebhooks(open_database(f"sqlite:///{directory}", "control", clock), clock, BOX)
    database = open_database(f"sqlite:///{directory}", "outbox", clock)
    outbox, replays = DatabaseOutbox(database, clock), DatabaseReplays(database, clock)
    async with posting() as poster:
        service = WebhooksService(
            WebhooksParts(webhooks, outbox, replays, ClickHouseEvents(None), poster),
            clock=clock,
            rng=random.Random(1),
            limits=DeliveryLimits(8, 8, attempt_seconds_max=30.0, close_seconds=0),
        )
        await service.open()
        await webhooks.put(webhook(site))
        running = asyncio.create_task(service.run())
        await service.apply(envelope(lines), Deadline(clock, clock.monotonic() + 60))
        while (counts := await outbox.counts()).delivered_events < len(lines):
            clock.advance(0.002)  # to the next look, never to a second attempt
            await asyncio.sleep(0.001)
        running.cancel()
        await asyncio.wait([running])
        await service.close()
    return counts


def expected(said: dict[str, Any]) -> dict[str, Any]:
    """What Anymail's pages promise of such an event."""
    return {
        "event_type": CLASSES.get(said.get("bounce_class", ""), NORMALIZED.get(said["type"], "unknown")),
        "event_id": said.get("event_id"),
        "message_id": said.get("transmission_id"),
        "recipient": said.get("raw_rcpt_to"),
        "timestamp": datetime.fromtimestamp(int(said["timestamp"]), UTC),
        "tags": [said["campaign_id"]] if "campaign_id" in said else [],
        "metadata": said.get("rcpt_meta") or {},
        "mta_response": said.get("raw_reason"),
        "click_url": said.get("target_link_url"),
        "user_agent": said.get("user_agent"),
    }


def by_id(told: list[Any]) -> dict[str, Any]:
    """Events that have an id; each came once."""
    named = [each for each in told if each.event_id is not None]
    found = {each.event_id: each for each in named}
    assert len(found) == len(named)
    return found


def check_all(told: list[Any], lines: list[bytes]) -> None:
    """Every event came, as what it is."""
    assert len(told) == len(lines)
    heard = by_id(told)
    for said in map(orjson.loads, lines):
        if "event_id" in said:  # of the others there is no telling which is which
            one = heard.pop(said["event_id"])
            assert {name: getattr(one, name) for name in expected(said)} == expected(said)
            assert one.esp_event == {"msys": {event.GROUP_OF[said["type"]]: said}}
    assert heard == {}


async def test_it_takes_what_we_deliver(site: str, told: list[Any], tmp_path: Path) -> None:
    """Every event of thousands, once, as what it is; no batch needs a second attempt."""
    lines = list(life.events(3_000, seed=7, now=NOW))
    counts = await deliver(site, tmp_path, lines)
    assert counts == OutboxCounts(0, 0, counts.delivered_batches, 3_000, 0, 0)
    check_all(told, lines)


async def test_it_takes_every_type_and_every_bounce_class(site: str, told: list[Any], tmp_path: Path) -> None:
    """Also where the producer wrote classes and times as numbers: they are texts when they leave us."""
    classes = [0, 1, 10, 20, 21, 22, 23, 24, 25, 30, 40, 50, 51, 52, 53, 54, 60, 70, 80, 90, 100]
    lines = [line(each, raw_rcpt_to="Ann@Example.com", rcpt_meta={"a": [1, {"b": "ü"}]}) for each in sorted(TYPES)]
    lines += [line("bounce", timestamp=1_764_000_000 + each, bounce_class=each) for each in classes]
    counts = await deliver(site, tmp_path, lines)
    assert (counts.waiting_batches, counts.given_up_batches, counts.delivered_events) == (0, 0, len(lines))
    check_all(told, lines)
    reasons = {each.timestamp.timestamp() - 1_764_000_000: each.reject_reason for each in told if each.reject_reason}
    assert [reasons[each] for each in (10, 25, 51, 90)] == ["invalid", "blocked", "spam", "unsubscribed"]


async def test_its_url_passes_the_target_test(site: str, told: list[Any]) -> None:
    """With the right secret and the slash at the end; nothing is told, because the probe holds no event."""
    async with posting() as poster:
        assert (await probe(webhook(site), poster=poster, clock=ManualClock(NOW)))["status"] == 200
        for wrong, status in [(webhook(site, password="pass"), 400), (webhook(site.rstrip("/")), 301)]:
            with pytest.raises(Problem) as caught:
                await probe(wrong, poster=poster, clock=ManualClock(NOW))
            assert caught.value.errors[0]["response"]["status"] == status
    assert told == []
