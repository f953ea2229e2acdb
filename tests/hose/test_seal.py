"""hose.seal: cuts become envelopes with their numbers."""

import random

from tests.hose.fake_queue import lines_of
from tests.hose.hoses import event

from omni_etl.envelope import open_header
from omni_etl.hose.batcher import Cut
from omni_etl.hose.numbers import HoseNumbers
from omni_etl.hose.seal import Order, seal_all
from omni_etl.queue import entry_bytes


def test_an_envelope_says_its_numbers() -> None:
    """The last number of both lanes, itself included, and what was accepted so far."""
    numbers = HoseNumbers().accept("bulk", 2).accept("express", 5).cut("express", seq=4, events_to=5, closing=False)
    order = Order("h", Cut("bulk", [("open", [event(1), event(2)])]))
    [sealed], hoses = seal_all([order], {"h": numbers}, cut_at_ms=9, entry_bytes_max=10_000)
    header = open_header(sealed.record.header)
    assert (header.key, header.event_count, header.accepted_count) == ("h-bulk-1", 2, 7)
    assert header.last_seq == {"express": 4, "bulk": 1}
    assert (sealed.record.events_to, hoses["h"].bulk.cut_to) == (2, 2)


def test_what_is_too_big_is_split_by_number_until_it_fits() -> None:
    """No envelope above the limit, no event lost, no number skipped, and a closing mark only on the last."""
    rng = random.Random(7)
    lines = [event(number, pad=rng.randbytes(400).hex()) for number in range(64)]
    runs = [
        (name, lines[start : start + 8]) for start, name in zip(range(0, 64, 8), ["open", "click"] * 4, strict=True)
    ]
    before = HoseNumbers().accept("bulk", 64)
    order = Order("h", Cut("bulk", runs, closing=True))
    sealed, hoses = seal_all([order], {"h": before}, cut_at_ms=1, entry_bytes_max=6_000)
    assert len(sealed) >= 8
    assert max(entry_bytes(each.record.envelope) for each in sealed) <= 6_000
    assert [each.record.seq for each in sealed] == list(range(1, len(sealed) + 1))
    assert [each.record.closing for each in sealed] == [False] * (len(sealed) - 1) + [True]
    events_to = 0
    for each in sealed:
        events_from, events_to = events_to, each.record.events_to
        assert sorted(lines_of(each.record.envelope)) == sorted(lines[events_from:events_to])
    assert hoses["h"].bulk.cut_to == 64


def test_one_event_is_never_split() -> None:
    """An envelope of one event may be larger than the setting; the queue's own limit is checked at start."""
    order = Order("h", Cut("bulk", [("open", [event(1, pad=random.Random(1).randbytes(5_000).hex())])]))
    sealed, _ = seal_all([order], {"h": HoseNumbers().accept("bulk", 1)}, cut_at_ms=1, entry_bytes_max=1_000)
    assert len(sealed) == 1
