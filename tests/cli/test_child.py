"""cli.child: one service in a process of its own, at the end of a real pipe."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.builders import line, sealed

from omni_etl.clock import SystemClock
from omni_etl.supervisor.channel import Channel, Ready, Result, Stop, Unfit, Work


@asynccontextmanager
async def child(name: str, **environment: str) -> AsyncIterator[tuple[Channel, asyncio.subprocess.Process]]:
    """The program, and the parent's end of its pipe."""
    ours, theirs = socket.socketpair()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "omni_etl.cli.child", name, str(theirs.fileno())),
        pass_fds=[theirs.fileno()],
        env={**os.environ, **environment},
    )
    theirs.close()
    channel = await Channel.over(ours)
    try:
        yield channel, process
    finally:
        channel.close()
        await asyncio.wait_for(process.wait(), 10)


async def test_it_works_for_its_parent_and_ends_when_told(tmp_path: Path) -> None:
    """Ready, then one result for each work, then the end with code 0."""
    async with child("suppressions", OMNI_DATA_DIR=str(tmp_path)) as (parent, process):
        ready = await parent.receive()
        assert isinstance(ready, Ready)
        assert "bounce" in ready.types
        envelope = sealed([line("bounce", rcpt_to="a@example.com", bounce_class="10")], lane="express")
        while True:  # until its engine is reached
            deadline = SystemClock().monotonic() + 60
            await parent.send(Work(1, envelope.header, envelope.payload, deadline))
            result = await parent.receive()
            assert isinstance(result, Result)
            if result.outcome != "unavailable":
                break
        assert result.outcome == "done"
        await parent.send(Stop())
        assert await asyncio.wait_for(process.wait(), 10) == 0


@pytest.mark.parametrize(
    ("name", "environment", "unfit"),
    [
        ("nobody", {}, ("OMNI_SERVICES", "'nobody'")),
        ("metrics", {"OMNI_STORE_URL": ""}, ("OMNI_STORE_URL", "nothing")),
        ("suppressions", {"OMNI_LEASES_MAX": "many"}, ("OMNI_LEASES_MAX", "'many'")),
    ],
)
async def test_what_waiting_cannot_heal_is_told_to_the_parent(
    name: str, environment: dict[str, str], unfit: tuple[str, str]
) -> None:
    """In words of the setting, over the pipe: the parent stops and says them."""
    async with child(name, **environment) as (parent, process):
        said = await parent.receive()
        assert isinstance(said, Unfit)
        assert (said.setting, said.found) == unfit
        assert said.fix
        assert await asyncio.wait_for(process.wait(), 10) == 0
