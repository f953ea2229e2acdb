"""embedded.valkey: the real server from the wheel, under our configuration."""

import stat
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import redis.asyncio as client

from omni_etl.backends.redis import RedisTracker
from omni_etl.clock import ManualClock, SystemClock
from omni_etl.embedded.valkey import SOCKET_PATH_BYTES_MAX, EmbeddedValkey
from omni_etl.errors import UnavailableError


@contextmanager
def running(valkey: EmbeddedValkey) -> Iterator[subprocess.Popen[bytes]]:
    """The server as a process, killed at the end."""
    with subprocess.Popen(valkey.command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def long_path(under: Path) -> Path:
    """A directory whose socket would not fit."""
    return under / ("long " * 20) / "data"


@pytest.mark.parametrize("is_long", [False, True])
async def test_it_is_ours_alone_and_evicts_nothing(tmp_path: Path, *, is_long: bool) -> None:
    """By socket file or, where its path is too long, by loopback and password: a tracker opens on it."""
    directory = long_path(tmp_path) if is_long else tmp_path / 'da"ta'
    valkey = EmbeddedValkey(directory)
    assert valkey.url.startswith("redis://:" if is_long else "unix://")
    with running(valkey):
        await valkey.wait_ready(SystemClock())
        tracker = RedisTracker(valkey.url)
        await tracker.open("epoch")
        await tracker.close()
        async with client.Redis.from_url(valkey.url, decode_responses=True) as connected:
            found = await connected.config_get("maxmemory", "appendonly", "appendfsync", "bind", "save")
    assert found == {
        "maxmemory": str(256 * 1024 * 1024), "appendonly": "yes", "appendfsync": "everysec", "bind": "127.0.0.1", "save": "",
    }  # fmt: skip
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "valkey.conf").stat().st_mode) == 0o600


async def test_the_password_is_no_argument(tmp_path: Path) -> None:
    """Arguments are seen by everyone on the machine; the loopback port is guarded by the password."""
    valkey = EmbeddedValkey(long_path(tmp_path))
    password = valkey.url.removeprefix("redis://:").partition("@")[0]
    assert not any(password in argument for argument in valkey.command())
    with running(valkey):
        await valkey.wait_ready(SystemClock())
        async with client.Redis.from_url(valkey.url.replace(f":{password}@", "")) as stranger:
            with pytest.raises(client.AuthenticationError):
                await stranger.ping()


async def test_marks_survive_a_restart(tmp_path: Path) -> None:
    """A clean stop loses no mark; the same object starts the server again over its stale socket file."""
    valkey = EmbeddedValkey(tmp_path)
    with ExitStack() as stack:
        process = stack.enter_context(running(valkey))
        await valkey.wait_ready(SystemClock())
        tracker = RedisTracker(valkey.url)
        await tracker.open("epoch")
        await tracker.mark("key", "metrics", "done", frozenset())
        process.terminate()
        process.wait()
        stack.enter_context(running(valkey))
        await valkey.wait_ready(SystemClock())
        await tracker.open("epoch")
        [progress] = await tracker.ask(["key"])
        await tracker.close()
    assert progress.marks == {"metrics": "done"}


async def test_waiting_ends(tmp_path: Path) -> None:
    """A server that does not come is reported, not awaited for ever."""
    clock = ManualClock()

    async def sleep(seconds: float) -> None:
        clock.advance(seconds)

    clock.sleep = sleep  # type: ignore[method-assign]  # nobody else moves this clock
    with pytest.raises(UnavailableError, match="did not answer in 1 s"):
        await EmbeddedValkey(tmp_path).wait_ready(clock, seconds_max=1.0)


def test_the_limit_is_the_kernels(tmp_path: Path) -> None:
    """A path of exactly the limit still uses the socket, one byte more does not."""
    room = SOCKET_PATH_BYTES_MAX - len("/valkey.sock")
    assert EmbeddedValkey(Path("/" + "d" * (room - 1))).url.startswith("unix://")
    assert EmbeddedValkey(Path("/" + "d" * room)).url.startswith("redis://")
