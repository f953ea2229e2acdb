"""GET /api/v1/audit: what `omni audit --json` prints, for a key that may everything; and the two numbers for Prometheus."""

from pathlib import Path
from typing import Any

import pytest
from tests.api.server import Api, running

from omni_etl.audit import LATE_SECONDS, Account, Finding, Report
from omni_etl.errors import SettingsError, UnavailableError

DAY_MS = 86_400_000


class Audits:
    """Finds one thing."""

    def __init__(self) -> None:
        self.since: list[int] = []
        self.error: Exception | None = None
        self.state: dict[str, Any] | None = {"missing_envelopes": 3, "doubled_events": 7, "window_hours": 24}

    async def audit(self, since_ms: int, *, late_seconds: int = LATE_SECONDS) -> Report:
        """It."""
        assert late_seconds == LATE_SECONDS
        if self.error is not None:
            raise self.error
        self.since.append(since_ms)
        finding = Finding("metrics", "h-bulk-1", "missing", None, "Look.")
        return Report(since_ms, 5, 1, services={"metrics": Account(done=2, missing=1)}, findings=[finding])

    async def last(self) -> dict[str, Any] | None:
        """As a parent left it."""
        if self.error is not None:
            raise self.error
        return self.state


async def keyed(api: Api, **how: Any) -> Api:
    """With a key of its own."""
    api.key = await api.parts.keys.create("test", **how)
    return api


async def test_the_report_is_what_the_audit_says(tmp_path: Path) -> None:
    """Since a day ago, or since when it is asked."""
    audits = Audits()
    async with running(tmp_path, audits=audits) as api:
        await keyed(api)
        body = (await api.call("GET", "/api/v1/audit")).body["results"]
        assert (body["missing_envelopes"], body["services"]["metrics"]["missing"]) == (1, 1)
        assert body["findings"][0] == {
            "service": "metrics",
            "key": "h-bulk-1",
            "what": "missing",
            "events": None,
            "do": "Look.",
        }
        await api.call("GET", "/api/v1/audit?since=7d")
        now_ms = api.clock.now() * 1000
        assert audits.since == [now_ms - DAY_MS, now_ms - 7 * DAY_MS]
        refused = await api.call("GET", "/api/v1/audit?since=yesterday")
        assert (refused.status, refused.error) == (400, "'since' must be 24h, 90m, 7d, or a time in ISO 8601")


async def test_only_who_may_everything_may_audit(tmp_path: Path) -> None:
    """It tells of all subaccounts."""
    async with running(tmp_path, audits=Audits()) as api:
        assert (await api.call("GET", "/api/v1/audit", headers={"Authorization": ""})).status == 401
        await keyed(api, grants=["metrics/view"])
        assert (await api.call("GET", "/api/v1/audit")).status == 403


@pytest.mark.parametrize(
    "error", [UnavailableError("no store"), SettingsError("OMNI_STORE_URL", "nothing", "Name one.")]
)
async def test_what_cannot_be_read_is_not_vouched_for(tmp_path: Path, error: Exception) -> None:
    """503, never half a report."""
    audits = Audits()
    audits.error = error
    async with running(tmp_path, audits=audits) as api:
        await keyed(api)
        assert (await api.call("GET", "/api/v1/audit")).status == 503


async def test_two_numbers_are_told_while_somebody_audits(tmp_path: Path) -> None:
    """Absent where the last word is old, or the database is away: no 0 that nobody vouches for."""
    audits = Audits()
    async with running(tmp_path, audits=audits) as api:

        async def numbers() -> list[str]:
            text = (await api.call("GET", "/metrics")).body
            return [line for line in text.splitlines() if line.startswith("omni_audit")]

        assert await numbers() == [
            'omni_audit_missing_envelopes{hours="24"} 3.0',
            'omni_audit_doubled_events{hours="24"} 7.0',
        ]
        audits.state = None
        assert await numbers() == []
        audits.state, audits.error = (
            {"missing_envelopes": 0, "doubled_events": 0, "window_hours": 24},
            UnavailableError(""),
        )
        assert await numbers() == []
