"""cost: requests and dollars of a stream, by SQS's rules."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_etl import cost
from omni_etl.cost import Cutting, Prices, Stream
from omni_etl.demo.life import events
from omni_etl.envelope import Stamp, pack
from omni_etl.event import check
from omni_etl.queue import entry_bytes

CUTTING = Cutting(
    envelope_bytes=262_144,
    envelope_events_max=20_000,
    bulk_age_seconds=1.0,
    express_age_seconds=0.2,
    express_age_idle_seconds=0.25,
    express_busy_events_per_second=10.0,
    heartbeat_seconds=60.0,
    lease_seconds=30,
    services_count=4,
)
PRICES = cost.PRICES["us-east-1"]
FULL_DAY = 40_000 * cost.DAY_SECONDS


def test_steps_of_the_price_are_paid_one_after_another() -> None:
    """The first hundred milliards at forty cents a million, what is beyond them at less."""
    assert PRICES.usd(1e6) == pytest.approx(0.40)
    assert PRICES.usd(100e9) == pytest.approx(40_000)
    assert PRICES.usd(250e9) == pytest.approx(40_000 + 30_000 + 12_000)


def test_one_event_messages_pay_three_requests_each() -> None:
    """Sent, received and deleted; ten in a call, which is less than one unit, a tenth of it."""
    stream = Stream(1e6)
    assert cost.one_event_bill(stream, PRICES).usd_per_million_events == pytest.approx(1.20)
    assert cost.one_event_bill(stream, PRICES, batch_count=10).usd_per_million_events == pytest.approx(0.12)


def test_a_full_envelope_is_paid_by_started_units() -> None:
    """A quarter of a MiB is four units to send and four to receive; the delete carries nothing."""
    lane = cost.bulk_lane(Stream(FULL_DAY), CUTTING)
    assert lane.requests_each == 4
    assert lane.events_each == pytest.approx(262_144 * 0.9 / cost.BYTES_PER_EVENT)
    assert lane.requests == pytest.approx(lane.envelopes * 9)


def test_a_busy_express_lane_is_cut_by_age() -> None:
    """Nearly five envelopes a second from each hose, whatever they hold: its price goes with hoses, not with events."""
    for events_per_day in (FULL_DAY, FULL_DAY * 2):
        lane = cost.express_lane(Stream(events_per_day), CUTTING)
        assert lane.envelopes == pytest.approx(5 * cost.DAY_SECONDS, rel=0.01)
        assert lane.requests == pytest.approx(3 * lane.envelopes)
    many = cost.express_lane(Stream(FULL_DAY, hoses=4), CUTTING)
    assert many.envelopes == pytest.approx(20 * cost.DAY_SECONDS, rel=0.05)
    assert cost.busy_express_usd_per_hose_month(CUTTING, PRICES) == pytest.approx(5 * 86_400 * 30 * 3 * 0.4e-6)


def test_a_quiet_express_lane_waits_longer() -> None:
    """Below the rate that counts as busy, the idle age holds."""
    stream = Stream(5 / cost.EXPRESS_SHARE * cost.DAY_SECONDS)
    assert cost.express_lane(stream, CUTTING).events_each == pytest.approx(5 * 0.25 + 1)


def test_who_sends_nothing_still_pays_signs_of_life_and_polls() -> None:
    """One empty envelope a minute from each hose, one empty poll of each queue every twenty seconds from each parent."""
    bill = cost.envelopes_bill(Stream(1, hoses=2, parents=3), CUTTING, PRICES)
    assert bill.requests["bulk"] == pytest.approx(2 * 1440 * 3)
    assert bill.requests["empty polls"] == pytest.approx(3 * 6 * 4320)


def test_renewals_follow_the_lease() -> None:
    """A shorter lease is renewed more often."""
    seconds = {30: 0.0, 10: 0.0}
    for lease_seconds in seconds:
        cutting = replace(CUTTING, lease_seconds=lease_seconds)
        seconds[lease_seconds] = cost.envelopes_bill(Stream(1e9), cutting, PRICES).requests["renewals"]
    assert seconds[10] == pytest.approx(3 * seconds[30])
    assert seconds[30] > 0


def test_at_full_rate_a_million_events_cost_less_than_half_a_cent() -> None:
    """And hundreds of times less than by one-event messages."""
    stream = Stream(FULL_DAY)
    ours = cost.envelopes_bill(stream, CUTTING, PRICES)
    assert ours.usd_per_million_events < 0.005
    assert cost.one_event_bill(stream, PRICES).usd_per_day > 300 * ours.usd_per_day
    assert ours.usd_per_day * 30 == pytest.approx(ours.usd_per_month)
    assert sum(map(ours.share_usd_per_month, ours.requests)) == pytest.approx(ours.usd_per_month)


@given(st.floats(1, 1e12), st.integers(1, 1000), st.floats(1, 3000))
def test_whatever_is_asked_has_an_answer(events_per_day: float, hoses: int, bytes_per_event: float) -> None:
    """Envelopes hold at least one event and never more than fits; more hoses never cost less."""
    stream = Stream(events_per_day, hoses, bytes_per_event=bytes_per_event)
    bulk, express = cost.bulk_lane(stream, CUTTING), cost.express_lane(stream, CUTTING)
    assert 0 <= bulk.events_each <= CUTTING.envelope_events_max
    assert 1 <= express.events_each <= CUTTING.envelope_events_max
    assert {bulk.requests_each, express.requests_each} <= {1, 2, 3, 4}
    bill = cost.envelopes_bill(stream, CUTTING, PRICES)
    assert math.isfinite(bill.usd_per_million_events)
    assert bill.usd_per_month > 0


def test_the_measured_sizes_are_those_of_the_demo() -> None:
    """Events by themselves and the share that may suppress; the size in an envelope is an upper bound within reach."""
    lines = list(events(20_000, seed=1, now=1_790_000_000.0))
    assert sum(map(len, lines)) / len(lines) == pytest.approx(cost.EVENT_BYTES, rel=0.02)
    checked = [each for line in lines if (each := check(line)) is not None]
    assert len(checked) == len(lines)
    assert sum(each.suppresses for each in checked) / len(lines) == pytest.approx(cost.EXPRESS_SHARE, abs=0.003)
    by_type: dict[str, list[bytes]] = {}
    for each in checked[:2200]:
        by_type.setdefault(each.type, []).append(each.line)
    sealed = pack(by_type, Stamp("0" * 32, "bulk", 1, 0, last_seq={"bulk": 1}, accepted_count=2200))
    assert 0.5 * cost.BYTES_PER_EVENT < entry_bytes(sealed) / 2200 < 1.05 * cost.BYTES_PER_EVENT
    assert len(sealed.header) < cost.HEADER_BYTES


def test_a_price_table_of_ones_own_counts() -> None:
    """One step without an end is a flat price."""
    assert Prices("here", ((math.inf, 1.0),), "us").usd(5e6) == 5.0
