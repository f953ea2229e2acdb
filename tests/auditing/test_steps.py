"""auditing.steps on real ledgers: what is whole is called whole, and each wound is found, named and counted."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests import builders
from tests.auditing.system import SERVICES, Hose, System, system

from omni_etl.audit import Account, Report
from omni_etl.backends.clickhouse_erasing import ClickHouseEraser
from omni_etl.clock import SystemClock
from omni_etl.queue import siding


@pytest.fixture
async def subject(store_url: str, tmp_path: Path) -> AsyncIterator[System]:
    """An empty system; what PostgreSQL counts differently would show in backends/database/test_audit.py."""
    async with system(store_url, f"sqlite:///{tmp_path}") as made:
        yield made


def lines(count: int, type_name: str = "delivery", **fields: str) -> list[bytes]:
    """Different events."""
    return [builders.line(type_name, subject=f"{type_name}{each}", **fields) for each in range(count)]


def bounces(count: int) -> list[bytes]:
    """Events that suppress."""
    return lines(count, "bounce", bounce_class="10", rcpt_to="nobody@example.com")


async def fill(subject: System, hose: Hose, count: int = 5) -> None:
    """So many envelopes in each lane, worked on by all, a minute between them."""
    for _ in range(count):
        await subject.work(hose.cut("bulk", lines(10)))
        await subject.work(hose.cut("express", bounces(2)))
        subject.clock.advance(60)


def found(report: Report) -> list[tuple[str, str, str]]:
    """Service, key without the hose, what."""
    return sorted((each.service, each.key.removeprefix(f"{builders.HOSE_ID}-"), each.what) for each in report.findings)


async def test_what_is_whole_is_called_whole(subject: System) -> None:
    """Every number in its figure, in every service, from the first to the closing one; an empty envelope counts like any other."""
    hose = Hose(subject.clock)
    await fill(subject, hose)
    for lane in ("express", "bulk"):
        await subject.work(hose.cut(lane, closing=True))
    report = await subject.audit(late_seconds=0)
    assert (report.missing_envelopes, report.doubled_events, report.findings, report.not_audited) == (0, 0, [], [])
    assert report.services == dict.fromkeys(SERVICES, Account(done=12))
    [account] = report.hoses
    assert (account.hose_id, account.accepted) == (builders.HOSE_ID, 60)
    assert [(each.lane, each.first, each.last, each.closed) for each in account.lanes] == [
        ("express", 1, 6, True),
        ("bulk", 1, 6, True),
    ]
    assert report.oldest_owed_seconds == 0.0


async def test_nothing_is_nothing(subject: System) -> None:
    """Nothing was cut."""
    report = await subject.audit()
    assert (report.hoses, report.findings, report.services) == ([], [], dict.fromkeys(SERVICES, Account()))


async def test_an_envelope_that_no_service_has_is_missing_for_all(subject: System) -> None:
    """Known from the headers of those that came; late for an hour, then named, one service after the other."""
    hose = Hose(subject.clock)
    await fill(subject, hose, 2)
    hose.cut("bulk", lines(3))
    hose.cut("express", bounces(3))
    await fill(subject, hose, 2)
    young = await subject.audit()
    assert (young.missing_envelopes, young.findings) == (0, [])
    assert {name: account.late for name, account in young.services.items()} == dict.fromkeys(SERVICES, 2)
    subject.clock.advance(3600)
    report = await subject.audit()
    assert found(report) == sorted((name, f"{lane}-3", "missing") for name in SERVICES for lane in ("bulk", "express"))
    assert report.missing_envelopes == 8
    assert report.services["metrics"] == Account(done=8, missing=2)


async def test_an_empty_lane_makes_late_missing_at_once(subject: System) -> None:
    """Five minutes after its cut, where its hose goes on; not while the lane, or the siding, holds something."""
    hose = Hose(subject.clock)
    await fill(subject, hose, 1)
    hose.cut("bulk", lines(3))
    await fill(subject, hose, 7)
    assert (await subject.audit()).missing_envelopes == len(SERVICES)
    await subject.queue.send("bulk", [hose.cut("bulk", lines(1))])
    report = await subject.audit()
    assert (report.missing_envelopes, report.services["metrics"].late) == (0, 1)


async def test_a_silent_hose_may_have_it_still(subject: System) -> None:
    """It is away with its spool: late until the hour is over."""
    hose = Hose(subject.clock)
    await fill(subject, hose, 1)
    hose.cut("bulk", lines(3))
    await fill(subject, hose, 1)
    subject.clock.advance(1200)
    assert (await subject.audit()).missing_envelopes == 0


async def test_one_that_is_last_is_known_from_the_other_lane(subject: System) -> None:
    """Nothing higher came in its own."""
    hose = Hose(subject.clock)
    hose.cut("express", bounces(1))
    await subject.work(hose.cut("bulk", lines(1)))
    report = await subject.audit(late_seconds=0)
    assert ("metrics", "express-1", "missing") in found(report)


async def test_what_waits_in_a_siding_is_not_missing(subject: System) -> None:
    """Until the siding is empty and it is still not there."""
    hose = Hose(subject.clock)
    await fill(subject, hose, 2)
    sided = hose.cut("bulk", lines(4))
    await subject.work(sided, [name for name in SERVICES if name != "metrics"])
    await subject.queue.send(siding("metrics"), [sided])
    await fill(subject, hose, 1)
    subject.clock.advance(7200)
    report = await subject.audit()
    assert (report.findings, report.services["metrics"]) == ([], Account(done=6, sided=1))
    assert report.oldest_owed_seconds == pytest.approx(7260, abs=1)
    [lease] = await subject.queue.receive(siding("metrics"), count_max=1, wait_seconds=0, lease_seconds=30)
    await subject.queue.delete([lease])
    assert found(await subject.audit()) == [("metrics", "bulk-3", "missing")]


async def test_dead_letters_explain(subject: System) -> None:
    """Dead while they lie there, discarded for ever; put back and in no ledger after an hour they are missing after all."""
    hose = Hose(subject.clock)
    others = [name for name in SERVICES if name != "webhooks"]
    keys = [(await subject.work(hose.cut("bulk", lines(1)), others)).key for _ in range(4)]
    await fill(subject, hose, 1)
    for key in keys:
        await subject.registry.bury("webhooks", key, "poison")
    await subject.letters.leave("webhooks", keys[1], "discarded", event_count=1)
    await subject.letters.leave("webhooks", keys[2], "redriven")
    report = await subject.audit(late_seconds=0)
    assert (report.findings, report.services["webhooks"]) == ([], Account(done=2, dead=2, discarded=1, sided=1))
    subject.clock.advance(7200)
    report = await subject.audit(late_seconds=0)
    assert report.services["webhooks"] == Account(done=2, dead=2, discarded=1, missing=1)
    assert found(report) == [("webhooks", "bulk-3", "missing")]


async def test_a_dead_letter_that_was_done_after_all_is_done(subject: System) -> None:
    """Redriven, or a copy of it: the ledger decides."""
    hose = Hose(subject.clock)
    key = (await subject.work(hose.cut("bulk", lines(1)))).key
    await subject.registry.bury("metrics", key, "poison")
    assert (await subject.audit(late_seconds=0)).services["metrics"] == Account(done=1)


async def test_a_service_owes_only_what_was_cut_after_it_came(subject: System) -> None:
    """And a retired one nothing."""
    hose = Hose(subject.clock)
    await fill(subject, hose, 2)
    await subject.registry.retire("webhooks")
    assert "webhooks" not in (await subject.audit()).services
    await subject.registry.register(["webhooks", "fifth"])
    subject.clock.advance(60)
    await fill(subject, hose, 2)
    report = await subject.audit(late_seconds=0)
    assert (report.services["webhooks"], report.services["metrics"]) == (Account(done=4), Account(done=8))
    assert report.not_audited == ["fifth"]
    assert report.findings == []


async def test_what_was_cut_before_the_window_is_left_alone(subject: System) -> None:
    """Also what was lost then: the numbers begin behind the last one that was cut before."""
    hose = Hose(subject.clock)
    hose.cut("bulk", lines(1))
    await fill(subject, hose, 2)
    subject.clock.advance(2 * 3600)
    await fill(subject, hose, 2)
    report = await subject.audit(hours=1, late_seconds=0)
    assert (report.services["metrics"], report.findings) == (Account(done=4), [])
    [account] = report.hoses
    assert account.accepted == 24
    assert (await subject.audit(late_seconds=0)).missing_envelopes == len(SERVICES)


async def test_a_deleted_marker_is_missing(subject: System) -> None:
    """In one table; the header that stands in the other tells of it."""
    hose = Hose(subject.clock)
    await fill(subject, hose, 3)
    key = f"{builders.HOSE_ID}-bulk-3"
    await subject.run(f"ALTER TABLE metrics DELETE WHERE marker_key = '{key}' SETTINGS mutations_sync = 2")
    report = await subject.audit(late_seconds=0)
    assert ("metrics", "bulk-3", "missing") in found(report)
    assert report.services["metrics"] == Account(done=5, missing=1)
    await subject.run(f"ALTER TABLE message_events DELETE WHERE marker_key = '{key}' SETTINGS mutations_sync = 2")
    assert ("message_events", "bulk-3", "marker missing") in found(await subject.audit(late_seconds=0))


async def test_a_deleted_row_is_found(subject: System) -> None:
    """Its envelope is named."""
    hose = Hose(subject.clock)
    await fill(subject, hose, 2)
    await subject.run(
        f"ALTER TABLE message_events DELETE WHERE envelope_key = '{builders.HOSE_ID}-bulk-2' AND line_number = 4 "
        "SETTINGS mutations_sync = 2"
    )
    report = await subject.audit()
    assert found(report) == [("message_events", "bulk-2", "rows missing")]
    assert (report.missing_envelopes, report.doubled_events, report.findings[0].events) == (1, 0, 1)


async def test_one_row_deleted_and_one_doubled_do_not_hide_each_other(subject: System) -> None:
    """The same number of rows, by their numbers others."""
    hose = Hose(subject.clock)
    await fill(subject, hose, 2)
    await subject.run(
        "INSERT INTO message_events SELECT * FROM message_events "
        f"WHERE envelope_key = '{builders.HOSE_ID}-bulk-2' AND line_number = 7"
    )
    report = await subject.audit()
    assert (found(report), report.doubled_events) == ([("message_events", "bulk-2", "rows doubled")], 1)
    await subject.run(
        f"ALTER TABLE message_events DELETE WHERE envelope_key = '{builders.HOSE_ID}-bulk-2' AND line_number = 4 "
        "SETTINGS mutations_sync = 2"
    )
    report = await subject.audit()
    assert [what for _, _, what in found(report)] == ["rows doubled", "rows missing"]
    assert (report.missing_envelopes, report.doubled_events) == (1, 1)


@pytest.mark.parametrize("table", ["message_events", "metrics"])
async def test_an_envelope_that_stands_twice_is_repeated(subject: System, table: str) -> None:
    """Rows, roll-ups and markers agree with each other; only the marker's number tells. Also after a merge."""
    hose = Hose(subject.clock)
    await fill(subject, hose, 1)
    which = "envelope_key" if table == "message_events" else "marker_key"
    where = f"WHERE {which} = '{builders.HOSE_ID}-bulk-1'"
    if table == "metrics":
        columns = "marker_key, checksum, row_count, inserts, stored_count, cut_at_ms, last_bulk, insert_until, cut_day"
        await subject.run(f"INSERT INTO metrics ({columns}) SELECT {columns} FROM metrics {where}")
    else:
        await subject.run(f"INSERT INTO message_events SELECT * FROM message_events {where}")
    for _ in range(2):
        report = await subject.audit(late_seconds=0)
        assert (table, "bulk-1", "repeated") in found(report)
        assert report.services[table].repeated == 1
        await subject.run(f"OPTIMIZE TABLE {table} FINAL")


