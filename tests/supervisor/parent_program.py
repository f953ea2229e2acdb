"""A real parent for tests of its death: starts one child, gives it an envelope, may say stop, and waits to be killed."""

import asyncio
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.simulation.world import envelope

from omni_etl.clock import SystemClock
from omni_etl.supervisor.channel import Result, Work
from omni_etl.supervisor.children import Children

CHILD = Path(__file__).with_name("child_program.py")


def command(service: str, descriptor: int) -> Sequence[str]:
    """The child that behaves as its name says."""
    return [sys.executable, str(CHILD), service, str(descriptor)]


class Events:
    """What a parent hears, as a queue of words."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[tuple[str, object]] = asyncio.Queue()

    def child_ready(self, service: str, types: frozenset[str]) -> None:
        """It takes work now."""
        self.heard.put_nowait(("ready", types))

    def child_answered(self, service: str, result: Result) -> None:
        """One work ended."""
        self.heard.put_nowait(("answered", result))

    def child_died(self, service: str) -> None:
        """What it held comes back."""
        self.heard.put_nowait(("died", None))


def work(work_id: int, *, padding_bytes: int = 0) -> Work:
    """One envelope; padded, no envelope at all."""
    sealed = envelope(work_id)
    return Work(work_id, sealed.header, sealed.payload + bytes(padding_bytes), SystemClock().monotonic() + 60)


async def main(name: str, *, stops: bool) -> None:
    """One child for ever."""
    events = Events()
    children = Children(command=command, environment={}, events=events, clock=SystemClock(), rng=random.Random(1))
    keeping = asyncio.create_task(children.keep(name))
    await events.heard.get()
    await children.send(name, work(1))
    if stops:
        await children.stop(60)
    await keeping


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], stops=sys.argv[2:] == ["stops"]))
