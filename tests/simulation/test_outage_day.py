"""The day of a customer's outage, a few minutes of it: counters, bytes and memory as computed, everything drained or counted."""

from pathlib import Path

from tests.simulation.outage_day import ENVELOPE_EVENTS, HOUR, SHARE_KEPT, STEP_SECONDS, day


async def test_some_minutes_of_the_day(tmp_path: Path) -> None:
    """At 1,000 events/s; what the limit leaves is what was computed, what came is delivered or counted as dropped."""
    for name in ("one", "day"):
        (tmp_path / name).mkdir()
    hours = 0.05
    told = await day(tmp_path, hours=hours, say=False)
    steps = int(hours * HOUR / STEP_SECONDS)
    assert told.waiting_events_max in range(int((SHARE_KEPT * steps - 1) * ENVELOPE_EVENTS), steps * ENVELOPE_EVENTS)
    assert told.dropped_events > 0
    assert told.delivered_events + told.dropped_events == told.events
    assert (told.repeated_batches, told.attempts_refused > 10) == (0, True)
    assert told.drain_seconds < 900
