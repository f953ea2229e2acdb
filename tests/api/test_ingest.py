"""ingest: events through the API are answered when the hose has them."""

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web
from tests.api.server import Answer, Api, running
from tests.hose.hoses import LIMITS, event
from tests.hose.served import served

INGEST = "/api/v1/ingest/events"
ONE, TWO = event(1), event(2)


async def handed_in(api: Api, body: bytes, asked: str = "", **headers: str) -> Answer:
    """As a client of SparkPost's does."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = {"Authorization": api.key, "Content-Type": "application/x-ndjson", **named}
    async with api.session.post(api.url + INGEST + asked, data=body, headers=sent) as answer:
        return Answer(answer.status, await answer.json(), answer.headers)


@asynccontextmanager
async def before(hose_url: str, directory: Path) -> AsyncIterator[Api]:
    """An API in front of this hose, with a key that may."""
    async with running(directory / "database", hose_url=hose_url) as subject:
        subject.key = await subject.parts.keys.create("producer", grants=["ingest"])
        yield subject


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """In front of a real hose."""
    with served(tmp_path / "hose") as hose:
        async with before(hose.url, tmp_path) as subject:
            yield subject


async def test_events_arrive_at_the_hose(tmp_path: Path) -> None:
    """Compressed as they came; 200 means that they are kept."""
    with served(tmp_path / "hose") as hose:
        async with before(hose.url, tmp_path) as api:
            answer = await handed_in(api, gzip.compress(ONE + b"\n" + TWO), content_encoding="gzip")
    results = answer.body["results"]
    assert (answer.status, results["accepted"], results["rejected"]) == (200, 2, [])
    assert UUID(results["id"])
    assert sorted(hose.queue.lines()) == [ONE, TWO]


async def test_refused_lines_are_named(api: Api) -> None:
    """The others are kept; where none is left, it is a 400."""
    some = await handed_in(api, ONE + b"\n{")
    assert (some.status, some.body["results"]["accepted"]) == (200, 1)
    [rejected] = some.body["results"]["rejected"]
    assert rejected["line"] == 2
    none = await handed_in(api, b"{\n[]")
    assert (none.status, [each["message"][:7] for each in none.body["errors"]]) == (400, ["line 1:", "line 2:"])


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", {}, 400),
        (b"x", {"content_encoding": "gzip"}, 400),
        (b"x", {"content_encoding": "br"}, 415),
    ],
)
async def test_what_is_wrong_with_a_body_is_the_senders(
    api: Api, body: bytes, headers: dict[str, str], status: int
) -> None:
    """In the hose's words."""
    answer = await handed_in(api, body, **headers)
    assert (answer.status, bool(answer.error)) == (status, True)


async def test_a_repetition_adds_nothing_and_hears_the_same(tmp_path: Path) -> None:
    """By its Idempotency-Key, even where the events have no ids; and another key's is another."""
    line = b'{"type":"open","timestamp":"1700000000","rcpt_to":"a@example.com"}'
    with served(tmp_path / "hose") as hose:
        async with before(hose.url, tmp_path) as api:
            first = await handed_in(api, line, idempotency_key="k")
            assert (await handed_in(api, line, idempotency_key="k")).body == first.body
            assert (await handed_in(api, ONE, idempotency_key="k")).status == 422
            api.key = await api.parts.keys.create("another")
            other = await handed_in(api, line, idempotency_key="k")
    assert (other.status, other.body["results"]["id"] != first.body["results"]["id"]) == (200, True)
    assert len(hose.queue.lines()) == 2


async def test_only_whom_it_was_granted(api: Api) -> None:
    """A subaccount's key could speak for others here, so it does not speak at all."""
    for grants, subaccount_id in ((["events/view"], None), (None, 7), (["ingest"], 7)):
        api.key = await api.parts.keys.create("x", grants=grants, subaccount_id=subaccount_id)
        assert (await handed_in(api, ONE)).status == 403, (grants, subaccount_id)


async def test_old_events_take_a_grant_of_their_own(tmp_path: Path) -> None:
    """Whoever may import says so in the address; for everyone else the hose's limit stands."""
    with served(tmp_path / "hose", limits=replace(LIMITS, event_age_seconds_max=86_400)) as hose:
        async with before(hose.url, tmp_path) as api:
            assert (await handed_in(api, ONE)).status == 400
            assert (await handed_in(api, ONE, "?old=true")).status == 403
            api.key = await api.parts.keys.create("importer", grants=["ingest", "ingest/old"])
            assert (await handed_in(api, ONE, "?old=yes")).status == 400
            assert (await handed_in(api, ONE)).status == 400
            assert (await handed_in(api, ONE, "?old=true")).status == 200
    assert hose.queue.lines() == [ONE]


@asynccontextmanager
async def answering(answer: dict[str, Any]) -> AsyncIterator[str]:
    """Where a server answers everything so."""

    async def take(_request: web.Request) -> web.Response:
        return web.Response(**answer)

    app = web.Application()
    app.router.add_post("/v1/events", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.mark.parametrize(
    ("answer", "retry_after"),
    [
        ({"status": 503, "headers": {"Retry-After": "7"}}, "7"),
        ({"status": 500, "text": "secret"}, "2"),
        ({"status": 302, "headers": {"Location": "/elsewhere"}}, "2"),
        ({"status": 204}, "2"),
        ({"status": 404}, "2"),
    ],
)
async def test_anything_but_a_200_is_no_promise(tmp_path: Path, answer: dict[str, Any], retry_after: str) -> None:
    """503, with the hose's own time to come again where it names one, and none of its words."""
    async with answering(answer) as url, before(url, tmp_path) as api:
        heard = await handed_in(api, ONE)
    assert (heard.status, heard.headers["Retry-After"]) == (503, retry_after)
    assert heard.error == "Events are not taken now; send them again."


async def test_a_hose_that_is_away_is_a_503(tmp_path: Path) -> None:
    """Nothing of where it would be."""
    async with before("http://127.0.0.1:1", tmp_path) as api:
        heard = await handed_in(api, ONE)
    assert (heard.status, "127.0.0.1" in str(heard.body)) == (503, False)


async def test_an_answer_too_long_to_read_is_a_promise_all_the_same(tmp_path: Path) -> None:
    """The status says what is kept."""
    async with answering({"text": "[" * 200_000}) as url, before(url, tmp_path) as api:
        heard = await handed_in(api, ONE)
    assert (heard.status, list(heard.body["results"])) == (200, ["id"])
