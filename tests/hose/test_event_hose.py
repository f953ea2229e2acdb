"""hose.event_hose: accepted means kept, cut once, closed in order."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.hose.fake_queue import LIMITS as QUEUE_LIMITS
from tests.hose.fake_queue import FakeQueue
from tests.hose.hoses import (
    CUTS,
    LIMITS,
    check_numbers,
    crash,
    discard,
    event,
    make_hose,
    never_cut,
    recover,
    running_hose,
)

from omni_etl.clock import ManualClock
from omni_etl.envelope import open_header
from omni_etl.errors import IntakeError, SettingsError, SpoolFullError, UnavailableError
from omni_etl.hose import EventHose
from omni_etl.hose.answer import Answer
from omni_etl.hose.records import Accepted, scan
from omni_etl.hose.segments import path_of, segments_in


async def test_what_was_accepted_arrives_once_and_the_hose_says_goodbye(tmp_path: Path) -> None:
    """Both lanes end with a closing envelope that names the last numbers and the count accepted."""
    queue = FakeQueue()
    lines = [event(number, "bounce" if number % 10 == 0 else "delivery", bounce_class="10") for number in range(250)]
    async with running_hose(tmp_path, queue) as hose:
        for start in range(0, 250, 25):
            answer = await hose.accept(b"\n".join(lines[start : start + 25]))
            assert answer == Answer(25, ())
    assert sorted(queue.lines()) == sorted(lines)
    check_numbers(queue)
    last = {header.lane: header for header in queue.headers}
    assert [last[lane].closing for lane in ("express", "bulk")] == [True, True]
    assert last["bulk"].accepted_count == 250
    assert {header.hose_id for header in queue.headers} == {hose.hose_id}


async def test_an_id_is_new_at_every_start_and_an_old_spool_goes(tmp_path: Path) -> None:
    """A cloned disk can reuse no key; what is confirmed does not stay."""
    queue = FakeQueue()
    for number in range(3):
        async with running_hose(tmp_path, queue) as hose:
            await hose.accept(event(number))
    assert len({header.hose_id for header in queue.headers}) == 3
    assert len(queue.sent) == len(queue.unique())  # what was confirmed is not sent again
    assert len(segments_in(tmp_path)) == 1
    assert hose.unsent_count == 0
    check_numbers(queue)


async def test_a_new_start_finishes_what_the_old_one_began(tmp_path: Path) -> None:
    """Cut and unsent: the same bytes under the old key. Accepted and uncut: cut under the old id. Then that id is closed."""
    queue = FakeQueue()
    queue.away = True
    with capture_logs():
        hose = make_hose(tmp_path / "a", queue)
        await hose.start()
        await hose.accept(event(1))
        await _until(lambda: hose.unsent_count == 1 and hose._sender._pending["bulk"])  # and not in a call just now
        cut = [hose._spool.read(place) for place in hose._sender._pending["bulk"]]
        hose._committer._batcher._limits = never_cut().cuts
        await hose.accept(event(2))
        left = await crash(hose, into=tmp_path / "b")
    queue.away = False
    await recover(left, queue)
    assert sorted(queue.lines()) == [event(1), event(2)]
    check_numbers(queue)
    old = {
        open_header(each.header).seq: each for each in queue.unique().values() if _is(each.header, hose.hose_id, "bulk")
    }
    assert old[1] in cut
    assert [
        (seq, open_header(each.header).event_count, open_header(each.header).closing) for seq, each in old.items()
    ] == [
        (1, 1, False),
        (2, 1, False),
        (3, 0, True),
    ]


async def test_a_crash_at_any_byte_of_a_recovery_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """The second start dies with its segment torn anywhere; a third one ends with each event in exactly one envelope."""
    hose = make_hose(tmp_path / "0", FakeQueue(), limits=never_cut())
    await hose.start()
    await hose.accept(event(1) + b"\n" + event(2, "bounce", bounce_class="10"))
    await hose.accept(event(3))
    left = await crash(hose, into=tmp_path / "1")
    # A recovery that reaches the disk but not the queue:
    away = FakeQueue()
    away.away = True
    with capture_logs():
        second = make_hose(left, away)
        await second.start()
        torn = await crash(second, into=tmp_path / "2")
    last = path_of(torn, segments_in(torn)[-1])
    content = last.read_bytes()
    files = {path.name: path.read_bytes() for path in torn.iterdir()}
    for size in {*range(0, len(content), 23), len(content)}:
        for name, each in files.items():
            (torn / name).write_bytes(each)
        last.write_bytes(content[:size])
        queue = FakeQueue()
        await recover(torn, queue)
        assert sorted(queue.lines()) == sorted([event(1), event(2, "bounce", bounce_class="10"), event(3)])
        check_numbers(queue)
        _empty(torn)


async def test_the_spool_torn_at_any_byte_keeps_all_that_was_acknowledged(tmp_path: Path) -> None:
    """And of what was not, all of a request or nothing; envelopes already sent are recognised as the same ones."""
    queue = FakeQueue()
    hose = make_hose(tmp_path / "a", queue)
    await hose.start()
    acknowledged: list[tuple[int, bytes]] = []
    sent: list[tuple[int, int]] = []
    path = path_of(tmp_path / "a", 1)
    for number in range(6):
        line = event(number, "spam_complaint" if number % 2 else "open")
        await hose.accept(line)
        acknowledged.append((path.stat().st_size, line))
        await queue.until(lambda count=number: len(queue.lines()) > count)  # type: ignore[misc] # a default binds it
        sent.append((path.stat().st_size, len(queue.sent)))
    torn = await crash(hose, into=tmp_path / "b")
    files = {each.name: each.read_bytes() for each in torn.iterdir()}
    content = files[path.name]
    for size in {*range(acknowledged[2][0], len(content), 29), *(size for size, _ in acknowledged), len(content)}:
        for name, each in files.items():
            (torn / name).write_bytes(content[:size] if name == path.name else each)
        again = FakeQueue()
        again.sent = queue.sent[: max((count for at, count in sent if at <= size), default=0)]
        await recover(torn, again)
        lines = again.lines()
        assert len(set(lines)) == len(lines)
        assert {line for at, line in acknowledged if at <= size} <= set(lines)
        check_numbers(again)
        _empty(torn)


async def test_a_flipped_bit_costs_the_events_of_its_record_and_no_others(tmp_path: Path) -> None:
    """Nine of ten acknowledged requests arrive, each once, though the segment is the last."""
    hose = make_hose(tmp_path / "a", FakeQueue(), limits=never_cut())
    await hose.start()
    for number in range(10):
        await hose.accept(event(number))
    left = await crash(hose, into=tmp_path / "b")
    path = path_of(left, segments_in(left)[-1])
    content = bytearray(path.read_bytes())
    content[[framed.offset for framed in scan(bytes(content)) if isinstance(framed.record, Accepted)][2] + 20] ^= 1
    path.write_bytes(content)
    queue = FakeQueue()
    with capture_logs() as logs:
        await recover(left, queue)
    assert sorted(queue.lines()) == sorted(event(number) for number in range(10) if number != 2)
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["hose_spool_damaged"]
    check_numbers(queue)


async def test_a_repeated_request_gets_the_same_answer_and_changes_nothing(tmp_path: Path) -> None:
    """By its key; also after a crash, before anything was cut."""
    queue = FakeQueue()
    body = event(1) + b"\n{\n" + b'{"type":"open","timestamp":"1"}'
    hose = make_hose(tmp_path / "a", queue, limits=never_cut())
    await hose.start()
    first = await hose.accept(body, key="k")
    assert await hose.accept(body, key="k") == first
    left = await crash(hose, into=tmp_path / "b")
    for file in left.glob("requests*"):
        file.unlink()  # even then: the spool is its write-ahead log
    async with running_hose(left, queue) as again:
        assert await again.accept(body, key="k") == first
        with pytest.raises(IntakeError) as caught:
            await again.accept(event(2), key="k")
    assert caught.value.status == 422
    assert (first.accepted, [each.line for each in first.rejected]) == (2, [2])
    assert len(queue.lines()) == 2


async def test_a_body_whose_events_all_carry_ids_is_recognised_without_a_key(tmp_path: Path) -> None:
    """One without ids is not: two equal lines may be two events."""
    queue = FakeQueue()
    bare = b'{"type":"open","timestamp":"1"}'
    async with running_hose(tmp_path, queue) as hose:
        for body in (event(1), event(1), bare, bare):
            assert (await hose.accept(body)).accepted == 1
        assert (await hose.accept(event(1), key="other")).accepted == 1  # whoever gives a key is taken at their word
    assert len(queue.lines()) == 4
    check_numbers(queue)


async def test_a_repetition_while_the_first_is_in_flight_waits_for_its_outcome(tmp_path: Path) -> None:
    """And counts as one."""
    queue = FakeQueue()
    async with running_hose(tmp_path, queue) as hose:
        answers = await asyncio.gather(*(hose.accept(event(1), key="k") for _ in range(5)))
        outcomes = await asyncio.gather(
            hose.accept(event(2), key="l"), hose.accept(event(3), key="l"), return_exceptions=True
        )
    assert answers == [Answer(1, ())] * 5
    assert [type(each) for each in outcomes] == [Answer, IntakeError]
    assert sorted(queue.lines()) == [event(1), event(2)]


async def test_nothing_valid_is_answered_and_not_remembered(tmp_path: Path) -> None:
    """A producer that mends its body may use its key again."""
    async with running_hose(tmp_path, FakeQueue()) as hose:
        refused = await hose.accept(b"{", key="k")
        assert (refused.accepted, refused.refused) == (0, 1)
        assert (await hose.accept(event(1), key="k")).accepted == 1


async def test_a_full_spool_is_503_until_the_queue_takes_envelopes_again(tmp_path: Path) -> None:
    """Said once in the log; cutting goes on, so that memory does not grow."""
    queue = FakeQueue()
    queue.away = True
    limits = replace(LIMITS, spool_bytes_max=50_000, spool_segment_bytes=10_000)
    with capture_logs() as logs:
        async with running_hose(tmp_path, queue, limits=limits) as hose:
            numbers = iter(range(10_000))
            with pytest.raises(SpoolFullError) as caught:
                await _accept_all(hose, numbers)
            accepted = next(numbers) - 1
            assert caught.value.retry_after_seconds
            await _until(lambda: hose._committer._batcher.count == 0)
            queue.away = False
            await _until(lambda: hose.spool_bytes < limits.spool_bytes_max)
            await hose.accept(event(10_001))
    assert [entry["event"] for entry in logs].count("hose_spool_full") == 1
    assert len(queue.lines()) == accepted + 1
    check_numbers(queue)


async def test_more_uncut_than_memory_may_hold_is_503_until_it_was_cut(tmp_path: Path) -> None:
    """When events come faster than envelopes can be cut, the producer waits and this process does not grow."""
    queue = FakeQueue()
    async with running_hose(tmp_path, queue, limits=replace(never_cut(), uncut_bytes_max=3_000)) as hose:
        with pytest.raises(SpoolFullError, match="faster than envelopes") as caught:
            await _accept_all(hose, iter(range(100)))
        assert caught.value.retry_after_seconds
        assert 3_000 <= hose._batcher.raw_bytes < 3_500
        hose._batcher._limits = CUTS
        hose._committer._alarm.ring()
        await _until(lambda: hose._batcher.count == 0)
        await hose.accept(event(100))
    check_numbers(queue)


async def test_a_stopping_hose_takes_no_more_and_leaves_the_rest_in_its_spool(tmp_path: Path) -> None:
    """Within its time, though the queue is away; the next start sends it."""
    queue = FakeQueue()
    queue.away = True
    clock = ManualClock()
    hose = make_hose(tmp_path, queue, clock=clock)
    with capture_logs() as logs:
        await hose.start()
        await hose.accept(event(1))
        stopping = asyncio.create_task(hose.stop(5))
        await _until(lambda: hose.unsent_count == 3)
        with pytest.raises(IntakeError, match="stopping"):
            await hose.accept(event(2))
        while not stopping.done():  # its deadline begins when all is durable, at a moment of the commit's thread
            clock.advance(5)
            await asyncio.wait({stopping}, timeout=0.002)
        await stopping
        await hose.watch()
    assert logs[-1]["event"] == "hose_stopped"
    assert logs[-1]["unsent_envelopes"] == 3
    queue.away = False
    await recover(tmp_path, queue)
    assert queue.lines() == [event(1)]
    check_numbers(queue)


async def test_a_quiet_hose_says_that_it_lives(tmp_path: Path) -> None:
    """An empty envelope a minute."""
    clock = ManualClock()
    queue = FakeQueue()
    hose = make_hose(tmp_path, queue, clock=clock)
    await hose.start()
    for count in (1, 2):
        await _sleepers(clock)
        clock.advance(60)
        await queue.until(lambda count=count: len(queue.sent) == count)  # type: ignore[misc] # a default binds it
    await discard(hose)
    assert [(header.lane, header.seq, header.event_count) for header in queue.headers] == [
        ("bulk", 1, 0),
        ("bulk", 2, 0),
    ]


async def test_envelopes_fit_the_queue_whatever_the_events_are(tmp_path: Path) -> None:
    """Also when they suddenly compress worse than all before; the fake queue asserts its limit."""
    queue = FakeQueue()
    limits = replace(LIMITS, cuts=replace(CUTS, envelope_bytes=8 * 1024, envelope_events_max=10_000))
    async with running_hose(tmp_path, queue, limits=limits) as hose:
        await hose.accept(b"\n".join(event(number, pad="x" * 500) for number in range(300)))
        await hose.accept(b"\n".join(event(number, pad=f"{number:0500}"[::-1]) for number in range(300, 600)))
        noise = [bytes(f"{hash((number, at)):x}", "ascii").decode() for number in range(50) for at in range(10)]
        await hose.accept(b"\n".join(event(600 + at, pad=each * 20) for at, each in enumerate(noise)))
    assert len(queue.lines()) == 1_100
    assert max(len(envelope.payload) for _, envelope in queue.sent) < 8 * 1024
    check_numbers(queue)


async def test_a_queue_that_can_never_take_our_envelopes_is_refused_at_start(tmp_path: Path) -> None:
    """With the setting to change."""
    queue = FakeQueue(replace(QUEUE_LIMITS, entry_bytes_max=100_000))
    with pytest.raises(SettingsError, match="OMNI_ENVELOPE_BYTES"):
        await make_hose(tmp_path, queue).start()


async def test_a_disk_that_refuses_at_start_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was cut is sent meanwhile, producers get 503, and what was not cut comes when it can be written."""
    away = FakeQueue()
    away.away = True
    with capture_logs():
        hose = make_hose(tmp_path / "a", away)
        await hose.start()
        await hose.accept(event(1))
        await _until(lambda: hose.unsent_count == 1)
        hose._committer._batcher._limits = never_cut().cuts
        await hose.accept(event(2))
        left = await crash(hose, into=tmp_path / "b")
    queue = FakeQueue()
    with capture_logs() as logs, monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", _refuse)
        again = make_hose(left, queue)
        await again.start()
        await asyncio.wait_for(queue.until(lambda: queue.lines() == [event(1)]), 10)
        assert again.is_refusing
        with pytest.raises(IntakeError, match="refuses writes"):
            await again.accept(event(3))
    assert [entry["owed_envelopes"] for entry in logs if entry["event"] == "hose_spool_failed"] == [3]
    await _until(lambda: not again.is_refusing)
    await again.accept(event(4))
    await again.stop(10)
    assert sorted(queue.lines()) == [event(1), event(2), event(4)]
    check_numbers(queue)


