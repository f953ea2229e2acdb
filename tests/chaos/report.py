"""Report: docs/RELIABILITY.md, written from what runs found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Final

import msgspec
from tests.chaos.faults import KINDS
from tests.chaos.run import Run
from tests.chaos.schedule import TOGETHER_MAX, Struck
from tests.chaos.world import SETTINGS, QueueKind

PAGE: Final = Path(__file__).parents[2] / "docs" / "RELIABILITY.md"
FOUND: Final = Path(__file__).with_name("results.json")
NAMES: Final[dict[QueueKind, str]] = {
    "sqlite": "database queue (SQLite)",
    "sqs": "SQS's protocol (moto behind a strict proxy)",
}

HEAD: Final = """# Reliability

Written by `make chaos` (`make e2e` runs it after its tests); whoever runs it anew replaces it. The whole system runs as real
processes on its embedded engines: hose, parent, four children, API, ClickHouse, Valkey. Producers send the demo's events through the
hose over HTTP and try again with the same Idempotency-Key, as `omni_etl.Hose` does for everybody; one customer subscribes to every
event. Meanwhile a schedule drawn from a seed breaks one thing after another, up to {together} at the same time. Then there is peace, and
everything is counted: by code that shares nothing with the services, over the lines that producers sent.
{verdict}

"""

COUNTS: Final = """
- **Rows** are compared by a digest of each line, byte for byte; a place is a hose, lane, number and line.
- **Metrics** are compared key by key for every roll-up (events, delivery times, bytes), not only in sum as shown here.
- **Suppressions** are compared entry by entry with the fold: the latest event that says so, its time and its id.
- **Webhooks**: the customer writes down every request before it answers, and is killed itself. A batch that comes again after a lost answer
  has the same id and the same bytes, so that it can be told; no event came under two ids.
- **Dead letters**: an envelope over which a child dies {deaths} times is set aside, as it should be. The operator, who is part of this, puts it back with
  `omni dead-letters redrive`: {dead} times here.
"""

FAULTS: Final = """
## Faults survived

For each queue: how often, then the median and the longest time until it was as before. That time begins when the cause is gone (for a kill: at once) and ends
when the part that was hit shows a new effect: an event accepted, an envelope in a ledger, a batch at the customer. A new effect takes
about a second where nothing is wrong. Faults overlap ({beside} of {faults} began before another was forgotten), so a time may hold another fault's.
"Meanwhile" is how many events the hose accepted from the beginning of these faults to their end.

"""

NOT_COVERED: Final = """
## Not covered here

- **Power loss.** Killed processes lose nothing that they wrote; a machine without power may. `tests/e2e/test_power_loss.py` and the simulation
  (`make sim`) drop what no fsync promised.
- **Engines in clusters.** ClickHouse is the embedded one and Valkey a single server. PostgreSQL as queue and database is killed and
  restarted in tests of its own (`make engines`), not here.
- **AWS itself.** SQS is moto behind our proxy, which adds what AWS enforces and does. moto keeps messages in memory, so its own process is not killed: its network is.
- **A data directory that is away as a whole.** Of one file or directory of the database, or of the queue, a role that starts meanwhile knows that
  it was there, and waits. Where everything is away, a start cannot be told from the first: let a service require its mount (`RequiresMountsFor=`).
