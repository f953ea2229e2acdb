"""Outcome: what was sent, what landed, and whether they agree."""

from __future__ import annotations

from dataclasses import dataclass

from rich.table import Column, Table

from omni_etl.demo.expectation import Expectation
from omni_etl.demo.usage import Usage


@dataclass(frozen=True, slots=True)
class Landed:
    """Figures read back from where events landed."""

    message_events: int
    metrics: int
    metrics_by_type: dict[str, int]
    webhook_events: int
    webhook_batches: int
    webhook_repeats: int
    webhook_doubled: int
    webhook_largest: int
    suppressions: int

    def has_all(self, accepted: int) -> bool:
        """Whether nothing is on its way any more; suppressions have no total to wait for, and come first anyway."""
        return min(self.message_events, self.metrics, self.webhook_events) >= accepted


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run."""

    expected: Expectation
    accepted: int
    landed: Landed
    seconds: float

    @property
    def lost(self) -> int:
        """Events and suppressions that should be somewhere and are not."""
        return sum(max(0, wanted - found) for wanted, found in self._pairs())

    @property
    def doubled(self) -> int:
        """Events and suppressions that are somewhere once too often."""
        return self.landed.webhook_doubled + sum(max(0, found - wanted) for wanted, found in self._pairs())

    @property
    def agrees(self) -> bool:
        """Whether every figure is what it should be, type by type."""
        types = {name: count for name, count in self.landed.metrics_by_type.items() if count}
        return (
            self.lost == 0
            and self.doubled == 0
            and self.accepted == self.expected.accepted
            and types == dict(self.expected.types)
        )

    def as_dict(self) -> dict[str, int | float]:
        """The last line of `omni demo`."""
        return {
            "accepted": self.accepted,
            "message_events": self.landed.message_events,
            "metrics": self.landed.metrics,
            "webhook_events": self.landed.webhook_events,
            "webhook_batches": self.landed.webhook_batches,
            "suppressions": self.landed.suppressions,
            "lost": self.lost,
            "doubled": self.doubled,
            "seconds": round(self.seconds, 2),
        }

    def table(self) -> Table:
        """Per type, what was sent and what the metrics hold."""
        table = Table("event type", "sent", "in metrics", title="By type", title_justify="left")
        for name, count in sorted(self.expected.types.items(), key=lambda item: -item[1]):
            found = self.landed.metrics_by_type.get(name, 0)
            table.add_row(name, f"{count:,}", f"{found:,}" if found == count else f"[bold red]{found:,}[/]")
        return table

    def services_table(self) -> Table:
        """Per service, what landed."""
        landed = self.landed
        table = Table("where", "found", "of", title="By service", title_justify="left")
        table.add_row("hose: accepted", f"{self.accepted:,}", f"{self.expected.accepted:,}")
        table.add_row("message_events: rows", f"{landed.message_events:,}", f"{self.accepted:,}")
        table.add_row("metrics: events counted", f"{landed.metrics:,}", f"{self.accepted:,}")
        table.add_row("webhooks: events received", f"{landed.webhook_events:,}", f"{self.accepted:,}")
        table.add_row(
            "webhooks: batches received", f"{landed.webhook_batches:,}", f"at most {landed.webhook_largest} events"
        )
        table.add_row("suppressions: entries", f"{landed.suppressions:,}", f"{len(self.expected.suppressed):,}")
        return table

    def _pairs(self) -> list[tuple[int, int]]:
        return [
            (self.expected.accepted, self.accepted),
            (self.accepted, self.landed.message_events),
            (self.accepted, self.landed.metrics),
            (self.accepted, self.landed.webhook_events),
            (len(self.expected.suppressed), self.landed.suppressions),
        ]


def usage_table(usages: dict[str, Usage], accepted: int) -> Table:
    """What each process cost, from the first request to the last receipt."""
    table = Table(
        Column("process", no_wrap=True),
        "CPU, s",
        "CPU, µs an event",
        "resident, MiB",
        "at most, MiB",
        title="Cost",
        title_justify="left",
    )
    for name, each in sorted(usages.items(), key=lambda item: -item[1].cpu_seconds):
        share = each.cpu_seconds / max(1, accepted) * 1e6
        table.add_row(
            name, f"{each.cpu_seconds:.1f}", f"{share:.1f}", f"{each.resident_mib:.0f}", f"{each.resident_mib_max:.0f}"
        )
    return table
