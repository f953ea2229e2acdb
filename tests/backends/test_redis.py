"""backends.redis: what the contract suite cannot ask: bad settings, bad days, and a server that comes back."""

import asyncio
import contextlib
import signal
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis.asyncio as client

from omni_etl.backends.redis import RedisTracker
from omni_etl.clock import SystemClock
from omni_etl.embedded.valkey import EmbeddedValkey
from omni_etl.errors import SettingsError, UnavailableError

OWED = frozenset({"metrics", "webhooks"})
LOCALHOST = Path(__file__).with_name("localhost.pem")  # key and certificate, self-signed, until 2125


@contextmanager
def running(valkey: EmbeddedValkey) -> Iterator[subprocess.Popen[bytes]]:
    """The server as a process, killed at the end."""
    with subprocess.Popen(valkey.command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    """A server of its own for each test, because tests bend it."""
    embedded = EmbeddedValkey(tmp_path)
    with running(embedded):
        await embedded.wait_ready(SystemClock())
        yield embedded


@pytest.fixture
async def engine(valkey: EmbeddedValkey) -> AsyncIterator["client.Redis"]:
    """The way to bend it."""
    async with client.Redis.from_url(valkey.url) as connected:
        yield connected


@pytest.fixture
async def tracker(valkey: EmbeddedValkey) -> AsyncIterator[RedisTracker]:
    """An open tracker with little patience."""
    opened = RedisTracker(valkey.url, call_seconds_max=0.3)
    await opened.open("epoch")
    yield opened
    await opened.close()


async def make_guest(engine: "client.Redis", *rules: str) -> None:
    """A user who may do what the rules say."""
    await engine.execute_command("ACL", "SETUSER", "guest", *rules)  # type: ignore[no-untyped-call]  # redis-py's


@pytest.mark.parametrize("url", ["http://u:hunter2@h", "redis://u:hunter2@h:port", "redis://u:hunter2@h?odd=1", ""])
async def test_an_address_that_cannot_be_is_refused(url: str) -> None:
    """The setting is named; the address, which may hold a password, is not repeated."""
    with pytest.raises(SettingsError) as caught:
        await RedisTracker(url).open("epoch")
    assert caught.value.setting == "OMNI_TRACKER_URL"
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_an_evicting_server_is_refused(valkey: EmbeddedValkey, engine: "client.Redis", policy: str) -> None:
    """Eviction would make questions without end; what to do stands in the message."""
    await engine.config_set("maxmemory-policy", policy)
    tracker = RedisTracker(valkey.url)
    with pytest.raises(SettingsError, match=f"maxmemory-policy {policy}. Set it to noeviction"):
        await tracker.open("epoch")
    await tracker.close()


@pytest.mark.parametrize("policy", ["allkeys-lru", "noeviction"])
async def test_the_policy_is_found_where_config_is_hidden(
    valkey: EmbeddedValkey, engine: "client.Redis", policy: str
) -> None:
    """Managed servers forbid CONFIG; INFO says the same."""
    await engine.config_set("maxmemory-policy", policy)
    await make_guest(engine, "on", ">hunter2", "~*", "+@all", "-config")
    tracker = RedisTracker(valkey.url.replace("unix://", "unix://guest:hunter2@"))
    if policy == "noeviction":
        await tracker.open("epoch")
    else:
        with pytest.raises(SettingsError, match="maxmemory-policy allkeys-lru"):
            await tracker.open("epoch")
    await tracker.close()


@pytest.mark.parametrize(
    "rules",
    [
        ("on", ">other", "~*", "+@all"),
        ("on", ">hunter2", "~*", "+@all", "-eval"),
        ("on", ">hunter2", "~*", "+@all", "-info", "-config"),
        ("off",),
    ],
)
async def test_refused_credentials_stop_the_start(
    valkey: EmbeddedValkey, engine: "client.Redis", rules: tuple[str, ...]
) -> None:
    """A wrong password, a forbidden command, a switched-off user: waiting heals none of them."""
    await make_guest(engine, *rules)
    tracker = RedisTracker(valkey.url.replace("unix://", "unix://guest:hunter2@"))
    with pytest.raises(SettingsError, match="OMNI_TRACKER_URL: found credentials that the server refuses") as caught:
        await tracker.open("epoch")
    assert "hunter2" not in str(caught.value)
    await tracker.close()


async def test_missing_credentials_stop_the_start(valkey: EmbeddedValkey, engine: "client.Redis") -> None:
    """A server that wants a password and got none."""
    await engine.config_set("requirepass", "hunter2")
    tracker = RedisTracker(valkey.url)
    with pytest.raises(SettingsError, match="credentials that the server refuses"):
        await tracker.open("epoch")
    await tracker.close()


async def test_before_it_was_checked_nothing_is_known(valkey: EmbeddedValkey) -> None:
    """A tracker that was away at the start answers nothing until `open` has succeeded."""
    tracker = RedisTracker(valkey.url)
    with pytest.raises(UnavailableError):
        await tracker.ask(["a"])


async def test_it_comes_back_by_itself(tmp_path: Path) -> None:
    """Away at open, away at work, killed and restarted: an error each time, and then it works again."""
    valkey = EmbeddedValkey(tmp_path)
    tracker = RedisTracker(valkey.url)
    with pytest.raises(UnavailableError):
        await tracker.open("epoch")
    for _ in range(2):
        with running(valkey):
            await valkey.wait_ready(SystemClock())
            await tracker.open("epoch")
            assert await tracker.mark("a", "metrics", "done", OWED) == {"webhooks"}
        for call in (tracker.ask(["a"]), tracker.bury(["a"]), tracker.mark("a", "webhooks", "done", OWED)):
            with pytest.raises(UnavailableError):
                await call
    with running(valkey):
        await valkey.wait_ready(SystemClock())
        assert await tracker.mark("b", "metrics", "done", OWED) == {"webhooks"}  # without another open
    await tracker.close()


async def test_a_stalled_server_is_away_and_answers_no_old_question(tmp_path: Path) -> None:
    """A call ends in time; the late answer of an abandoned call is never taken for another's."""
    valkey = EmbeddedValkey(tmp_path)
    tracker = RedisTracker(valkey.url, call_seconds_max=0.3)
    with running(valkey) as process:
        await valkey.wait_ready(SystemClock())
        await tracker.open("epoch")
        await tracker.mark("a", "metrics", "done", OWED)
        process.send_signal(signal.SIGSTOP)
        began = SystemClock().monotonic()
        stalled = await asyncio.gather(*(tracker.ask(["a"]) for _ in range(40)), return_exceptions=True)
        assert all(isinstance(each, UnavailableError) for each in stalled)
        assert SystemClock().monotonic() - began < 1.0
        process.send_signal(signal.SIGCONT)
        for number in range(40):
            assert await tracker.mark(f"k{number}", "webhooks", "done", OWED) == {"metrics"}
    await tracker.close()


async def test_a_dripping_server_is_away() -> None:
    """The limit is on the whole call and not on the pause between two bytes."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"$100000\r\n")
        with contextlib.suppress(ConnectionError):  # the tracker hangs up
            while True:
                writer.write(b"x")
                await writer.drain()
                await SystemClock().sleep(0.02)
        writer.close()
        hung_up.set()

    hung_up = asyncio.Event()
    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        tracker = RedisTracker(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", call_seconds_max=0.2)
        with pytest.raises(UnavailableError, match=r"no answer in 0\.2 s"):
            await tracker.open("epoch")
        await tracker.close()
        await hung_up.wait()


async def test_a_cancelled_call_leaves_no_answer_behind(tracker: RedisTracker) -> None:
    """A caller that gives up in the middle does not shift the answers of those after it."""
    for number in range(50):
        call = asyncio.ensure_future(tracker.ask([f"k{number}"]))
        for _ in range(number % 7):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        assert await tracker.mark(f"k{number}", "metrics", "done", OWED) == {"webhooks"}


async def test_a_full_server_is_away(tracker: RedisTracker, engine: "client.Redis") -> None:
    """Out of memory nothing is marked and nobody is told that it was; with room again work goes on."""
    await tracker.mark("a", "metrics", "done", OWED)
    await engine.config_set("maxmemory", 1)
    for call in (tracker.mark("a", "webhooks", "done", OWED), tracker.bury(["a"])):
        with pytest.raises(UnavailableError, match="maxmemory"):
            await call
    await engine.config_set("maxmemory", 0)
    assert await tracker.mark("a", "webhooks", "done", OWED) == frozenset()


async def test_a_replica_is_away(tracker: RedisTracker, engine: "client.Redis") -> None:
    """After a failover the old primary refuses writes until we are sent to the new one."""
    await engine.replicaof("127.0.0.1", 1)
    with pytest.raises(UnavailableError, match="read only"):
        await tracker.mark("a", "metrics", "done", OWED)


async def test_a_server_that_forgot_its_scripts_is_no_trouble(tracker: RedisTracker, engine: "client.Redis") -> None:
    """Restart and failover forget scripts; ours travel with each call."""
    await tracker.mark("a", "metrics", "done", OWED)
    await engine.script_flush()
    assert await tracker.mark("a", "webhooks", "done", OWED) == frozenset()


async def test_it_speaks_tls(valkey: EmbeddedValkey) -> None:
    """`rediss://` verifies the server; an unknown certificate is refused."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(LOCALHOST)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_unix_connection(valkey.url.removeprefix("unix://"))
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    async with await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        stranger = RedisTracker(f"rediss://localhost:{port}")
        with pytest.raises(UnavailableError, match=r"(?i)certificate"):
            await stranger.open("epoch")
        await stranger.close()
        tracker = RedisTracker(f"rediss://localhost:{port}?ssl_ca_certs={LOCALHOST}")
        await tracker.open("epoch")
        assert await tracker.mark("a", "metrics", "done", OWED) == {"webhooks"}
        await tracker.close()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Bytes from here to there until the end."""
    while part := await reader.read(65536):
        writer.write(part)
    writer.close()
