"""suppression_changes: a reader hears of every change, in order, and can come back where it was."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.api.server import Api, running

from omni_etl.api import suppression_changes
from omni_etl.errors import UnavailableError
from omni_etl.suppression_list import Changes, Saying

CHANGES = "/api/v1/suppression-list/changes"
SECONDS_MAX = 10.0


def saying(number: int, *, at_ms: int = 1_000, holds: bool = True, **said: Any) -> Saying:
    """Of a recipient of that number."""
    members = {"subaccount_id": 0, "source": "Bounce Rule", "description": "550", "list_id": ""}
    return Saying(
        recipient=f"{number}@x.example",
        type="transactional",
        suppressed=holds,
        said_at_ms=at_ms,
        said_id="id",
        **{**members, **said},
    )


class Reader:
    """One that reads a stream."""

    def __init__(self, api: Api, answer: aiohttp.ClientResponse) -> None:
        self._api = api
        self.answer = answer
        self.text = ""

    async def until(self, is_there: Callable[[str], bool]) -> str:
        """Read on, while time passes, until this is so of all that was read."""
        async with asyncio.timeout(SECONDS_MAX):
            reading = None
            while not is_there(self.text):
                reading = reading or asyncio.ensure_future(self.answer.content.readany())
                await asyncio.wait({reading}, timeout=0.005)
                if reading.done():
                    self.text += reading.result().decode()
                    reading = None
                else:
                    self._api.clock.advance(0.25)
        return self.text

    async def events(self, count: int) -> list[tuple[int, dict[str, Any]]]:
        """Ids and members of the first so many."""
        text = await self.until(lambda text: text.count("\ndata: ") >= count and text.endswith("\n\n"))
        blocks = [block.split("\ndata: ") for block in text.split("\n\n") if "\ndata: " in block]
        return [(int(head.removeprefix("id: ")), json.loads(members)) for head, members in blocks]


@asynccontextmanager
async def reading(api: Api, query: str = "", **headers: str) -> AsyncIterator[Reader]:
    """A stream."""
    sent = {"Authorization": api.key, **headers}
    async with api.session.get(api.url + CHANGES + query, headers=sent) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream"), await answer.text()
        yield Reader(api, answer)


async def test_a_reader_has_a_copy_and_then_hears(api: Api) -> None:
    """All that stands, in order, then each change with the saying that won."""
    kept = api.parts.suppression_list
    await kept.say([saying(1), saying(2, subaccount_id=7, list_id="news")])
    async with reading(api) as reader:
        (first, one), (second, two) = await reader.events(2)
        assert (first, second) == (1, 2)
        assert one == {
            "recipient": "1@x.example",
            "type": "transactional",
            "suppressed": True,
            "source": "Bounce Rule",
            "description": "550",
            "created": "1970-01-01T00:00:01+00:00",
            "updated": "1970-01-01T00:00:01+00:00",
            "said_id": "id",
        }
        assert (two["subaccount_id"], two["list_id"]) == ("7", "news")
        await kept.say([saying(1, at_ms=500), saying(3)])
        await kept.say([saying(1, at_ms=2_000, holds=False)])
        heard = await reader.events(4)
        assert [(number, each["recipient"], each["suppressed"]) for number, each in heard[2:]] == [
            (4, "3@x.example", True),
            (5, "1@x.example", False),
        ]


async def test_a_change_is_heard_within_a_second(api: Api) -> None:
    """Of the clock: two looks pass at most, and none is needed by each reader."""
    async with reading(api) as reader:
        await reader.until(lambda text: "retry: 1000" in text)
        before = api.clock.now()
        await api.parts.suppression_list.say([saying(1)])
        await reader.events(1)
        assert api.clock.now() - before <= 1.0


@pytest.mark.parametrize("by_header", [True, False])
async def test_whoever_comes_back_has_missed_nothing(api: Api, *, by_header: bool) -> None:
    """With the last id it saw; the header wins over the address, because a browser keeps that."""
    kept = api.parts.suppression_list
    await kept.say([saying(1), saying(2)])
    await kept.say([saying(3), saying(1, at_ms=2_000, holds=False)])
    way = reading(api, "?since=1", **{"Last-Event-ID": "2"}) if by_header else reading(api, "?since=2")
    async with way as reader:
        heard = await reader.events(2)
        assert {number for number, _ in heard} == {3, 4}
        assert {each["recipient"]: each["suppressed"] for _, each in heard} == {
            "1@x.example": False,
            "3@x.example": True,
        }


async def test_many_changes_come_in_pages(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """None twice, none missing."""
    monkeypatch.setattr(suppression_changes, "CHANGES_AT_ONCE_MAX", 7)
    await api.parts.suppression_list.say([saying(number) for number in range(30)])
    async with reading(api) as reader:
        assert [number for number, _ in await reader.events(30)] == list(range(1, 31))


async def test_a_subaccounts_key_hears_its_own(api: Api) -> None:
    """Whatever it asks for; its position moves on with the others' changes."""
    await api.parts.suppression_list.say([saying(1), saying(2, subaccount_id=7), saying(3, subaccount_id=8)])
    own = await api.parts.keys.create("seven", subaccount_id=7)
    async with reading(api, Authorization=own, **{"X-MSYS-SUBACCOUNT": "8"}) as reader:
        await reader.until(lambda text: ": alive\nid: 3\n\n" in text)
        assert [each["recipient"] for _, each in await reader.events(1)] == ["2@x.example"]
    async with reading(api, **{"X-MSYS-SUBACCOUNT": "8"}) as reader:
        assert [each["recipient"] for _, each in await reader.events(1)] == ["3@x.example"]


