"""The check that goes on by itself: an audit every few minutes, by one parent of the fleet, its two numbers in the registry.

The API tells them to Prometheus. What was found is logged when it changes, so a wound is one line and not one every few minutes.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from omni_etl import telemetry
from omni_etl.audit import AUDITED, Audits
from omni_etl.clock import Clock
from omni_etl.errors import OmniError
from omni_etl.registry import Registry

INSTANCE: Final = "whichever parent"  # one word for the fleet: whoever checks replaces it
NAMED_MAX: Final = 10
REST: Final = 30  # times as long as a look took
HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class CheckLimits:
    """How often, and how far back."""

    every_seconds: float  # 0: never
    window_hours: int


class AuditCheck:
    """A parent's part in it: it looks where nobody has for a while."""

    def __init__(
        self, audits: Audits, *, registry: Registry, limits: CheckLimits, clock: Clock, rng: random.Random
    ) -> None:
        self._audits = audits
        self._registry = registry
        self._limits = limits
        self._clock = clock
        self._rng = rng
        self._took_seconds = 0.0
        self._said: object = []  # what was found last, or why nothing could be
        self._log = telemetry.get_logger()

    async def run(self) -> None:
        """Check for ever; cancelled at stop. Nothing that goes wrong here stops the parent."""
        while self._limits.every_seconds:
            # Not all parents at once: the first that looks spares the others.
            await self._clock.sleep(self._pause_seconds() * self._rng.uniform(0.5, 1.0))
            try:
                await self.check()
            except OmniError as error:
                if self._is_new("away"):
                    self._log.warning("audit_waiting", reason=str(error))
            except Exception:  # noqa: BLE001 logged whole; an auditor that fails must not stop the work
                if self._is_new("failed"):
                    self._log.exception("audit_failed")

    async def check(self) -> None:
        """Once, unless another parent did lately."""
        now_ms = int(self._clock.now() * 1000)
        fresh_ms = now_ms - int(self._pause_seconds() * 1000 / 2)
        if any(each.role == AUDITED and each.seen_at_ms > fresh_ms for each in await self._registry.reports()):
            return
        started = self._clock.monotonic()
        report = await self._audits.audit(now_ms - self._limits.window_hours * HOUR_MS)
        self._took_seconds = self._clock.monotonic() - started
        found = [f"{each.service} {each.key}: {each.what}" for each in report.findings[:NAMED_MAX]]
        state = {
            "missing_envelopes": report.missing_envelopes,
            "doubled_events": report.doubled_events,
            "window_hours": self._limits.window_hours,
            "findings": found,
        }
        await self._registry.report(AUDITED, INSTANCE, state)
        if self._is_new(found) and found:
            counts = {name: state[name] for name in ("missing_envelopes", "doubled_events")}
            self._log.critical("audit_found", **counts, findings=found)

    def _pause_seconds(self) -> float:
        """Longer where a look takes long: what it costs the engines stays a small share."""
        return max(self._limits.every_seconds, self._took_seconds * REST)

    def _is_new(self, said: object) -> bool:
        before, self._said = self._said, said
        return said != before
