"""How fast the steps are that every event goes through, on one core of this machine.

Each step runs several times in turn with the others (interleaved, because machines are not steady); the table shows the
best and the worst run. It says nothing about the whole way: `omni demo --events 500000` does.
"""

import json
import os
import platform
import time
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import orjson
from rich.console import Console
from rich.progress import track
from rich.table import Table

from omni_etl import event
from omni_etl.demo.life import events
from omni_etl.envelope import Stamp, open_header, open_payload, pack

EVENTS_COUNT = 30_000
ROUNDS_COUNT = 5
ENVELOPE_EVENTS_COUNT = 3_000  # what fits 256 KiB, roughly
NOW = 1_764_000_000.0
RESULTS = Path(__file__).parent / "results.json"


def main() -> None:
    """Run, show, write."""
    lines = list(events(EVENTS_COUNT, seed=1, now=NOW))
    grouped = [
        _by_type(lines[start : start + ENVELOPE_EVENTS_COUNT]) for start in range(0, len(lines), ENVELOPE_EVENTS_COUNT)
    ]
    stamp = Stamp("0" * 32, "bulk", 1, int(NOW * 1000), last_seq={"bulk": 1}, accepted_count=EVENTS_COUNT)
    sealed = [pack(each, stamp) for each in grouped]
    steps: dict[str, Callable[[], object]] = {
        "generate (demo)": lambda: sum(1 for _ in events(EVENTS_COUNT, seed=1, now=NOW)),
        "check (intake)": lambda: [event.check(line) for line in lines],
        "pack (hose)": lambda: [pack(each, stamp) for each in grouped],
        "open (child)": lambda: [open_payload(open_header(each.header), each.payload) for each in sealed],
    }
    rates: dict[str, list[float]] = {name: [] for name in steps}
    for _ in track(range(ROUNDS_COUNT), description="rounds"):
        for name, step in steps.items():
            rates[name].append(_events_per_second(step))
    payload_bytes = sum(len(each.payload) for each in sealed)
    sizes = {"event_bytes": sum(map(len, lines)) / EVENTS_COUNT, "packed_event_bytes": payload_bytes / EVENTS_COUNT}
    _show(rates, sizes)
    machine = {"python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count()}
    results = {
        "machine": machine,
        "sizes": sizes,
        "events_per_second": {name: sorted(each) for name, each in rates.items()},
    }
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


def _by_type(lines: list[bytes]) -> dict[str, list[bytes]]:
    def type_of(line: bytes) -> str:
        name: str = orjson.loads(line)["type"]
        return name

    return {name: list(group) for name, group in groupby(sorted(lines, key=type_of), key=type_of)}


def _events_per_second(step: Callable[[], object]) -> float:
    before = time.perf_counter()
    step()
    return EVENTS_COUNT / (time.perf_counter() - before)


def _show(rates: dict[str, list[float]], sizes: dict[str, float]) -> None:
    table = Table(
        "step", "events/s, best", "worst", "µs an event, best", title=f"{EVENTS_COUNT:,} events, {ROUNDS_COUNT} rounds"
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for name, each in rates.items():
        table.add_row(name, f"{max(each):,.0f}", f"{min(each):,.0f}", f"{1e6 / max(each):.2f}")
    console = Console()
    console.print(table)
    console.print(f"{sizes['event_bytes']:,.0f} bytes an event, {sizes['packed_event_bytes']:,.0f} packed")


if __name__ == "__main__":
    main()
