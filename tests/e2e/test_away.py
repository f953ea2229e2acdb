"""One service away for minutes on real processes: nobody else notices, and nothing is lost (OMNI_AWAY_SECONDS for longer)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Literal

import pytest
from tests.e2e.system import Customer, Load, System, assert_all_landed, customer, up, wait_until, watch_everything

AWAY_SECONDS = float(os.environ.get("OMNI_AWAY_SECONDS", "30"))
EVENTS = 500  # at a time
LANES_MAX = 16  # envelopes: what is under way, and not what waits
AWAY = "metrics"

pytestmark = [pytest.mark.e2e, pytest.mark.engines, pytest.mark.timeout(AWAY_SECONDS + 240)]


@dataclass
class Outside:
    """A producer, and what it sees of the others."""

    system: System
    receiver: Customer
    loads: list[Load] = field(default_factory=list)
    lanes_max: int = 0
    sided_max: int = 0
    sided_elsewhere: int = 0

    @property
    def accepted(self) -> int:
        """Events so far."""
        return sum(load.accepted for load in self.loads)

    def turn(self) -> float:
        """Some events more; seconds until they are searchable and the customer has them."""
        load = Load(self.system.places["hose_url"], EVENTS, seed=len(self.loads)).start()
        load.join()
        self.loads.append(load)
        began = time.monotonic()  # noqa: TID251 real processes have real time
        wait_until(self._others_have_all, "searchable and delivered", self.system.status)
        return time.monotonic() - began  # noqa: TID251 see above

    def look(self) -> None:
        """At the queues."""
        queues = self.system.status()["queues"]
        waiting = {name: depth["ready"] + depth["leased"] for name, depth in queues.items()}
        self.lanes_max = max(self.lanes_max, waiting["express"] + waiting["bulk"])
        self.sided_max = max(self.sided_max, waiting[f"siding-{AWAY}"])
        self.sided_elsewhere += sum(
            count for name, count in waiting.items() if name.startswith("siding-") and name != f"siding-{AWAY}"
        )

    def counted(self) -> int:
        """Events in metrics."""
        return sum(self.system.totals().metrics_by_type.values())

    def figures(self, queue: str, before: list[float], meanwhile: list[float]) -> str:
        """For whoever runs it."""
        return (
            f"\n{queue}: {AWAY} away for {AWAY_SECONDS:g} s, {EVENTS * len(meanwhile)} events; seconds to the others, median (most): "
            f"{median(before):.2f} ({max(before):.2f}) before, {median(meanwhile):.2f} ({max(meanwhile):.2f}) meanwhile; "
            f"at most {self.lanes_max} envelopes in the lanes, {self.sided_max} in the siding"
        )

    def _others_have_all(self) -> bool:
        [[stored]] = self.system.rows("SELECT count() FROM message_events WHERE marker_key = ''")
        return min(int(stored), self.receiver.receipts()["events"]) >= self.accepted


@pytest.mark.parametrize("queue", ["sqlite", "sqs"])
def test_a_service_that_is_away_holds_up_no_other(
    queue: Literal["sqlite", "sqs"], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others are as soon as before, the lanes do not grow, all of it lies in one siding; then it drains, and every figure agrees."""
    wait = {"OMNI_WAIT_BEYOND_OTHERS_SECONDS": "5"}  # for one service, then its siding
    with up(tmp_path, queue=queue, **wait) as system, customer() as receiver:
        watch_everything(system, receiver.target)
        outside = Outside(system, receiver)
        before = [outside.turn() for _ in range(5)]
        wait_until(lambda: outside.counted() == outside.accepted, "all is counted")
        counted = outside.accepted
        with refusing_inserts(system):
            meanwhile = []
            until = time.monotonic() + AWAY_SECONDS  # noqa: TID251 real processes have real time
            while time.monotonic() < until:  # noqa: TID251 see above
                meanwhile.append(outside.turn())
                outside.look()
            assert outside.counted() == counted, "it was not away"
        with capsys.disabled():
            print(outside.figures(queue, before, meanwhile))  # noqa: T201 the figures are wanted
        assert outside.lanes_max <= LANES_MAX
        assert outside.sided_max >= len(meanwhile)
        assert not outside.sided_elsewhere
        assert_all_landed(system, receiver, outside.loads)
        wait_until(lambda: system.status()["queues"][f"siding-{AWAY}"]["ready"] == 0, "the siding is empty")


@contextmanager
def refusing_inserts(system: System) -> Iterator[None]:
    """The store takes nothing into the table of this service, as where too many parts wait to be merged."""
    settings = "parts_to_throw_insert = 1, parts_to_delay_insert = 1000"
    system.rows(f"ALTER TABLE {AWAY} MODIFY SETTING {settings}")
    try:
        yield
    finally:
        names = ", ".join(each.partition(" =")[0] for each in settings.split(", "))
        system.rows(f"ALTER TABLE {AWAY} RESET SETTING {names}")
