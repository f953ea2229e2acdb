"""How a role lives as a process: signals, the starter's pipe, exit codes, and an HTTP server that obeys us."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvicorn
import uvloop
from rich.console import Console
from rich.markup import escape
from starlette.applications import Starlette

from omni_etl import telemetry
from omni_etl.embedded.http_head import BoundedHead
from omni_etl.embedded.starter import watch_starter
from omni_etl.errors import OmniError, SettingsError
from omni_etl.heap import settle_heap
from omni_etl.settings import Settings

EXIT_FAILED: Final = 1
EXIT_REFUSED: Final = 2  # a setting that waiting cannot heal; whoever starts us again must not try
EXIT_INTERRUPTED: Final = 128 + signal.SIGINT
PRIVATE: Final = 0o077  # recipients' addresses stand in what a role keeps: its files are for its own user's eyes
KEEP_ALIVE_SECONDS: Final = 75  # uvicorn's 5 s breaks clients that post now and then

Main = Callable[[asyncio.Event], Coroutine[Any, Any, int]]


def run_role(main: Main, settings: Settings, *, watch_stdin: bool) -> int:
    """Run `main(stop)` to its end. `stop` is set by SIGTERM, SIGINT, or the starter's end; a second Ctrl-C kills."""
    os.umask(PRIVATE)
    telemetry.configure_logs(settings.log_level, settings.log_format)
    return guarded(lambda: uvloop.run(_with_signals(main, watch_stdin=watch_stdin)))


def guarded(run: Callable[[], int]) -> int:
    """Errors of ours as a sentence on stderr and an exit code; anything else is a fault and shows its trace."""
    code = EXIT_INTERRUPTED
    try:
        code = run()
    except* OmniError as errors:
        _say(errors)
        code = EXIT_FAILED if errors.subgroup(SettingsError) is None else EXIT_REFUSED
    except* KeyboardInterrupt:
        pass
    return code


@dataclass(frozen=True, slots=True)
class Tls:
    """Files of PEM; without `key`, the key is in the certificate's. `setting` names them where they are wrong."""

    cert: Path
    key: Path | None
    setting: str

    def context(self) -> ssl.SSLContext:
        """For a server, as Python's defaults have it: TLS 1.2 or newer.

        Raises:
            SettingsError: they cannot be read, or do not belong together.

        """
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(self.cert, self.key, password=_no_password)
        except (OSError, ValueError) as error:  # ssl's errors are OSErrors
            found = f"{self.cert}{f' with {self.key}' if self.key else ''}, which cannot be used ({error})"
            fix = "Name a certificate and its key as files of PEM, readable here, without a password."
            raise SettingsError(self.setting, found, fix) from None
        return context


def _no_password() -> str:
    raise ValueError("it has a password")


async def serve_http(
    app: Starlette, *, setting: str, host: str, port: int, stop: asyncio.Event, tls: Tls | None = None
) -> None:
    """Serve until `stop`; then finish what is under way, at most a few seconds.

    Listening and the application's start and end are ours, because uvicorn answers their errors with `sys.exit`.

    Raises:
        SettingsError: the address, which `setting` names, cannot be listened on; or `tls` cannot be used.

    """
    context = tls.context() if tls else None
    with _listener(setting, host, port) as listener:
        async with app.router.lifespan_context(app):
            settle_heap()
            await _serve(app, listener, stop, context)


async def _serve(app: Starlette, listener: socket.socket, stop: asyncio.Event, context: ssl.SSLContext | None) -> None:
    config = uvicorn.Config(
        app,
        http=BoundedHead,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=5,
        ssl_context_factory=(lambda _config, _default: context) if context else None,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    stopping.cancel()
    await serving


def _listener(setting: str, host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = str(error.strerror).partition(" (while")[0]  # Python repeats the address there
        found = f"{host}:{port}, where we cannot listen ({reason})"
        raise SettingsError(setting, found, "End what listens there, or choose another host or port.") from None


class _Server(uvicorn.Server):
    """Leaves the signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _with_signals(main: Main, *, watch_stdin: bool) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, _interrupted, loop, stop)
    if watch_stdin:
        watch_starter(sys.stdin.fileno(), stop=lambda: _starter_gone(loop, stop))
    return await main(stop)


def _interrupted(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Ctrl-C asks; the next one is Python's own and does not wait for the answer."""
    stop.set()
    loop.remove_signal_handler(signal.SIGINT)


def _starter_gone(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    telemetry.get_logger().warning("starter_gone")
    with contextlib.suppress(RuntimeError):  # the loop ended by itself meanwhile
        loop.call_soon_threadsafe(stop.set)


def _say(errors: BaseExceptionGroup[OmniError]) -> None:
    console = Console(stderr=True)
    for error in leaves(errors):
        console.print(f"[bold red]omni:[/] {escape(str(error))}", highlight=False, soft_wrap=True)


def leaves(group: BaseExceptionGroup[OmniError]) -> list[BaseException]:
    """The errors in a group, however nested."""
    found: list[BaseException] = []
    for each in group.exceptions:
        found += leaves(each) if isinstance(each, BaseExceptionGroup) else [each]
    return found
