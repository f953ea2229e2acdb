"""The system SparkPost left: RabbitMQ, one persistent message per event, and a consumer for each need.

`python -m bench.rabbitmq --events 50000`

A topic exchange; the routing key is `group.type`; four durable queues; four consumers, each a process, that do the same four
effects: count and insert roll-ups, insert rows, post batches of a hundred, upsert suppressions. The clock runs from the first
event published until the last is acknowledged by every consumer.

It is given the best arrangement that we found, and some advantages:

- quorum queues (one node): as durable as classic ones, and the broker spends some 110 µs an event on them, not 155 (classic, v2);
- publishes confirmed by the broker, thousands under way; clients that write and read frames as bytes (`frames.py`);
- the suppressions' queue is bound to the few event types that may suppress; metrics do not parse an event for its type;
- consumers batch thousands of events, as large as their prefetch allows, and acknowledge them with one frame;
- effects are the services' own code without its promises: no ledger, so what is redelivered after a crash would count twice;
  no outbox, so a webhook that is down would stop its queue; no spool, so a mail server without its broker would have to wait;
- a batch is handed over as it came, where an envelope is compressed once and opened four times.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

import urllib3

from bench.corpus import Corpus, corpus
from bench.processes import Costs, Helper
from bench.rabbitmq_node import Node, node, program
from bench.rabbitmq_topology import BINDINGS, QueueKind, declare
from bench.row import CountsError, Row, Skipped
from bench.show import alone, row_of
from bench.store_alone import StoreAlone, store_alone
from omni_etl.clock import SystemClock
from omni_etl.demo.usage import Usage
from omni_etl.embedded.ports import free_ports
from omni_etl.services.suppressions import Suppressions
from omni_etl.wiring.databases import build_suppression_list
from omni_etl.wiring.opened import opened
from omni_etl.wiring.stores import build_store
from omni_etl.wiring.totals import read_totals

NAME: Final = "RabbitMQ, a message per event"
EVENTS: Final = 50_000
PUBLISHERS: Final = 1
STALLED_SECONDS: Final = 60.0


async def run(
    load: Corpus, *, queues: QueueKind = "quorum", publishers: int = PUBLISHERS, name: str = NAME
) -> Row | Skipped:
    """One pass of the corpus.

    Raises:
        CountsError: something was lost, doubled, or did not arrive in time.

    """
    if program() is None:
        return Skipped(name, "rabbitmq-server is not installed")
    async with _running(load, queues, publishers) as system:
        usages, seconds = await _timed(system, load)
        await _check(system, load)
    return row_of(
        name=name,
        events=load.events,
        seconds=seconds,
        usages=usages,
        notes=f"{queues} queues, {publishers} publishers",
    )


@dataclass(frozen=True, slots=True)
class _Running:
    broker: Node
    store: StoreAlone
    customer: Helper
    customer_url: str
    consumers: Mapping[str, Helper]
    publishers: Mapping[str, Helper]

    def pids(self) -> dict[str, int]:
        """Of everything."""
        helpers = {**self.consumers, **self.publishers, "customer": self.customer}
        return {"broker": self.broker.pid, "store": self.store.pid} | {name: each.pid for name, each in helpers.items()}


@asynccontextmanager
async def _running(load: Corpus, queues: QueueKind, publishers: int) -> AsyncIterator[_Running]:
    async with AsyncExitStack() as ending:
        directory = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="omni-bench-")))
        (directory / "broker").mkdir()
        broker = await ending.enter_async_context(node(directory / "broker"))
        store = await ending.enter_async_context(store_alone(directory))
        await asyncio.to_thread(declare, broker.port, queues)
        [port] = free_ports(1)
        customer_url = f"http://127.0.0.1:{port}/"

        async def started(module: str, *arguments: str) -> Helper:
            helper = await Helper.start(module, *arguments)
            ending.push_async_callback(helper.stop)
            return helper

        places = (str(broker.port), store.url, str(directory), customer_url)
        system = _Running(
            broker=broker,
            store=store,
            customer=await started("bench.receiver", str(port)),
            customer_url=customer_url,
            consumers={
                f"consumer {each}": await started("bench.rabbitmq_consumer", each, *places) for each in BINDINGS
            },
            publishers={
                f"publisher {number + 1}": await started(
                    "bench.rabbitmq_publisher", str(broker.port), load.directory, str(number), str(publishers)
                )
                for number in range(publishers)
            },
        )
        for helper in (*system.consumers.values(), *system.publishers.values()):
            await helper.line()
        await _receipts(system)
        yield system


async def _timed(system: _Running, load: Corpus) -> tuple[dict[str, Usage], float]:
    clock = SystemClock()
    suppressing = sum(load.types.get(each, 0) for each in Suppressions.types)
    wanted = dict.fromkeys(system.consumers, load.events) | {"consumer suppressions": suppressing}
    costs = Costs(system.pids())
    started_at = clock.monotonic()
    for publisher in system.publishers.values():
        publisher.go()
    await asyncio.gather(*(_until(system.consumers[name], count) for name, count in wanted.items()))
    seconds = clock.monotonic() - started_at
    usages = costs.so_far()
    published = sum([int(await publisher.line()) for publisher in system.publishers.values()])
    if published != load.events:
        raise CountsError(f"{published} of {load.events} events were confirmed")
    return usages, seconds


async def _until(consumer: Helper, count: int) -> None:
    """It has acknowledged so many."""
    done = 0
    while done < count:
        try:
            done = int(await asyncio.wait_for(consumer.line(), STALLED_SECONDS))
        except TimeoutError:
            raise CountsError(f"a consumer stands at {done} of {count} events") from None
    if done > count:
        raise CountsError(f"a consumer was given {done} events instead of {count}")


async def _check(system: _Running, load: Corpus) -> None:
    """Figures from where the effects landed."""
    settings = system.store.settings
    async with (
        opened(build_store(settings)) as store,
        opened(build_suppression_list(settings, SystemClock())) as entries,
    ):
        totals, suppressions = await read_totals(store), await entries.count()
    landed = {
        "rows": totals.message_events,
        "counted": sum(totals.metrics_by_type.values()),
        "posted": await _receipts(system),
    }
    if set(landed.values()) != {load.events} or totals.metrics_by_type != dict(load.types):
        raise CountsError(f"of {load.events} events: {landed}")
    if suppressions != load.suppressions:
        raise CountsError(f"{suppressions} suppressions instead of {load.suppressions}")


async def _receipts(system: _Running) -> int:
    """Events the customer has; asked for the first time, it is waited for."""
    retries = urllib3.Retry(total=40, backoff_factor=0.05, backoff_max=0.5)
    answer = await asyncio.to_thread(urllib3.request, "GET", system.customer_url, retries=retries)
    return int(answer.json()["events"])


def main() -> None:
    """One run, shown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--queues", choices=get_args(QueueKind), default="quorum")
    parser.add_argument("--publishers", type=int, default=PUBLISHERS)
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of the table")
    wish = parser.parse_args()
    alone(lambda: run(corpus(wish.events), queues=wish.queues, publishers=wish.publishers), as_json=wish.json)


if __name__ == "__main__":
    main()
