"""The plan: which rows there are, in which order they run, and which of them take turns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from bench import bare_limit, end_to_end, hose, outage, rabbitmq, services
from bench.corpus import Corpus, corpus
from bench.row import Row, Skipped

KIB: Final = 1024
MIB: Final = 1024 * KIB
ROWS: Final = ("hose", "services", "end_to_end", "bare_limit", "rabbitmq", "outage")
GROUPS: Final = (*ROWS, "two_parents", "latency", "delivery", "api", "backlog")


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything."""

    events: int
    rabbitmq_events: int  # fewer, because one-event messages take their time
    outage_seconds: float
    latency_seconds: float  # at each share of the rate
    rounds: int  # of the rows that take turns
    delivery_seconds: float  # of each mix of customers
    api_events: int  # sent; ten times as many are stored, and asked
    api_seconds: float
    backlog_events: int  # that wait when complaints come


FULL: Final = Scale(
    events=600_000,
    rabbitmq_events=60_000,
    outage_seconds=600.0,
    latency_seconds=30.0,
    rounds=3,
    delivery_seconds=30.0,
    api_events=1_000_000,
    api_seconds=40.0,
    backlog_events=3_600_000,
)
QUICK: Final = Scale(
    events=60_000,
    rabbitmq_events=10_000,
    outage_seconds=20.0,
    latency_seconds=8.0,
    rounds=1,
    delivery_seconds=8.0,
    api_events=50_000,
    api_seconds=10.0,
    backlog_events=600_000,
)


@dataclass(frozen=True, slots=True)
class Task:
    """One row to be. `key` names it in results.json."""

    key: str
    group: str
    run: Callable[[], Awaitable[Row | Skipped]]
    bare: str = ""  # the key of the bare limit it is compared with
    is_repeated: bool = False  # in every round, in turn with the others, because machines are not steady


def tasks(scale: Scale, groups: Sequence[str] = ROWS) -> list[Task]:
    """The rows of these groups. Their events are made here, before anything is timed."""
    every = corpus(scale.events) if set(groups) & set(ROWS) - {"rabbitmq", "outage"} else None
    few = corpus(scale.rabbitmq_events) if "rabbitmq" in groups else None
    again = corpus(min(scale.events, outage.EVENTS)) if "outage" in groups else None
    found: list[Task] = []
    if every is not None:
        found += [Task("hose", "hose", partial(hose.run, every)), *_services(every), *_turns(every)]
    if few is not None:
        found.append(Task("rabbitmq", "rabbitmq", partial(rabbitmq.run, few), is_repeated=True))
    if again is not None:
        found.append(Task("outage", "outage", partial(outage.run, again, seconds=scale.outage_seconds)))
    return [task for task in found if task.group in groups]


def in_order(found: Sequence[Task], rounds_count: int) -> Iterator[tuple[Task, int]]:
    """Each task with the number of its round: first what runs once and is short, then the rounds, then the long wait."""
    first = [task for task in found if not task.is_repeated and task.group != "outage"]
    last = [task for task in found if task.group == "outage"]
    yield from ((task, 1) for task in first)
    yield from ((task, number + 1) for number in range(rounds_count) for task in found if task.is_repeated)
    yield from ((task, 1) for task in last)


def _services(load: Corpus) -> list[Task]:
    return [Task(f"service_{name}", "services", partial(services.run, load, name)) for name in services.SERVICES]


def _turns(load: Corpus) -> Iterator[Task]:
    """Neighbours in time are what is compared."""
    for size, suffix in ((256 * KIB, ""), (MIB, "_1mib")):
        bare = f"bare_limit{suffix}"
        yield Task(bare, "bare_limit", partial(bare_limit.run, load, envelope_bytes=size), is_repeated=True)
        yield Task(
            f"end_to_end_database{suffix}",
            "end_to_end",
            partial(end_to_end.run, load, queue="sqlite", envelope_bytes=size),
            bare=bare,
            is_repeated=True,
        )
        yield Task(
            f"end_to_end_sqs{suffix}",
            "end_to_end",
            partial(end_to_end.run, load, queue="sqs", envelope_bytes=size),
            bare=bare,
            is_repeated=True,
        )
