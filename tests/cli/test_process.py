"""cli.process: how a role lives: exit codes, signals, its starter's pipe, and HTTP."""

import asyncio
import gc
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from cryptography.hazmat.primitives import serialization
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from tests.certificates import certified
from tests.cli.conftest import Started

from omni_etl.cli.process import Tls, guarded, serve_http
from omni_etl.embedded.ports import free_ports
from omni_etl.errors import OmniError, SettingsError, UnavailableError

ROLE = """
import asyncio, sys
from omni_etl import settings
from omni_etl.cli.process import run_role
async def main(stop):
    print("up", flush=True)
    await stop.wait()
    print("stopping", flush=True)
    {after}
    return 7
sys.exit(run_role(main, settings.load(), watch_stdin={watch}))
"""


def refusal() -> SettingsError:
    """With what looks like markup."""
    return SettingsError("OMNI_X", "nothing", "Name [/one].")


def raising(error: BaseException) -> Callable[[], int]:
    """A program that ends so."""

    def run() -> int:
        raise error

    return run


@pytest.mark.parametrize(
    ("run", "code", "words"),
    [
        (lambda: 3, 3, ""),
        (raising(refusal()), 2, "omni: OMNI_X: found nothing. Name [/one].\n"),
        (raising(UnavailableError("the queue is away")), 1, "omni: the queue is away\n"),
        (raising(ExceptionGroup("", [ExceptionGroup("", [OmniError("one")]), refusal()])), 2, "omni: one\n"),
        (raising(KeyboardInterrupt()), 130, ""),
    ],
)
def test_an_error_of_ours_is_a_sentence_and_a_code(
    run: Callable[[], int], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """2 says "do not start me again": it wins where several tasks failed at once."""
    assert guarded(run) == code
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said


def test_a_fault_of_ours_shows_its_trace() -> None:
    """It is not dressed up, also beside expected trouble."""
    with pytest.raises(ExceptionGroup) as caught:
        guarded(raising(ExceptionGroup("", [OmniError("one"), ZeroDivisionError()])))
    assert caught.group_contains(ZeroDivisionError)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, None])
def test_a_role_is_asked_to_stop(started: Started, how: signal.Signals | None) -> None:
    """By either signal, or because its starter is gone; it ends in its own way, with its own code."""
    process = started("-c", ROLE.format(after="", watch=how is None))
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "up\n"
    if how is None:
        process.stdin.close()
    else:
        process.send_signal(how)
    assert process.stdout.read() == "stopping\n"
    assert process.wait(timeout=5) == 7
    assert process.stderr is not None
    assert ("starter_gone" in process.stderr.read()) == (how is None)


def test_a_second_ctrl_c_does_not_wait(started: Started) -> None:
    """Whoever presses it twice means it."""
    process = started("-c", ROLE.format(after="await asyncio.Event().wait()", watch=False))
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "stopping\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=5) == 130


def test_a_starter_that_goes_is_not_waited_for(started: Started) -> None:
    """A role that hangs at its end is gone within two seconds of its starter."""
    process = started("-c", ROLE.format(after="await asyncio.Event().wait()", watch=True))
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "up\n"
    process.stdin.close()
    assert process.wait(timeout=2.5) == 1


async def test_a_port_in_use_is_refused_by_its_setting() -> None:
    """Waiting does not free it; the application is not even started."""
    begun = []

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        begun.append(True)
        yield

    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SettingsError) as refused:
            await serve_http(
                Starlette(lifespan=lifespan), setting="OMNI_API_PORT", host="127.0.0.1", port=port, stop=asyncio.Event()
            )
    assert str(refused.value) == (
        f"OMNI_API_PORT: found 127.0.0.1:{port}, where we cannot listen (Address already in use). "
        "End what listens there, or choose another host or port."
    )
    assert begun == []


async def test_an_application_that_cannot_start_says_why() -> None:
    """Its own error comes out: a newer schema is a refusal and no trace."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        raise refusal()
        yield

    with pytest.raises(SettingsError, match="OMNI_X"):
        await serve_http(
            Starlette(lifespan=lifespan), setting="OMNI_API_PORT", host="127.0.0.1", port=0, stop=asyncio.Event()
        )


async def test_stop_finishes_what_is_under_way() -> None:
    """A request that was taken is answered; then nobody listens any more, and the application was ended."""
    taken, go_on, stop = asyncio.Event(), asyncio.Event(), asyncio.Event()
    steps = []

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        steps.append("ended")

    async def slow(_request: Request) -> Response:
        taken.set()
        await go_on.wait()
        steps.append("answered")
        return Response("done")

    [port] = free_ports(1)
    app = Starlette(routes=[Route("/", slow)], lifespan=lifespan)
    serving = asyncio.create_task(serve_http(app, setting="OMNI_API_PORT", host="127.0.0.1", port=port, stop=stop))
    async with aiohttp.ClientSession() as client:
        asking = asyncio.create_task(_text(client, port))
        await asyncio.wait_for(taken.wait(), 5)
        stop.set()
        await _until_refused(port)
        ended_early, _ = await asyncio.wait({serving}, timeout=0.3)  # time enough to forget the request
        assert not ended_early
        go_on.set()
        assert await asking == "done"
        await serving
    assert steps == ["answered", "ended"]


async def test_a_full_collection_passes_by_what_was_imported() -> None:
    """It would take 0.1 s, in which nobody is answered."""
    gc.unfreeze()
    stop = asyncio.Event()

    async def count(_request: Request) -> Response:
        return Response(str(gc.get_freeze_count()))

    [port] = free_ports(1)
    app = Starlette(routes=[Route("/", count)])
    serving = asyncio.create_task(serve_http(app, setting="OMNI_API_PORT", host="127.0.0.1", port=port, stop=stop))
    async with aiohttp.ClientSession() as client:
        assert int(await _text(client, port)) > 10_000
    stop.set()
    await serving
    gc.unfreeze()


async def _text(client: aiohttp.ClientSession, port: int) -> str:
    while True:
        try:
            async with client.get(f"http://127.0.0.1:{port}/") as answer:
                return await answer.text()
        except aiohttp.ClientConnectorError:
            await asyncio.sleep(0)


async def _until_refused(port: int) -> None:
    """New connections are no longer taken."""
    while True:
        try:
            _reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except (ConnectionRefusedError, ConnectionResetError):
            return
        writer.close()


def test_files_that_make_no_tls_are_refused(tmp_path: Path) -> None:
    """Absent, not PEM, of another certificate, or with a password that nobody would be there to type."""
    one, other = certified(tmp_path / "one"), certified(tmp_path / "other")
    locked = tmp_path / "locked.pem"
    key = serialization.load_pem_private_key(one.key.read_bytes(), None)
    how = serialization.BestAvailableEncryption(b"secret")
    locked.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how))
    pairs = [
        (tmp_path / "none", one.key),
        (one.key, one.key),
        (one.cert, other.key),
        (one.cert, None),
        (one.cert, locked),
    ]
    for cert, key_file in pairs:
        with pytest.raises(SettingsError, match=r"^OMNI_X: found .*, which cannot be used"):
            Tls(cert, key_file, setting="OMNI_X").context()
    both = tmp_path / "both.pem"
    both.write_bytes(one.key.read_bytes() + one.cert.read_bytes())
    assert Tls(both, None, setting="OMNI_X").context() is not None
