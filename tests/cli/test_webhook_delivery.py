"""cli.webhook_delivery: how delivery goes, and what to do about it, on a real database."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
from tests.builders import envelope, line
from tests.cli.conftest import Omni
from tests.outboxes import batch, given_up, retry

from omni_etl import settings
from omni_etl.backends.database import DatabaseOutbox
from omni_etl.backends.database.replays import DatabaseReplays
from omni_etl.clock import SystemClock
from omni_etl.errors import SettingsError
from omni_etl.outbox import Cut
from omni_etl.replay import Stride
from omni_etl.wiring.databases import outbox_database
from omni_etl.wiring.opened import opened

CLOCK = SystemClock()
Answer = TypeVar("Answer")


@pytest.fixture
def webhook_id(omni: Omni) -> str:
    """A webhook's."""
    return omni("webhooks", "create", "shop", "https://example.com/hook").stdout.strip()


def with_outbox(ask: Callable[[DatabaseOutbox], Awaitable[Answer]]) -> Answer:
    """As the deliverer speaks to it."""

    async def run() -> Answer:
        async with opened(DatabaseOutbox(outbox_database(settings.load(), CLOCK), CLOCK)) as outbox:
            return await ask(outbox)

    return asyncio.run(run())


def fill(webhook_id: str) -> None:
    """One batch that was given up, one that waits for its next attempt, one that is fresh."""

    async def work(outbox: DatabaseOutbox) -> None:
        cut = Cut([batch(name, webhook_id, event_count=2) for name in ("given-up", "again", "fresh")])
        claimed = await outbox.put(envelope([line()]), cut, eager=[webhook_id], claim_seconds=30)
        assert claimed is not None
        await outbox.settle(claimed[0], given_up("400"))
        await outbox.settle(claimed[1], retry(3_600, "503"))
        await outbox.release(claimed[2:])

    with_outbox(work)


def shown(omni: Omni, webhook_id: str) -> dict[str, object]:
    """As machines read it."""
    found: dict[str, object] = json.loads(omni("webhooks", "show", webhook_id, "--json").stdout)
    return found


def test_show_tells_how_delivery_goes(omni: Omni, webhook_id: str) -> None:
    """The same words and figures as over HTTP; for people as a table."""
    fill(webhook_id)
    told = shown(omni, webhook_id)
    assert (told["state"], told["failures_in_a_row"]) == ("failing", 2)
    assert told["given_up"] == {"batches": 1, "events": 2}
    text = omni("webhooks", "show", webhook_id).stdout
    assert "failing" in text
    assert "batches 2, events 4" in " ".join(text.split())


def test_pause_and_resume(omni: Omni, webhook_id: str) -> None:
    """The list shows it, too."""
    assert omni("webhooks", "pause", webhook_id).exit_code == 0
    assert shown(omni, webhook_id)["state"] == "paused"
    assert json.loads(omni("webhooks", "list", "--json").stdout)[0]["state"] == "paused"
    assert omni("webhooks", "resume", webhook_id).stderr.strip() == "resumed"
    assert omni("webhooks", "resume", webhook_id).stderr.strip() == "nothing held it up"
    assert shown(omni, webhook_id)["state"] == "delivering"


def test_retry_says_how_many(omni: Omni, webhook_id: str) -> None:
    """Given up, and waiting for their time."""
    fill(webhook_id)
    assert omni("webhooks", "retry", webhook_id).stderr.strip() == "2 batches are tried now"
    assert omni("webhooks", "retry", webhook_id).stderr.strip() == "0 batches are tried now"


def test_attempts_are_listed(omni: Omni, webhook_id: str) -> None:
    """All, or those of one batch."""
    fill(webhook_id)
    rows = json.loads(omni("webhooks", "attempts", webhook_id, "--json").stdout)
    assert {(each["batch"], each["answer"], each["outcome"]) for each in rows} == {
        ("given-up", "400", "given_up"),
        ("again", "503", "retry"),
    }
    of_one = json.loads(omni("webhooks", "attempts", webhook_id, "--batch", "again", "--json").stdout)
    assert [each["batch"] for each in of_one] == ["again"]


def test_a_replay_is_begun_followed_and_cancelled(omni: Omni, webhook_id: str) -> None:
    """Detached it only prints the job's id; followed, it ends when the job does."""
    begun = omni("webhooks", "replay", webhook_id, "--from", "2026-01-01T00:00Z", "--detach")
    assert begun.exit_code == 0
    job = begun.stdout.strip()
    [listed] = json.loads(omni("webhooks", "replays", webhook_id, "--json").stdout)
    assert (listed["id"], listed["state"]) == (job, "waiting")
    assert omni("webhooks", "replays", webhook_id, "--cancel", job).exit_code == 0
    assert omni("webhooks", "replays", webhook_id, "--cancel", job).exit_code == 1
    working = threading.Thread(target=lambda: asyncio.run(finish_next()))
    working.start()
    followed = omni("webhooks", "replay", webhook_id, "--from", "2026-01-01", "--to", "2026-01-02")
    working.join()
    assert followed.exit_code == 0
    assert "done: 2 events in 1 batches" in followed.stderr


async def finish_next() -> None:
    """Do, as the deliverer would, the next job that appears."""
    async with opened(DatabaseReplays(outbox_database(settings.load(), CLOCK), CLOCK)) as replays:
        while (claimed := await replays.claim(claim_seconds=60)) is None:
            await CLOCK.sleep(0.05)
        stride = Stride([batch("once-more", claimed.replay.webhook_id, event_count=2)], 2, None, is_last=True)
        assert await replays.step(claimed, stride, pause_seconds=0)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--from", "yesterday"],
        ["--from", "2026-01-02", "--to", "2026-01-01"],
    ],
)
def test_a_range_that_makes_no_sense_is_refused(omni: Omni, webhook_id: str, arguments: list[str]) -> None:
    """With a word about what to write."""
    with pytest.raises(SettingsError, match=r"omni webhooks replay|--from"):
        omni("webhooks", "replay", webhook_id, *arguments)


@pytest.mark.parametrize("command", ["show", "pause", "resume", "retry", "attempts", "replays"])
def test_a_webhook_that_is_not_there_is_said(omni: Omni, command: str) -> None:
    """And where to look."""
    with pytest.raises(SettingsError, match="omni webhooks list"):
        omni("webhooks", command, "none")
