"""Every kind of fault: what it does, what is watched until it is back, and the sentence that stands in the table."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from tests.chaos.world import LEASE_SECONDS, World
from tests.e2e.system import halted, kill, moved_away, wait_until

Hit = Callable[[World, random.Random], None]

STOP_SECONDS: Final = LEASE_SECONDS + 2.0
SERVICES: Final = ("metrics", "message_events", "suppressions", "webhooks")
EVERYWHERE: Final = ("sqlite", "sqs")
SOON: Final = (2.0, 5.0)  # seconds for which a thing is full, away or in a bad mood


@dataclass(frozen=True, slots=True)
class Kind:
    """`hit` returns when the cause is gone. What `watched` names must then do something again; see witness.py."""

    name: str
    says: str
    hit: Hit
    watched: tuple[str, ...]
    place: str  # at one place one fault at a time
    alone: bool = False  # nothing else is broken meanwhile
    weight: int = 2
    queues: tuple[str, ...] = EVERYWHERE
    needs: str = ""  # disks, network: what the machine must allow


def killed(role: str) -> Hit:
    """Kill -9 of a role, service or engine, as soon as it runs."""

    def hit(world: World, _rng: random.Random) -> None:
        kill(_pid(world, role))

    return hit


def stopped(*roles: str) -> Hit:
    """SIGSTOP of one of these for longer than a lease."""

    def hit(world: World, rng: random.Random) -> None:
        with suppress(ProcessLookupError), halted(_pid(world, rng.choice(roles)), seconds=STOP_SECONDS):
            pass  # another fault may kill it meanwhile

    return hit


def forgotten(world: World, _rng: random.Random) -> None:
    """FLUSHALL."""
    world.flush_tracker()


def away(directory: str) -> Hit:
    """The directory is gone, and comes back as it was."""

    def hit(world: World, rng: random.Random) -> None:
        with moved_away(world.home / directory, seconds=rng.uniform(*SOON)):
            pass

    return hit


def full(disk: str) -> Hit:
    """No byte fits on this disk."""

    def hit(world: World, rng: random.Random) -> None:
        with world.disks.full(disk):
            world.disks.top_up(disk, seconds=rng.uniform(*SOON))

    return hit


def everything(world: World, _rng: random.Random) -> None:
    """Power off, nearly; and on again."""
    world.system.kill_everything()
    world.restarts += 1
    world.start_system()


def starter(world: World, _rng: random.Random) -> None:
    """Only `omni up` itself; all that it started must end by itself, and then it is started again."""
    kill(world.system.process.pid)
    world.system.process.wait()
    world.restarts += 1
    world.start_system()


def customer(manner: str) -> Hit:
    """The customer behaves so for a while, then well."""

    def hit(world: World, rng: random.Random) -> None:
        world.behave_until_it_answers(partial(world.behave_customer, manner))
        _pause(rng.uniform(*SOON))
        world.behave_until_it_answers(partial(world.behave_customer, "well"))

    return hit


def customer_killed(world: World, rng: random.Random) -> None:
    """Kill -9, and a while nobody listens."""
    world.customer.kill()
    _pause(rng.uniform(*SOON))
    world.customer.start()
    world.await_customer()


def customer_stopped(world: World, _rng: random.Random) -> None:
    """Connections are taken by its kernel, and nobody answers."""
    world.customer.signal(signal.SIGSTOP)
    _pause(STOP_SECONDS)
    world.customer.signal(signal.SIGCONT)


def sqs(manner: str) -> Hit:
    """SQS behaves so for a while, then well."""

    def hit(world: World, rng: random.Random) -> None:
        world.behave_sqs(manner)
        try:
            _pause(rng.uniform(*SOON))
        finally:
            world.behave_sqs("well")

    return hit


def wire_killed(world: World, rng: random.Random) -> None:
    """Every connection to SQS is reset, and for a while nobody listens."""
    world.wire.kill()
    _pause(rng.uniform(*SOON))
    world.wire.start()


def wire_stopped(world: World, _rng: random.Random) -> None:
    """Nothing passes for longer than a lease, and no connection ends."""
    world.wire.signal(signal.SIGSTOP)
    _pause(STOP_SECONDS)
    world.wire.signal(signal.SIGCONT)


def cable(world: World, rng: random.Random) -> None:
    """The network between this host and the far one, where the customer lives, and SQS."""
    with world.far.cut():
        _pause(rng.uniform(*SOON))


def _pid(world: World, role: str) -> int:
    """Of what runs now, or is started next."""
    found: list[int] = []

    def runs() -> bool:
        found[:] = [pid for name, pid in world.system.pids.items() if name == role]
        return bool(found)

    wait_until(runs, f"{role} runs")
    return found[0]


def _pause(seconds: float) -> None:
    time.sleep(seconds)  # noqa: TID251 real processes have real time


ALL_EFFECTS: Final = ("accepted", *SERVICES, "received")
STOPPED: Final = (
    f"stopped (SIGSTOP) for {STOP_SECONDS:g} s, longer than a lease, then goes on as if nothing had happened"
)

KINDS: Final = (
    Kind("hose killed", "kill -9 of the hose, requests and cuts under way", killed("hose"), ("accepted",), "hose", weight=4),
    Kind("parent killed", "kill -9 of `omni run`; its children end with it", killed("run"), SERVICES, "run", weight=3),
    Kind("API killed", "kill -9 of the API", killed("api"), ("api",), "api"),
    *(
        Kind(f"{each} killed", f"kill -9 of the child of {each}, envelopes in its hands", killed(each), (each,), each, weight=4)
        for each in SERVICES
    ),
    Kind("store killed", "kill -9 of ClickHouse", killed("store"), ("metrics", "message_events"), "store", weight=3),
    Kind("tracker killed", "kill -9 of Valkey", killed("tracker"), ("tracker", "message_events"), "tracker"),
    Kind("tracker emptied", "FLUSHALL: every mark is forgotten", forgotten, ("message_events", "webhooks"), "tracker", weight=3),
    Kind("hose stopped", f"hose {STOPPED}", stopped("hose"), ("accepted",), "hose", weight=1),
    Kind("parent stopped", f"`omni run` {STOPPED}", stopped("run"), SERVICES, "run", weight=1),
    Kind("child stopped", f"one of the four children {STOPPED}", stopped(*SERVICES), SERVICES, "child", weight=1),
    Kind("store stopped", f"ClickHouse {STOPPED}", stopped("store"), ("metrics", "message_events"), "store", weight=1),
    Kind("tracker stopped", f"Valkey {STOPPED}", stopped("tracker"), ("tracker", "message_events"), "tracker", weight=1),
    Kind("queue away", "the queue's directory is moved away, as by a lost mount", away("queue"), ("message_events",), "queue",
         queues=("sqlite",)),
    Kind("database away", "the same with the database", away("database"), ("suppressions", "webhooks"), "database"),
    Kind("spool full", "the disk of the hose's spool is full", full("hose"), ("accepted",), "hose disk", needs="disks"),
    Kind("queue full", "the queue's disk is full", full("queue"), ("message_events",), "queue", queues=("sqlite",), needs="disks"),
    Kind("database full", "the database's disk is full", full("database"), ("suppressions", "webhooks"), "database", needs="disks"),
    Kind("store full", "ClickHouse's disk is full", full("store"), ("metrics", "message_events"), "store disk", needs="disks"),
    Kind("everything killed", "kill -9 of every process at once, then `omni up` on the same data", everything, ALL_EFFECTS,
         "everything", alone=True),
    Kind("starter killed", "kill -9 of `omni up` alone, all it started ends by itself; then `omni up` again", starter, ALL_EFFECTS,
         "everything", alone=True, weight=1),
    Kind("customer fails", "the customer answers 500 to every batch", customer("fails"), ("received",), "customer"),
    Kind("customer hangs", "the customer takes a batch and never answers", customer("hangs"), ("received",), "customer", weight=1),
    Kind("customer resets", "the customer resets every connection", customer("resets"), ("received",), "customer"),
    Kind("customer fails late", "the customer keeps the batch and answers 500", customer("effect, then error"), ("received",), "customer"),
    Kind("customer resets late", "the customer keeps the batch and resets", customer("effect, then reset"), ("received",), "customer"),
    Kind("customer slow", "the customer takes two seconds for a batch", customer("slow"), ("received",), "customer", weight=1),
    Kind("customer killed", "kill -9 of the customer; for some seconds nobody listens", customer_killed, ("received",), "customer"),
    Kind("customer stopped", f"the customer {STOPPED}", customer_stopped, ("received",), "customer", weight=1),
    Kind("network cut", "the cable to the customer's host, which is SQS's too, is cut: packets vanish", cable,
         ("received", "message_events"), "cable", needs="network"),
    *(
        Kind(f"SQS {name}", says, sqs(manner), ("message_events",), "sqs", queues=("sqs",))
        for name, manner, says in (
            ("throttles", "throttles", "seven of ten calls are answered with RequestThrottled"),
            ("fails", "fails before", "seven of ten calls are answered with 500, nothing done"),
            ("fails late", "fails after", "seven of ten calls are done, and answered with 500"),
            ("loses answers", "loses answers", "seven of ten calls are done, and the connection ends"),
            ("slow", "slow", "seven of ten calls take one to eight seconds, more than most may"),
            ("hangs", "hangs", "seven of ten calls are never answered"),
            ("sends twice", "sends twice", "seven of ten sends put every message into the queue twice"),
            ("fails in parts", "fails entries", "in seven of ten batches half of the entries fail"),
            ("full in flight", "few in flight", "no queue hands out more than two messages at a time"),
        )
    ),
    Kind("wire killed", "every connection to SQS is reset; for some seconds nobody listens", wire_killed, ("message_events",),
         "wire", queues=("sqs",)),
    Kind("wire stopped", "nothing passes between the system and SQS, for longer than a lease; no connection ends", wire_stopped,
         ("message_events",), "wire", queues=("sqs",), weight=1),
)  # fmt: skip


def kinds_for(world: World) -> list[Kind]:
    """Those that this queue has and this machine allows."""
    allowed = {"", *(["disks"] if world.disks.can_mount else []), *(["network"] if world.far.can_cut else [])}
    return [each for each in KINDS if world.queue in each.queues and each.needs in allowed]


def drawn(kinds: list[Kind], count: int, rng: random.Random) -> list[Kind]:
    """So many of them in an order of chance: each as often as any other of its weight, none left out where there is room."""
    every = kinds * (count // (2 * len(kinds)) or 1)
    every += rng.choices(kinds, weights=[each.weight for each in kinds], k=max(0, count - len(every)))
    rng.shuffle(every)
    return every[:count] if count < len(every) else every
