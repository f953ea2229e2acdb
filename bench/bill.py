"""The bill: what SQS charges for a million events, from the bytes an event was measured to have and `omni cost`'s own sums."""

from __future__ import annotations

from typing import Final

from omni_etl import cost, settings

EVENTS_PER_DAY: Final = 1e9  # a large sender's day; what is fixed weighs little there, and envelopes are full
REGION: Final = "us-east-1"


def usd_per_million_events(bytes_per_event: float) -> dict[str, float]:
    """Of our envelopes, and of one-event messages alone and ten to a call; the keys are those of results.json."""
    stream = cost.Stream(EVENTS_PER_DAY, bytes_per_event=bytes_per_event)
    prices = cost.PRICES[REGION]
    bills = {
        "usd_per_million_events": cost.envelopes_bill(stream, _cutting(), prices),
        "usd_per_million_events_one_event_messages": cost.one_event_bill(stream, prices),
        "usd_per_million_events_one_event_messages_batched": cost.one_event_bill(
            stream, prices, batch_count=cost.BATCH_COUNT
        ),
    }
    return {name: bill.usd_per_million_events for name, bill in bills.items()}


def _cutting() -> cost.Cutting:
    mine = settings.load()
    names = [name for name in cost.Cutting.__dataclass_fields__ if name != "services_count"]
    return cost.Cutting(**{name: getattr(mine, name) for name in names}, services_count=len(mine.service_names))
