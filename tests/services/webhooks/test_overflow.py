"""services.webhooks.overflow: what goes is said, and not a thousand times."""

from structlog.testing import capture_logs

from omni_etl.clock import ManualClock
from omni_etl.outbox import Dropped, DueLane, Lane
from omni_etl.services.webhooks.lanes import DeliveryLimits
from omni_etl.services.webhooks.overflow import Overflow

LIMITS = DeliveryLimits(6, 6, attempt_seconds_max=10.0, backlog_bytes_max=100, backlog_seconds_max=60.0)


class Full:
    """An outbox in which each step finds a batch of two too many."""

    def __init__(self) -> None:
        self.asked = 0

    async def drop_overflow(self, webhook_id: str, *, bytes_max: int, cut_after_ms: int) -> Dropped:
        """One."""
        self.asked += 1
        return Dropped(1, 2)


def found(webhook_id: str = "w", *, waiting_bytes: int = 101, due_at_ms: int = 10**12) -> DueLane:
    """With something due."""
    return DueLane(Lane(webhook_id, waiting_bytes=waiting_bytes), due_at_ms, None)


async def test_a_full_backlog_is_said_once_a_minute() -> None:
    """At once, and then with all that went; a day of outage is a thousand lines and not eighty thousand. Nothing is left unsaid."""
    clock, outbox = ManualClock(), Full()
    overflow = Overflow(outbox=outbox, limits=LIMITS, clock=clock)  # type: ignore[arg-type] # the one method that is asked
    with capture_logs() as logs:
        for _ in range(600):
            assert await overflow.limit(found(), 10**12)
            overflow.say()
            clock.advance(1)
        for _ in range(120):
            overflow.say()
            clock.advance(1)
    assert [each["event"] for each in logs] == ["webhook_events_dropped"] * 11
    assert (logs[0]["events"], sum(each["events"] for each in logs)) == (2, 1_200)


async def test_who_has_room_is_left_alone() -> None:
    """Neither too much nor too old; each alone is enough to be."""
    outbox = Full()
    overflow = Overflow(outbox=outbox, limits=LIMITS, clock=ManualClock())  # type: ignore[arg-type] # likewise
    assert not await overflow.limit(found(waiting_bytes=100), 10**12 + 60_000)
    assert not outbox.asked
    assert await overflow.limit(found(waiting_bytes=100), 10**12 + 60_001)
