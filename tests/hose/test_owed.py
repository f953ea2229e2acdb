"""hose.owed: what was accepted and never cut."""

from pathlib import Path

from tests.hose.hoses import CUTS, event

from omni_etl.envelope import Lane
from omni_etl.hose.numbers import HoseNumbers
from omni_etl.hose.owed import Owed, Span, last_orders
from omni_etl.hose.records import Accepted, Block, Run, frame, pack_lines
from omni_etl.hose.seal import seal_all
from omni_etl.hose.segments import path_of, place_of


def test_an_envelope_takes_away_exactly_its_own_events() -> None:
    """Whatever of a span it covers; what stands before it may have been in an envelope that was lost."""
    for first, last, left in [
        (1, 10, [(11, 20)]),
        (1, 20, []),
        (5, 5, [(1, 4), (6, 10), (11, 20)]),
        (8, 13, [(1, 7), (14, 20)]),
        (11, 20, [(1, 10)]),
        (21, 20, [(1, 10), (11, 20)]),
    ]:
        owed = Owed()
        owed.accept(Span(1, 10, 0))
        owed.accept(Span(11, 20, 1))
        owed.cut(first, last)
        assert [(span.first, span.last) for span in owed.spans] == left


def test_the_last_envelopes_keep_the_numbers_of_their_events_around_a_hole(tmp_path: Path) -> None:
    """So that a start that dies among them is repeated without loss; then both lanes are closed."""
    offset, owed = 0, Owed()
    with path_of(tmp_path, 1).open("wb") as file:
        for first, count in [(1, 2), (3, 1), (9, 250)]:
            lines = [event(number) for number in range(first, first + count)]
            block = Block(lane="bulk", first=first, runs=(Run("delivery", count),), lines=pack_lines(lines))
            owed.accept(Span(first, first + count - 1, place_of(1, offset)))
            offset += file.write(frame(Accepted(hose_id="h", blocks=(block,), requests=())))
    numbers = HoseNumbers().accept("bulk", 258)
    of_lane: dict[tuple[str, Lane], Owed] = {("h", "bulk"): owed}
    orders = last_orders(tmp_path, of_lane, hoses={"h": numbers}, limits=CUTS)
    sealed, hoses = seal_all(orders, {"h": numbers}, cut_at_ms=1, entry_bytes_max=2_000)
    ends = [(each.record.events_to, each.count) for each in sealed if each.record.lane == "bulk" and each.count]
    assert ends[0] == (3, 3)
    at = 8
    for events_to, count in ends[1:]:
        at += count
        assert events_to == at
    assert (at, len(ends) > 3) == (258, True)
    assert hoses["h"].closed
