"""wiring.totals: what the store holds, read back from the tables."""

from tests.builders import envelope, line
from tests.wiring.conftest import Make

from omni_etl.clock import SystemClock
from omni_etl.service import Deadline
from omni_etl.wiring import message_events, metrics
from omni_etl.wiring.stores import build_store
from omni_etl.wiring.totals import StoreTotals, read_totals


async def test_totals_are_what_the_services_wrote(make_settings: Make, store_url: str) -> None:
    """Marker rows do not count, an envelope applied twice counts once, and types are told apart."""
    mine = make_settings(store_url=store_url)
    store = build_store(mine)
    await store.open()
    assert await read_totals(store) == StoreTotals(0, {})
    clock = SystemClock()
    lines = [line("delivery", rcpt_to="a@example.com"), line("delivery", rcpt_to="b@example.com"), line("open")]
    for build in (metrics.build, message_events.build):
        service = build(mine)
        await service.open()
        for _ in range(2):
            found = envelope(lines, cut_at_ms=int(clock.now() * 1000))
            await service.apply(found, Deadline(clock, clock.monotonic() + 60))
        await service.close()
    assert await read_totals(store) == StoreTotals(3, {"delivery": 2, "open": 1})
    await store.close()
