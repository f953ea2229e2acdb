"""The benchmark itself, on few events."""

from pathlib import Path

import pytest
from bench import end_to_end
from bench.corpus import corpus


@pytest.mark.e2e
async def test_a_run_checks_its_counts_and_knows_what_each_process_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything lands once, and no process of the system is left out of the sum."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    load = corpus(6_000)
    assert sum(len(lines) for lines in load.lines()) == load.events == 6_000
    row = await end_to_end.run(load)
    assert row.events == 6_000
    children = {f"child {name}" for name in ("metrics", "message_events", "suppressions", "webhooks")}
    assert set(row.cpu_us_per_event) == {"hose", "run", "api", "store", "tracker", "customer", "sender", *children}
    assert row.resident_mib_max["tracker"] < row.resident_mib_max["store"]
