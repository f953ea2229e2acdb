"""The API on its real database, and a store where a test names one, over real HTTP: what its tests share."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import uvicorn
from fastapi import FastAPI
from tests.secret_boxes import BOX
from yarl import URL

from omni_etl.api import ApiParts, api_app
from omni_etl.api.ingest import Intake
from omni_etl.api.rate import Rate
from omni_etl.audit import LATE_SECONDS, Report
from omni_etl.backends.clickhouse import ClickHouseStore
from omni_etl.backends.clickhouse_events import ClickHouseEvents
from omni_etl.backends.clickhouse_reports import ClickHouseReports
from omni_etl.backends.database import (
    DatabaseDeliveries,
    DatabaseKeys,
    DatabaseSuppressionList,
    DatabaseWebhooks,
    open_database,
)
from omni_etl.backends.database.replays import DatabaseReplays
from omni_etl.backends.http import AiohttpPoster
from omni_etl.clock import ManualClock
from omni_etl.errors import UnavailableError
from omni_etl.services.webhooks import Guard, parse_networks

POST_SECONDS_MAX = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: Any  # parsed where it is JSON
    headers: Mapping[str, str]

    @property
    def error(self) -> str:
        """The one message, in the one shape of errors."""
        (error,) = self.body["errors"]
        message: str = error["message"]
        return message


@dataclass(slots=True)
class Api:
    """A running API, its parts, and a client with a key."""

    directory: Path
    parts: ApiParts
    clock: ManualClock
    session: aiohttp.ClientSession
    url: str
    key: str = ""
    app: FastAPI | None = None

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        text: str | None = None,
    ) -> Answer:
        """One request, its path sent exactly as it stands here; with our key unless headers say otherwise."""
        sent = {"Authorization": self.key, **(headers or {})}
        arguments: dict[str, Any] = {"json": body} if text is None else {"data": text}
        async with self.session.request(
            method, URL(self.url + path, encoded=True), headers=sent, **arguments
        ) as answer:
            is_json = answer.content_type == "application/json"
            return Answer(answer.status, await answer.json() if is_json else await answer.text(), answer.headers)


@asynccontextmanager
async def running(
    directory: Path,
    *,
    status: Any = None,
    hose_url: str = "http://127.0.0.1:1",
    rate: Rate | None = None,
    store_url: str = "",
    audits: Any = None,
) -> AsyncIterator[Api]:
    """An API on this directory; it has no key yet."""
    clock = ManualClock()
    control = open_database(f"sqlite:///{directory}", "control", clock)
    outbox = open_database(f"sqlite:///{directory}", "outbox", clock)
    parts = ApiParts(
        keys=DatabaseKeys(control, clock),
        webhooks=DatabaseWebhooks(control, clock, BOX),
        deliveries=DatabaseDeliveries(outbox, clock),
        replays=DatabaseReplays(outbox, clock),
        poster=AiohttpPoster(
            refusal=Guard(parse_networks("127.0.0.1/32")).refusal,
            timeout_seconds=POST_SECONDS_MAX,
            connections_max=8,
            clock=clock,
        ),
        suppression_list=DatabaseSuppressionList(control, clock),
        reports=ClickHouseReports(ClickHouseStore(store_url, timeout_seconds=30) if store_url else None),
        event_search=ClickHouseEvents(ClickHouseStore(store_url, timeout_seconds=30) if store_url else None),
        intake=Intake(
            AiohttpPoster(refusal=lambda *_: None, timeout_seconds=POST_SECONDS_MAX, connections_max=8, clock=clock),
            hose_url,
        ),
        rate=rate or Rate(per_second=0, burst=1, clock=clock),
        status=status or _status,
        audits=audits or NoAudits(),
        clock=clock,
        stop=asyncio.Event(),
    )
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(
        socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
    )  # asyncio does not for a socket that is given: 40 ms an answer
    app = api_app(parts)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on"))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started:
        assert not serving.done()
        await asyncio.sleep(0.001)
    async with aiohttp.ClientSession() as session:
        yield Api(directory, parts, clock, session, f"http://127.0.0.1:{listening.getsockname()[1]}", app=app)
    parts.stop.set()
    server.should_exit = True
    await serving


class NoAudits:
    """Nobody audits."""

    async def audit(self, since_ms: int, *, late_seconds: int = LATE_SECONDS) -> Report:
        """There is nothing to look at."""
        raise UnavailableError(f"no audit since {since_ms}, {late_seconds}")

    async def last(self) -> dict[str, Any] | None:
        """None was made."""
        return None


async def _status() -> dict[str, Any]:
    return {"fleet": {}}