async def test_changed_rollups_are_found(subject: System) -> None:
    """By day: totals against what markers say, and families against each other."""
    hose = Hose(subject.clock)
    await fill(subject, hose, 1)
    await subject.run("ALTER TABLE metrics DELETE WHERE family = 'domain' SETTINGS mutations_sync = 2")
    report = await subject.audit()
    assert [(each.service, each.what, each.events) for each in report.findings] == [("metrics", "roll-up differs", -12)]
    await subject.run(
        "INSERT INTO metrics (family, measure, minute, cut_day, events, insert_until) "
        "SELECT 'type', 'delivery', minute, cut_day, 7, '2100-01-01' FROM metrics WHERE family = 'type' LIMIT 1"
    )
    report = await subject.audit()
    assert (report.missing_envelopes, report.doubled_events) == (1, 7)


async def test_an_envelope_that_suppresses_owes_suppressions_a_row(subject: System) -> None:
    """By what message_events holds; one that says nothing owes none."""
    hose = Hose(subject.clock)
    await fill(subject, hose, 2)
    await subject.work(hose.cut("bulk", lines(2, "bounce", bounce_class="20", rcpt_to="x@example.com")))
    await subject.work(hose.cut("express", bounces(1)), [name for name in SERVICES if name != "suppressions"])
    report = await subject.audit(late_seconds=0)
    assert found(report) == [("suppressions", "express-3", "missing")]
    assert report.services["suppressions"] == Account(done=5, missing=1)


