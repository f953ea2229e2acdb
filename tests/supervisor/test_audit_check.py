"""audit_check: an audit now and then, by one of many parents, whose two numbers stand in the registry."""

import asyncio
import random
from typing import Any

import pytest
from structlog.testing import capture_logs

from omni_etl.audit import AUDITED, LATE_SECONDS, Finding, Report
from omni_etl.clock import ManualClock
from omni_etl.errors import UnavailableError
from omni_etl.registry import RoleReport
from omni_etl.supervisor.audit_check import REST, AuditCheck, CheckLimits

LIMITS = CheckLimits(every_seconds=300, window_hours=24)


class Scene:
    """Audits that find what a test wants, and a registry that keeps reports."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.findings: list[Finding] = []
        self.error: Exception | None = None
        self.since: list[int] = []
        self.takes_seconds = 0.0
        self.kept: list[RoleReport] = []

    def check(self, limits: CheckLimits = LIMITS) -> AuditCheck:
        """One parent's."""
        anything: Any = self
        return AuditCheck(anything, registry=anything, limits=limits, clock=self.clock, rng=random.Random(1))

    async def audit(self, since_ms: int, *, late_seconds: int = LATE_SECONDS) -> Report:
        """What is to be found."""
        del late_seconds
        self.since.append(since_ms)
        self.clock.advance(self.takes_seconds)
        if self.error is not None:
            raise self.error
        return Report(since_ms, 0, missing_envelopes=len(self.findings), findings=self.findings)

    async def report(self, role: str, instance: str, state: dict[str, Any]) -> None:
        """Replace it."""
        self.kept = [RoleReport(role, instance, int(self.clock.now() * 1000), state)]

    async def reports(self) -> list[RoleReport]:
        """All."""
        return self.kept


async def turns(scene: Scene, check: AuditCheck, seconds: float) -> list[Any]:
    """Let it run for so long; what it logged."""
    with capture_logs() as logs:
        task = asyncio.create_task(check.run())
        for _ in range(int(seconds / 10)):
            for _ in range(5):
                await asyncio.sleep(0)
            scene.clock.advance(10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return logs


async def test_what_is_found_stands_in_the_registry() -> None:
    """With how far back it looked; and is logged once, as long as it stays the same."""
    scene = Scene()
    scene.findings = [Finding("metrics", "h-bulk-3", "missing", None, "")]
    logs = await turns(scene, scene.check(), 1500)
    assert len(scene.since) >= 4
    [kept] = scene.kept
    assert (kept.role, kept.state) == (
        AUDITED,
        {
            "missing_envelopes": 1,
            "doubled_events": 0,
            "window_hours": 24,
            "findings": ["metrics h-bulk-3: missing"],
        },
    )
    assert [each["event"] for each in logs] == ["audit_found"]
    assert scene.since[0] <= scene.clock.now() * 1000 - 24 * 3_600_000


async def test_one_parent_is_enough() -> None:
    """Another that finds a fresh word looks no further."""
    scene = Scene()
    await scene.check().check()
    await scene.check().check()
    assert len(scene.since) == 1
    scene.clock.advance(300)
    await scene.check().check()
    assert len(scene.since) == 2


async def test_nobody_looks_who_is_not_to() -> None:
    """Zero is never."""
    scene = Scene()
    await scene.check(CheckLimits(0, 24)).run()
    assert scene.since == []


@pytest.mark.parametrize(
    ("error", "said"), [(UnavailableError("no store"), "audit_waiting"), (ZeroDivisionError(), "audit_failed")]
)
async def test_an_audit_that_fails_stops_nothing(error: Exception, said: str) -> None:
    """It is said once, no number is told, and the next look may succeed."""
    scene = Scene()
    scene.error = error
    check = scene.check()
    logs = await turns(scene, check, 1500)
    assert [each["event"] for each in logs] == [said]
    assert scene.kept == []
    scene.error = None
    assert await turns(scene, check, 600) == []
    assert len(scene.kept) == 1


async def test_a_long_look_rests_long() -> None:
    """An audit that takes a minute is made every half hour."""
    scene = Scene()
    scene.takes_seconds = 60
    await turns(scene, scene.check(), 60 * REST)
    assert len(scene.since) <= 3
