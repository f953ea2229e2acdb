"""cli.dead_letters: looked at and moved, on a real queue and database."""

import asyncio
import json
from collections.abc import Sequence

import pytest
from tests.builders import HOSE_ID, line, sealed
from tests.cli.conftest import Omni

from omni_etl import settings
from omni_etl.clock import SystemClock
from omni_etl.dead_letters import Burial
from omni_etl.envelope import SealedEnvelope
from omni_etl.errors import SettingsError
from omni_etl.queue import UNREADABLE, dead_letters, queue_names, siding
from omni_etl.wiring.databases import build_registry
from omni_etl.wiring.dead_letters import open_dead_letters
from omni_etl.wiring.opened import opened
from omni_etl.wiring.queues import build_queue

REASONS = {1: "no such table", 2: "no such table", 3: "disk full"}


def key(seq: int) -> str:
    """Of the envelopes here."""
    return f"{HOSE_ID}-bulk-{seq}"


def lines(seq: int) -> list[bytes]:
    """Its events."""
    return [line(number=seq * 100 + each) for each in range(12)]


async def send(queue_name: str, envelopes: Sequence[SealedEnvelope]) -> None:
    """As the parent sets aside."""
    queue = build_queue(settings.load(), SystemClock())
    await queue.open([queue_name])
    assert not await queue.send(queue_name, envelopes)
    await queue.close()


def depths() -> dict[str, int]:
    """Ready envelopes in each queue that has some."""

    async def read() -> dict[str, int]:
        queue, names = build_queue(settings.load(), SystemClock()), queue_names(settings.load().service_names)
        await queue.open(names)
        found = {name: (await queue.depth(name)).ready for name in names}
        await queue.close()
        return {name: count for name, count in found.items() if count}

    return asyncio.run(read())


def burial(seq: int) -> Burial | None:
    """What is known of one."""

    async def read() -> Burial | None:
        async with open_dead_letters(settings.load()) as mortuary:
            return await mortuary.known.find("metrics", key(seq))

    return asyncio.run(read())


@pytest.fixture
def dead(omni: Omni) -> Omni:
    """Three dead letters of metrics."""

    async def fill() -> None:
        async with opened(build_registry(settings.load(), SystemClock())) as registry:
            for seq, reason in REASONS.items():
                await registry.bury("metrics", key(seq), reason)
        await send(dead_letters("metrics"), [sealed(lines(seq), seq=seq) for seq in REASONS])

    asyncio.run(fill())
    return lambda *arguments: omni("dead-letters", *arguments)


def test_none_is_said_to_be_none(omni: Omni) -> None:
    """Nothing to do tonight."""
    assert omni("dead-letters", "list").stdout == "Dead letters: none\n"


def test_list_counts_by_reason(dead: Omni) -> None:
    """And says how many lie in the queue, also where no reason is known."""
    asyncio.run(send(UNREADABLE, [SealedEnvelope("hello", b"?")]))
    rows = json.loads(dead("list", "--json").stdout)
    assert all(row.pop("oldest, s") in (None, *range(60)) for row in rows)
    assert rows == [
        {"service": "metrics", "in queue": 3, "reason": "no such table", "envelopes": 2},
        {"service": "metrics", "in queue": 3, "reason": "disk full", "envelopes": 1},
        {"service": "unreadable", "in queue": 1, "reason": "not known", "envelopes": 1},
    ]
    assert "no such table" in dead("list").stdout


def test_show_prints_what_it_holds_and_why_it_died(dead: Omni) -> None:
    """The first ten events, all if asked for; and it stays where it is."""
    shown = dead("show", key(3))
    assert "reason: disk full" in shown.stdout
    assert f'"hose_id":"{HOSE_ID}"' in shown.stdout
    assert [each for each in shown.stdout.splitlines() if each.startswith("{")] == [
        each.decode() for each in lines(3)[:10]
    ]
    [found] = json.loads(dead("show", key(3), "--all", "--json").stdout)
    assert found["events"] == [each.decode() for each in lines(3)]
    assert (found["service"], found["reason"], found["receives"]) == ("metrics", "disk full", 2)
    assert depths() == {dead_letters("metrics"): 3}


def test_show_looks_only_where_it_is_told(dead: Omni) -> None:
    """What is not there is said to be not there."""
    assert dead("show", key(3), "--service", "webhooks").exit_code == 1
    assert dead("show", key(4)).stderr == f"no dead letter {key(4)}\n"
    with pytest.raises(SettingsError, match="no service 'metric'"):
        dead("show", key(3), "--service", "metric")


def test_what_cannot_be_read_is_shown_as_it_is(dead: Omni) -> None:
    """Its header, with brackets that are no markup."""
    asyncio.run(send(UNREADABLE, [SealedEnvelope("[/x] hello", b"?")]))
    shown = dead("show", "[/x] hello").stdout
    assert "header: [/x] hello\nIts events cannot be read." in shown


def test_redrive_puts_dead_letters_into_the_siding(dead: Omni) -> None:
    """At most as many as asked for, and says how many."""
    assert dead("redrive", "metrics", "--count", "2").stdout == "2 envelopes went back to the siding of metrics.\n"
    assert depths() == {dead_letters("metrics"): 1, siding("metrics"): 2}
    assert dead("redrive", "metrics").stdout.startswith("1 envelopes")
    assert json.loads(dead("list", "--json").stdout) == []


def test_one_envelope_can_be_put_back(dead: Omni) -> None:
    """To see whether it is mended, before the rest follows."""
    assert dead("redrive", "metrics", "--key", key(2)).exit_code == 0
    assert depths() == {dead_letters("metrics"): 2, siding("metrics"): 1}
    assert (found := burial(2)) is not None
    assert found.left_how == "redriven"
    assert dead("redrive", "metrics", "--key", key(2)).exit_code == 1


def test_redrive_puts_what_no_service_was_named_for_into_its_lane(dead: Omni) -> None:
    """`unreadable` is no service and has no siding."""
    asyncio.run(send(UNREADABLE, [sealed([line()], seq=9)]))
    assert dead("redrive", "unreadable").stdout == "1 envelopes went back to their lanes.\n"
    assert depths() == {"bulk": 1, dead_letters("metrics"): 3}


def test_discard_wants_to_be_sure(dead: Omni) -> None:
    """Which, and really; until then nothing goes."""
    for arguments in ((), ("--all", "--key", key(1))):
        with pytest.raises(SettingsError, match="not one of --key and --all"):
            dead("discard", "metrics", *arguments, "--yes")
    refused = dead("discard", "metrics", "--all")
    assert refused.exit_code == 1
    assert "Say --yes to do it." in refused.stderr
    assert depths() == {dead_letters("metrics"): 3}


def test_what_is_discarded_is_counted_and_noted(dead: Omni) -> None:
    """So that the audit can explain it."""
    gone = dead("discard", "metrics", "--key", key(1), "--yes")
    assert gone.stdout == "1 envelopes with 12 events were discarded.\n"
    assert (found := burial(1)) is not None
    assert (found.reason, found.left_how, found.event_count) == ("no such table", "discarded", 12)
    assert dead("discard", "metrics", "--key", key(1), "--yes").exit_code == 1
    assert dead("discard", "metrics", "--all", "--yes").stdout == "2 envelopes with 24 events were discarded.\n"
    assert depths() == {}