async def test_what_was_accepted_and_is_in_no_envelope_is_told(subject: System) -> None:
    """Of a hose that said its last word, and whose every envelope is there."""
    hose = Hose(subject.clock)
    await fill(subject, hose, 1)
    hose.accepted += 5
    for lane in ("express", "bulk"):
        await subject.work(hose.cut(lane, closing=True))
    report = await subject.audit(late_seconds=0)
    assert [(each.key, each.what, each.events) for each in report.findings] == [
        (builders.HOSE_ID, "accepted, not cut", -5)
    ]
    assert report.missing_envelopes == 1


async def test_several_hoses_are_kept_apart(subject: System) -> None:
    """Each has its own numbers."""
    first, second = Hose(subject.clock, "a" * 32), Hose(subject.clock, "b" * 32)
    for hose in (first, second):
        await fill(subject, hose, 2)
    second.cut("bulk", lines(1))
    await subject.work(second.cut("bulk"))
    report = await subject.audit(late_seconds=0)
    assert {each.key for each in report.findings} == {f"{'b' * 32}-bulk-3"}
    assert [each.accepted for each in report.hoses] == [24, 25]


async def test_what_was_erased_is_not_missing(subject: System) -> None:
    """Rows that an erasure deleted are noted; what it left out from the start was never stored. A row beyond them is missing."""
    hose = Hose(subject.clock)
    await fill(subject, hose, 2)
    day = datetime.fromtimestamp(subject.clock.now(), UTC).date()
    assert await ClickHouseEraser(subject.store, SystemClock()).erase_events("nobody@example.com", day) == 4
    await subject.work(hose.cut("bulk", lines(2)))
    report = await subject.audit(late_seconds=0)
    assert (report.findings, report.services["suppressions"]) == ([], Account(done=5))
    await subject.run(
        f"ALTER TABLE message_events DELETE WHERE envelope_key = '{builders.HOSE_ID}-bulk-2' AND line_number = 4 "
        "SETTINGS mutations_sync = 2"
    )
    assert found(await subject.audit()) == [("message_events", "bulk-2", "rows missing")]


async def test_what_a_ledger_may_have_let_go_is_not_asked_of_it(store_url: str, tmp_path: Path) -> None:
    """Rows of message_events go after days; metrics is asked of longer ago."""
    async with system(store_url, f"sqlite:///{tmp_path}", {"message_events": 2}) as subject:
        hose = Hose(subject.clock)
        await subject.work(hose.cut("bulk", lines(1)), ["metrics", "webhooks"])
        subject.clock.advance(30 * 3600)
        await fill(subject, hose, 1)
        report = await subject.audit(hours=72, late_seconds=0)
        assert (report.services["metrics"], report.services["message_events"]) == (Account(done=3), Account(done=2))
        assert report.findings == []
        assert report.since_ms_of == {"message_events": report.now_ms - 86_400_000}
