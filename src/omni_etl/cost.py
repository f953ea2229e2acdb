"""What Amazon SQS charges for a stream of events: in our envelopes, and with one event in each message.

Pure. SQS charges by request: a call counts once for each started 64 KiB of what it carries, sent or received, and once where
it carries nothing (a delete, a change of visibility, a poll that finds nothing). Every figure is for events that arrive
evenly; wherever calls may be shared, ours are counted as if none were. The free million a month is ignored, and so are data
that leave the region and calls to KMS.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

BYTES_PER_EVENT: Final = 102.0
"""Of an event, header and attribute included, as AWS counts them: the benchmark's, in order of time, 1,100 bytes each."""

EVENT_BYTES: Final = 1_190
"""Of one of `omni demo`'s events by itself, as canonical JSON."""

EXPRESS_SHARE: Final = 0.0146
"""Of `omni demo`'s events, those that may suppress an address and so travel in the express lane."""

HEADER_BYTES: Final = 1_100  # of an envelope with every event type that is not rare
FILL_SHARE: Final = 0.9  # of `OMNI_ENVELOPE_BYTES` that a full envelope has: the batcher estimates, with a margin
HELD_SECONDS: Final = 2.0  # from receive to delete, when nothing is slow
REQUEST_BYTES: Final = 64 * 1024
BATCH_COUNT: Final = 10  # entries in one call of SQS
POLL_SECONDS: Final = 20.0  # the longest that SQS lets a receive wait
DAY_SECONDS: Final = 86_400
MONTH_DAYS: Final = 30
MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Prices:
    """Of standard queues: up to so many requests a month, US dollars a million; the last step has no end (`inf`)."""

    region: str
    steps: tuple[tuple[float, float], ...]
    source: str

    def usd(self, requests_per_month: float) -> float:
        """What so many requests in one month cost."""
        total = begin = 0.0
        for end, usd_per_million in self.steps:
            total += max(0.0, min(requests_per_month, end) - begin) / MILLION * usd_per_million
            begin = end
        return total


PRICES: Final = {
    "us-east-1": Prices(
        "us-east-1",
        ((100e9, 0.40), (200e9, 0.30), (math.inf, 0.24)),
        "March to June 2026, by cloudburn.io and factualminds.com; AWS's own page was not read",
    )
}


@dataclass(frozen=True, slots=True)
class Stream:
    """What is sent."""

    events_per_day: float
    hoses: int = 1
    parents: int = 1
    bytes_per_event: float = BYTES_PER_EVENT


@dataclass(frozen=True, slots=True)
class Cutting:
    """When envelopes are cut, and how they are held: the settings of the same names."""

    envelope_bytes: int
    envelope_events_max: int
    bulk_age_seconds: float
    express_age_seconds: float
    express_age_idle_seconds: float
    express_busy_events_per_second: float
    heartbeat_seconds: float
    lease_seconds: int
    services_count: int


@dataclass(frozen=True, slots=True)
class Lane:
    """The envelopes of one lane in a day, all hoses together."""

    envelopes: float
    events_each: float
    requests_each: int  # to send one; as many again to receive it, and one to delete it

    @property
    def requests(self) -> float:
        """Send, receive, delete, each envelope in calls of its own."""
        return self.envelopes * (2 * self.requests_each + 1)


@dataclass(frozen=True, slots=True)
class Bill:
    """Requests of a day by what they are for, and what that comes to."""

    requests: Mapping[str, float]
    events_per_day: float
    prices: Prices

    @property
    def requests_per_day(self) -> float:
        """All of them."""
        return sum(self.requests.values())

    @property
    def usd_per_month(self) -> float:
        """Of thirty days."""
        return self.prices.usd(self.requests_per_day * MONTH_DAYS)

    @property
    def usd_per_day(self) -> float:
        """A thirtieth of a month, because steps are by the month."""
        return self.usd_per_month / MONTH_DAYS

    @property
    def usd_per_million_events(self) -> float:
        """At this volume: what is fixed weighs more where there is less."""
        return self.usd_per_day / (self.events_per_day / MILLION)

    def share_usd_per_month(self, name: str) -> float:
        """What one kind of requests comes to."""
        return self.usd_per_month * self.requests[name] / self.requests_per_day


def bulk_lane(stream: Stream, cutting: Cutting) -> Lane:
    """Full envelopes, or one for each age; at least a sign of life a minute from each hose."""
    lane = _lane(stream, cutting, (1 - EXPRESS_SHARE), cutting.bulk_age_seconds)
    signs_of_life = stream.hoses * DAY_SECONDS / cutting.heartbeat_seconds
    return lane if lane.envelopes >= signs_of_life else Lane(signs_of_life, 0.0, 1)


def express_lane(stream: Stream, cutting: Cutting) -> Lane:
    """Small envelopes, cut by age: their number hardly depends on the number of events."""
    per_hose = stream.events_per_day * EXPRESS_SHARE / stream.hoses / DAY_SECONDS
    is_busy = per_hose > cutting.express_busy_events_per_second
    return _lane(
        stream, cutting, EXPRESS_SHARE, cutting.express_age_seconds if is_busy else cutting.express_age_idle_seconds
    )


def envelopes_bill(stream: Stream, cutting: Cutting, prices: Prices) -> Bill:
    """What our envelopes cost."""
    bulk, express = bulk_lane(stream, cutting), express_lane(stream, cutting)
    renewals = HELD_SECONDS / (cutting.lease_seconds / 3)  # fewer in truth: a lease younger than a third is not renewed
    polled_queues = 2 + cutting.services_count  # lanes and sidings
    requests = {
        "bulk": bulk.requests,
        "express": express.requests,
        "renewals": (bulk.envelopes + express.envelopes) * renewals,
        # As if no poll ever brought anything: what does bring something is counted with its envelope.
        "empty polls": stream.parents * polled_queues * DAY_SECONDS / POLL_SECONDS,
    }
    return Bill(requests, stream.events_per_day, prices)


def one_event_bill(stream: Stream, prices: Prices, *, batch_count: int = 1) -> Bill:
    """What one-event messages cost, `batch_count` in each call that sends, receives or deletes; no poll of theirs is empty."""
    calls = stream.events_per_day / batch_count
    requests_each = math.ceil(batch_count * EVENT_BYTES / REQUEST_BYTES)
    return Bill(
        {"sends": calls * requests_each, "receives": calls * requests_each, "deletes": calls},
        stream.events_per_day,
        prices,
    )


def busy_express_usd_per_hose_month(cutting: Cutting, prices: Prices) -> float:
    """The fixed price of real time: a hose whose express lane is always busy, whatever its volume."""
    envelopes = MONTH_DAYS * DAY_SECONDS / cutting.express_age_seconds
    return prices.usd(Lane(envelopes, 1, 1).requests)


def _lane(stream: Stream, cutting: Cutting, share: float, age_seconds: float) -> Lane:
    per_second = stream.events_per_day * share / stream.hoses / DAY_SECONDS
    full = min(cutting.envelope_bytes * FILL_SHARE / stream.bytes_per_event, cutting.envelope_events_max)
    # The age counts from the first event of an envelope; the next one after the cut begins another.
    events_each = max(1.0, min(full, per_second * age_seconds + 1))
    envelopes = stream.events_per_day * share / events_each
    envelope_bytes = min(HEADER_BYTES + events_each * stream.bytes_per_event, cutting.envelope_bytes)
    return Lane(envelopes, events_each, math.ceil(envelope_bytes / REQUEST_BYTES))