async def test_a_disk_that_cannot_be_read_at_start_is_an_engine_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told in a sentence, and the next try finds the directory free and everything in it."""
    hose = make_hose(tmp_path / "a", FakeQueue(), limits=never_cut())
    await hose.start()
    await hose.accept(event(1))
    left = await crash(hose, into=tmp_path / "b")
    queue = FakeQueue()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", _refuse)
        with pytest.raises(UnavailableError, match="disk under"):
            await make_hose(left, queue).start()
    await recover(left, queue)
    assert queue.lines() == [event(1)]
    check_numbers(queue)


async def test_a_queue_away_at_start_is_no_reason_not_to_take_events(tmp_path: Path) -> None:
    """The spool is there for that."""
    queue = FakeQueue()
    queue.away = True
    with capture_logs():
        async with running_hose(tmp_path, queue) as hose:
            assert (await hose.accept(event(1))).accepted == 1
            queue.away = False
    assert queue.lines() == [event(1)]


async def test_a_part_that_ends_unasked_is_seen(tmp_path: Path) -> None:
    """`watch` raises it, so that the process can end."""
    hose = make_hose(tmp_path, FakeQueue())
    await hose.start()
    hose._committer._batcher.due = _broken  # type: ignore[method-assign,assignment] # the fault
    hose._committer._alarm.ring()
    with pytest.raises(ZeroDivisionError):
        await hose.watch()
    with pytest.raises(ZeroDivisionError):
        await hose.stop(1)


async def _accept_all(hose: EventHose, numbers: Iterator[int]) -> None:
    for number in numbers:
        await hose.accept(event(number, pad="x" * 200), key=str(number))


def _refuse(_: object) -> None:
    raise OSError("refused")


def _broken(*_: object, **__: object) -> None:
    raise ZeroDivisionError


def _empty(directory: Path) -> None:
    for path in directory.iterdir():
        path.unlink()


def _is(header: str, hose_id: str, lane: str) -> bool:
    opened = open_header(header)
    return (opened.hose_id, opened.lane) == (hose_id, lane)


async def _until(condition: object) -> None:
    """The commit thread answers in its own time."""
    async with asyncio.timeout(20):
        while not condition():  # type: ignore[operator] # a function without arguments
            await asyncio.sleep(0.002)


async def _sleepers(clock: ManualClock) -> None:
    await _until(lambda: any(not waiter.done() for _, waiter in clock._sleepers))