- **Two hoses, two parents.** `tests/e2e/test_two_parents.py` and the simulation have them.
{left_out}
"""


def page(runs: Sequence[Run]) -> str:
    """The whole page."""
    struck = [each for run in runs for each in run.struck]
    verdict = "**Everything agrees: nothing was lost and nothing doubled.**"
    if not all(run.ok for run in runs):
        verdict = "**Something differs; see the bold figures.**"
    beside = sum(each.beside > 0 for each in struck)
    left_out = [f"**Not on this machine**: {each}" for run in runs for each in run.kinds_left_out]
    left_out += [f"**Not in this run ({run.wish.queue})**: {name}." for run in runs for name in _missing(run)]
    return "".join(
        [
            HEAD.format(together=TOGETHER_MAX, verdict=verdict),
            _run_table(runs),
            "\n## Accepted is everywhere, once\n\n",
            _equality(runs),
            COUNTS.format(deaths="five", dead=sum(run.verdict.dead_letters for run in runs)),
            FAULTS.format(beside=beside, faults=len(struck)),
            _kinds(runs),
            NOT_COVERED.format(left_out="".join(f"- {each}\n" for each in dict.fromkeys(left_out))).rstrip() + "\n",
            _again(runs),
        ]
    )


def write(runs: Sequence[Run]) -> None:
    """Replace the page. Of a queue that was not run now, it shows what was found last."""
    found = msgspec.json.decode(FOUND.read_bytes(), type=dict[QueueKind, Run]) if FOUND.exists() else {}
    found |= {run.wish.queue: run for run in runs}
    FOUND.write_bytes(msgspec.json.format(msgspec.json.encode(found, order="sorted"), indent=1) + b"\n")
    PAGE.write_text(page([found[queue] for queue in NAMES if queue in found]))


def _run_table(runs: Sequence[Run]) -> str:
    rows = [
        ("events accepted", [f"{run.events:,}" for run in runs]),
        ("faults", [f"{len(run.struck)} of {len(run.kinds)} kinds" for run in runs]),
        ("seed", [str(run.wish.seed) for run in runs]),
        ("seconds under faults", [f"{run.load_seconds:,.0f}" for run in runs]),
        ("seconds until nothing was owed", [f"{run.settle_seconds:,.0f}" for run in runs]),
        ("restarts of everything", [str(run.restarts) for run in runs]),
        ("webhook batches received", [f"{run.verdict.webhook_batches:,}" for run in runs]),
        ("of them again, same id and bytes", [f"{run.verdict.webhook_repeats:,}" for run in runs]),
        ("requests that the customer refused", [f"{run.verdict.webhook_refused:,}" for run in runs]),
        ("load average of the machine", [f"{run.load_average:.1f}" for run in runs]),
    ]
    machine = ", ".join(f"{name}: {value}" for name, value in runs[-1].machine.items() if name != "RabbitMQ")
    settings = ", ".join(f"`{name}={value}`" for name, value in SETTINGS.items())
    return (
        _table(["", *(NAMES[run.wish.queue] for run in runs)], rows) + f"\nMachine: {machine}. Settings: {settings}.\n"
    )


def _equality(runs: Sequence[Run]) -> str:
    names = dict.fromkeys(line.what for run in runs for line in run.verdict.lines)
    header = ["compared", *(f"{NAMES[run.wish.queue]}: {part}" for run in runs for part in ("wanted", "found"))]
    rows = []
    for name in names:
        cells = []
        for run in runs:
            [line] = [each for each in run.verdict.lines if each.what == name]
            cells += [f"{line.wanted:,}", f"{line.found:,}" if line.ok else f"**{line.found:,}**"]
        rows.append((name, cells))
    wrong = [f"- {run.wish.queue}: {text}\n" for run in runs for text in run.verdict.wrong]
    return _table(header, rows) + ("\n" + "".join(wrong) if wrong else "")


def _kinds(runs: Sequence[Run]) -> str:
    by_kind: dict[str, list[list[Struck]]] = defaultdict(lambda: [[] for _ in runs])
    for number, run in enumerate(runs):
        for each in run.struck:
            by_kind[each.kind][number].append(each)
    rows = []
    for kind in KINDS:
        if kind.name in by_kind:
            found = by_kind[kind.name]
            accepted = sum(each.accepted for struck in found for each in struck)
            rows.append((kind.name, [kind.says, *map(_times, found), f"{accepted:,}"]))
    return _table(["fault", "what happens", *(run.wish.queue for run in runs), "meanwhile"], rows)


def _missing(run: Run) -> list[str]:
    return [each.name for each in KINDS if run.wish.queue in each.queues and each.name not in run.kinds]


def _times(struck: Sequence[Struck]) -> str:
    if not struck:
        return ""
    seconds = [each.back_seconds for each in struck if each.back_seconds is not None]
    late = len(struck) - len(seconds)
    text = f"{len(struck)} times: {median(seconds):.1f} s, {max(seconds):.1f} s" if seconds else f"{len(struck)} times"
    return text + (f"; **{late} not back**" if late else "")


def _again(runs: Sequence[Run]) -> str:
    wish = runs[0].wish
    queue = "both" if len(runs) > 1 else wish.queue
    typed = f"python -m tests.chaos --queue {queue} --events {wish.events} --faults {wish.faults} --seed {wish.seed} --write"
    return f"\n## Again\n\n```\n{typed}\n```\n\nThe seed decides which faults come in which order, and the events. When each meets what, the machine decides.\n"


def _table(header: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    lines = [header, ["---"] * len(header), *([name, *cells] for name, cells in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
