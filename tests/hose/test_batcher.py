"""hose.batcher: where an envelope ends."""

import random
from dataclasses import replace
from itertools import chain, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_etl.envelope import Lane
from omni_etl.hose.batcher import Batcher, Cut, CutLimits

LIMITS = CutLimits(
    envelope_bytes=256 * 1024,
    envelope_events_max=1_000,
    bulk_age_seconds=1.0,
    express_age_seconds=0.05,
    express_age_idle_seconds=0.25,
    express_busy_events_per_second=10.0,
    heartbeat_seconds=60.0,
)


def _lines(count: int, size: int = 100) -> list[tuple[str, list[bytes]]]:
    return [("open", [b"%0*d" % (size, number) for number in range(count)])]


def _cut_all(batcher: Batcher, cuts: list[Cut], *, now: float) -> None:
    for cut in cuts:
        batcher.forget(cut.lane, cut.count, now=now)


@pytest.mark.parametrize(("lane", "age_seconds"), [("bulk", 1.0), ("express", 0.25)])
def test_age_ends_an_envelope_however_small(lane: Lane, age_seconds: float) -> None:
    """Nothing waits longer than its lane allows."""
    batcher = Batcher(LIMITS, now=0)
    batcher.add(lane, _lines(1), now=10.0)
    assert batcher.due(10.0 + age_seconds - 0.01) == []
    assert batcher.due_at(10.1) == 10.0 + age_seconds
    [cut] = batcher.due(10.0 + age_seconds)
    assert (cut.lane, cut.count) == (lane, 1)


def test_a_busy_express_lane_is_quicker() -> None:
    """More than ten suppressing events a second: envelopes every 50 ms are worth their price then."""
    batcher = Batcher(LIMITS, now=0)
    batcher.add("express", _lines(20), now=10.0)
    assert [cut.count for cut in batcher.due(10.05)] == [20]
    _cut_all(batcher, batcher.due(10.05), now=10.05)
    batcher.add("express", _lines(1), now=20.0)
    assert batcher.due(20.05) == []


def test_a_count_ends_an_envelope() -> None:
    """Small events must not make an envelope that takes a service for ever."""
    batcher = Batcher(LIMITS, now=0)
    batcher.add("bulk", _lines(2_500, size=10), now=0.0)
    assert [cut.count for cut in batcher.due(0.0)] == [1_000, 1_000]


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_backlog_halves_with_every_commit(size: int) -> None:
    """By count or by bytes: cutting a few at once would let memory grow where events come faster than that."""
    batcher = Batcher(replace(LIMITS, envelope_events_max=10), now=0)
    batcher.add("bulk", _lines(1_000, size=size), now=0.0)
    held: list[int] = [batcher.raw_bytes]
    while batcher.count > 100:
        _cut_all(batcher, batcher.due(0.0), now=0.0)
        held.append(batcher.raw_bytes)
    assert len(held) <= 6
    assert all(after <= 0.6 * before for before, after in pairwise(held))


def test_bytes_end_an_envelope_and_the_batcher_learns_how_lines_compress() -> None:
    """It begins carefully; what it learns makes envelopes larger, up to what the queue takes."""
    batcher = Batcher(replace(LIMITS, envelope_events_max=1_000_000), now=0)
    batcher.add("bulk", _lines(5_000, size=1_000), now=0.0)
    first = batcher.due(0.0)[0]
    assert sum(len(line) + 1 for _, lines in first.runs for line in lines) < 256 * 1024 / 0.3
    for _ in range(40):
        batcher.learn("bulk", raw_bytes=1_000, packed_bytes=100)
    learned = batcher.due(0.0)[0]
    assert 2 * first.count < learned.count
    assert sum(len(line) + 1 for _, lines in learned.runs for line in lines) * 0.1 < 256 * 1024


def test_a_line_longer_than_an_envelope_still_leaves() -> None:
    """At least one event in each."""
    batcher = Batcher(replace(LIMITS, envelope_bytes=1_024), now=0)
    batcher.add("bulk", _lines(2, size=100_000), now=0.0)
    assert [cut.count for cut in batcher.due(0.0)] == [1, 1]


def test_a_quiet_hose_gives_a_sign_of_life() -> None:
    """An empty envelope in the bulk lane a minute after the last one of that lane."""
    batcher = Batcher(LIMITS, now=0)
    assert batcher.due(59.9) == []
    [cut] = batcher.due(60.0)
    assert (cut.lane, cut.count, batcher.due_at(59.0)) == ("bulk", 0, 60.0)
    batcher.forget("bulk", 0, now=60.0)
    assert batcher.due(119.9) == []


def test_due_proposes_the_same_until_told_that_it_is_durable() -> None:
    """A commit that failed is simply proposed again."""
    batcher = Batcher(LIMITS, now=0)
    batcher.add("bulk", _lines(3), now=0.0)
    assert batcher.due(1.0) == batcher.due(1.0)
    assert batcher.count == 3
    _cut_all(batcher, batcher.due(1.0), now=1.0)
    assert (batcher.due(2.0), batcher.count, batcher.raw_bytes) == ([], 0, 0)


@given(st.integers(0, 2**32))
def test_every_event_leaves_once_and_in_order(seed: int) -> None:
    """Whatever comes in whatever portions, and whichever commits fail."""
    rng = random.Random(seed)
    limits = replace(LIMITS, envelope_events_max=rng.choice([3, 50, 1_000]), envelope_bytes=rng.choice([1_024, 4_096]))
    batcher = Batcher(limits, now=0)
    added: list[bytes] = []
    left: list[bytes] = []
    now = 0.0
    for _ in range(30):
        now += rng.random()
        runs = [
            (
                rng.choice(["open", "click"]),
                [b"%d %b" % (len(added) + at, b"x" * rng.randrange(300)) for at in range(count)],
            )
            for count in rng.choices(range(1, 40), k=rng.randrange(1, 3))
        ]
        added += chain.from_iterable(lines for _, lines in runs)
        batcher.add("bulk", runs, now=now)
        cuts = batcher.due(now)
        if rng.random() < 0.7:
            left += [line for cut in cuts for _, lines in cut.runs for line in lines]
            _cut_all(batcher, cuts, now=now)
    cuts = batcher.due(now, everything=True)
    left += [line for cut in cuts for _, lines in cut.runs for line in lines]
    _cut_all(batcher, cuts, now=now)
    assert left == added
    assert (batcher.count, batcher.raw_bytes) == (0, 0)


def test_what_is_taken_back_is_in_no_envelope() -> None:
    """As if it had never come; what was there before stays."""
    batcher = Batcher(LIMITS, now=0)
    batcher.add("bulk", _lines(3), now=0.0)
    before = (batcher.count, batcher.raw_bytes)
    batcher.add("bulk", _lines(5), now=0.0)
    batcher.take_back("bulk")
    assert (batcher.count, batcher.raw_bytes) == before
    assert [cut.count for cut in batcher.due(0.0, everything=True)] == [3]
