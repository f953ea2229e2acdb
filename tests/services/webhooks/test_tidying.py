"""services.webhooks.tidying: a step a second, whatever fails."""

import asyncio

import pytest
from tests.services.webhooks.fakes import StumblingOutbox, at_rest, next_sleeper

from omni_etl.clock import ManualClock
from omni_etl.errors import UnavailableError
from omni_etl.services.webhooks.tidying import PAUSE_SECONDS, Tidying


@pytest.mark.parametrize("error", [UnavailableError("away"), KeyError("an error of ours")], ids=["away", "ours"])
async def test_it_goes_on(
    outbox: StumblingOutbox, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """What fails is tried again a second later; delivery beside it hears of nothing."""
    steps: list[float] = []

    async def tidy() -> None:
        steps.append(clock.monotonic())
        if len(steps) == 2:
            raise error

    monkeypatch.setattr(outbox, "tidy", tidy)
    running = asyncio.create_task(Tidying(outbox=outbox, clock=clock).run())
    for _ in range(3):
        await at_rest(outbox.watched)
        clock.advance(next_sleeper(clock))
    await at_rest(outbox.watched)
    running.cancel()
    await asyncio.wait([running])
    assert steps == pytest.approx([0, PAUSE_SECONDS, 2 * PAUSE_SECONDS, 3 * PAUSE_SECONDS], abs=0.01)