async def test_a_quiet_stream_shows_that_it_lives(api: Api) -> None:
    """Every fifteen seconds, with the id to come back with."""
    await api.parts.suppression_list.say([saying(1)])
    async with reading(api, "?since=1") as reader:
        before = api.clock.now()
        await reader.until(lambda text: text.count(": alive\nid: 1\n\n") >= 3)
        assert 44.0 < api.clock.now() - before < 60.0


@pytest.mark.parametrize(
    ("query", "header", "status"),
    [
        ("?since=x", "", 400),
        ("?since=-1", "", 400),
        ("?since=" + "9" * 30, "", 400),
        ("", "x", 400),
        ("?since=2", "", 410),
        ("", "9223372036854775807", 410),
    ],
)
async def test_a_place_that_is_none(api: Api, query: str, header: str, status: int) -> None:
    """400 where it is no number; 410 where this list never came there, for the copy would be another list's."""
    await api.parts.suppression_list.say([saying(1)])
    answer = await api.call("GET", CHANGES + query, headers={"Last-Event-ID": header})
    assert answer.status == status
    assert answer.error


async def test_a_key_without_the_grant_hears_nothing(api: Api) -> None:
    """403; 401 without one."""
    key = await api.parts.keys.create("m", grants=["suppression_list/modify"])
    assert (await api.call("GET", CHANGES, headers={"Authorization": key})).status == 403
    assert (await api.call("GET", CHANGES, headers={"Authorization": ""})).status == 401


async def test_who_goes_makes_room(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a limit, with 503 beyond it; nothing looks for changes when nobody is there."""
    monkeypatch.setattr(suppression_changes, "READERS_MAX", 1)
    async with reading(api) as reader:
        await reader.until(bool)
        refused = await api.call("GET", CHANGES)
        assert (refused.status, refused.headers["Retry-After"]) == (503, "2")
    readers = readers_of(api)
    async with asyncio.timeout(SECONDS_MAX):
        while readers.count:
            await asyncio.sleep(0)
    assert readers._looking is None
    async with reading(api) as reader:
        await reader.until(bool)


def readers_of(api: Api) -> suppression_changes.Readers:
    """The API's own."""
    assert api.app is not None
    readers: suppression_changes.Readers = api.app.state.readers
    return readers


async def test_an_outage_is_waited_out(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream stays, and says afterwards what it missed."""
    kept = api.parts.suppression_list
    changes, outages = kept.changes, 0

    async def away(since: int, *, count_max: int, subaccount_id: int | None = None) -> Changes:
        nonlocal outages
        if outages < 3:
            outages += 1
            raise UnavailableError("x")
        return await changes(since, count_max=count_max, subaccount_id=subaccount_id)

    monkeypatch.setattr(kept, "changes", away)
    async with reading(api) as reader:
        await kept.say([saying(1)])
        assert len(await reader.events(1)) == 1
        assert outages == 3


async def test_a_stream_ends_when_the_process_is_told_to(tmp_path: Path) -> None:
    """At once and whole: the reader sees an end, not a broken line."""
    async with running(tmp_path / "database") as api:
        api.key = await api.parts.keys.create("test")
        async with reading(api) as reader:
            await reader.until(bool)
            api.parts.stop.set()
            async with asyncio.timeout(SECONDS_MAX):
                assert await reader.answer.content.read() == b""


async def test_a_reader_that_takes_nothing_is_let_go(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would hold its place for ever; its connection is closed."""
    monkeypatch.setattr(suppression_changes, "SEND_SECONDS_MAX", 0.05)
    many = [saying(number, description="x" * 4_000) for number in range(6_000)]
    await api.parts.suppression_list.say(many)
    readers = readers_of(api)
    async with reading(api):
        async with asyncio.timeout(SECONDS_MAX):
            while not readers.count:
                await asyncio.sleep(0)
            while readers.count:
                await asyncio.sleep(0.01)
