"""`omni up`: every role on one machine, under one data directory, on embedded engines."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import random
import secrets
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Final

import urllib3

from omni_etl import settings as settings_module
from omni_etl import telemetry
from omni_etl.clock import Clock
from omni_etl.embedded.ports import free_ports
from omni_etl.embedded.private_file import write_private
from omni_etl.embedded.roles import Role, Roles
from omni_etl.embedded.starter import watched
from omni_etl.embedded.valkey import EmbeddedValkey
from omni_etl.errors import SettingsError, UnavailableError
from omni_etl.settings import Settings
from omni_etl.wiring.databases import build_keys, build_registry
from omni_etl.wiring.opened import opened

READY_SECONDS_MAX: Final = 60.0
LOCK_SECONDS_MAX: Final = 3.0  # roles of a killed `omni up` end within two
PROBE_SECONDS_MAX: Final = 1.0
STOP_TOGETHER: Final = (("hose", "api"), ("run",), ("store", "tracker", "queue"))
RUNNING_FILE: Final = "up.json"
ENGINES: Final = frozenset({"queue_url", "tracker_url", "store_url", "database_url"})


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything is; what `omni up --json` prints when ready."""

    hose_url: str
    api_url: str
    api_key: str
    store_url: str
    database_url: str
    tracker_url: str
    data_dir: str
    pids: dict[str, int]

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class GivenQueue:
    """A queue that is not embedded, as the demo brings one; whoever types `omni up` cannot."""

    named: Mapping[str, object]  # the settings that name it
    prepare: Callable[[], Awaitable[None]]  # before anything uses it
    role: Role | None = None  # its server, where that is ours: started with the engines, stopped after them
    environment: Mapping[str, str] = field(default_factory=dict)  # what whoever looks at it from outside needs besides


class Up:
    """The set of roles on one data directory."""

    def __init__(
        self,
        settings: Settings,
        *,
        any_ports: bool,
        clock: Clock,
        rng: random.Random,
        queue: GivenQueue | None = None,
    ) -> None:
        self._clock = clock
        self._queue = queue
        self._directory = settings.data_dir.absolute()
        self._directory.mkdir(parents=True, exist_ok=True)
        self._valkey = EmbeddedValkey(self._directory / "tracker")
        self.settings = self._complete(settings, any_ports=any_ports)
        self._roles_in_order: list[Role] = []
        self._roles: Roles | None = None
        self._lock_descriptor: int | None = None
        self._rng = rng

    async def start(self) -> Places:
        """Start every role; return when all serve.

        Raises:
            SettingsError: another `omni up` has this directory.
            RoleFailedError: a role cannot start.

        """
        lock = self._lock_descriptor = await self._lock()
        self._roles = Roles(logs=self._directory / "logs", lock=lock, clock=self._clock, rng=self._rng)
        tracker, store, hose, parent, api = self._all()
        server = [self._queue.role] if self._queue is not None and self._queue.role is not None else []
        await self._start_together([*server, tracker, store])
        if self._queue is not None:
            await self._queue.prepare()
        await self._start_together([hose, parent, api])
        places = await self._places()
        self._write_down(places)
        return places

    async def watch(self) -> None:
        """Raises when a role cannot be kept running; returns never."""
        assert self._roles is not None
        await self._roles.watch()

    async def stop(self) -> None:
        """Hose and API first, so that what was accepted reaches the queue; engines last; then the directory is free."""
        if self._roles is None or self._lock_descriptor is None:
            return
        telemetry.get_logger().info("up_stopping")
        for names in STOP_TOGETHER:
            await asyncio.gather(*(self._roles.stop(role) for role in self._roles_in_order if role.name in names))
        (self._directory / RUNNING_FILE).unlink(missing_ok=True)
        os.close(self._lock_descriptor)
        self._lock_descriptor = None

    def pids(self) -> dict[str, int]:
        """The living roles."""
        return {} if self._roles is None else self._roles.pids()

    def _write_down(self, places: Places) -> None:
        """For `omni status` and its like, which find the running system by its data directory. Holds secrets."""
        found = {**places.as_dict(), "environment": settings_module.environment(self.settings)}
        write_private(self._directory / RUNNING_FILE, json.dumps(found))

    async def _start_together(self, roles: list[Role]) -> None:
        assert self._roles is not None
        self._roles_in_order += roles
        async with asyncio.TaskGroup() as tasks:
            for role in roles:
                tasks.create_task(self._roles.start(role, seconds_max=READY_SECONDS_MAX))

    def _complete(self, settings: Settings, *, any_ports: bool) -> Settings:
        """The settings with every engine named, so that each role can be started from its environment alone.

        Raises:
            SettingsError: an engine is named already; these roles would not use it.

        """
        for name in sorted(ENGINES & settings.model_fields_set):
            raise SettingsError(
                f"{settings_module.PREFIX}{name.upper()}",
                "a value, while `omni up` brings its own engines",
                "Unset it; or start the roles one by one: omni hose, omni run, omni api.",
            )
        ports = {name: getattr(settings, f"{name}_port") for name in ("hose", "api", "store")}
        if any_ports:
            ports = dict(zip(ports, free_ports(len(ports)), strict=True))
        password = secrets.token_urlsafe(24)
        embedded_queue = {"queue_url": f"sqlite:///{self._directory / 'queue' / 'queue.sqlite'}"}
        given = settings.model_dump(include=settings.model_fields_set)
        return settings_module.load(
            **{
                **given,
                "data_dir": self._directory,
                "database_url": f"sqlite:///{self._directory / 'database'}",
                **(embedded_queue if self._queue is None else self._queue.named),
                "tracker_url": self._valkey.url,
                "store_url": f"http://default:{password}@{settings.store_host}:{ports['store']}/default",
                "hose_url": given.get("hose_url", f"http://{settings.hose_host}:{ports['hose']}"),
                **{f"{name}_port": port for name, port in ports.items()},
            }
        )

    def _all(self) -> tuple[Role, Role, Role, Role, Role]:
        mine = self.settings
        environment = settings_module.environment(mine)
        seconds = mine.stop_seconds_max + 5

        def omni(name: str, url: str) -> Role:
            arguments = [sys.executable, "-m", "omni_etl", name, "--watch-stdin"]
            return Role(name, arguments, environment, lambda _pid: answers(url), seconds)

        valkey = watched(self._valkey.command())
        parent = omni("run", "")
        return (
            Role("tracker", valkey, {}, lambda _pid: self._tracker_answers(), seconds),
            omni("store", f"http://{mine.store_host}:{mine.store_port}/ping"),
            omni("hose", f"http://{mine.hose_host}:{mine.hose_port}/health"),
            Role(parent.name, parent.arguments, environment, self._parent_is_ready, seconds),
            omni("api", f"{_api_url(mine)}/health"),
        )

    async def _tracker_answers(self) -> bool:
        try:
            await self._valkey.wait_ready(self._clock, seconds_max=PROBE_SECONDS_MAX)
        except UnavailableError:
            return False
        return True

    async def _parent_is_ready(self, pid: int) -> bool:
        try:
            async with opened(build_registry(self.settings, self._clock)) as registry:
                every = await registry.reports()
        except UnavailableError:
            return False
        reports = [each for each in every if each.role == "run" and each.state.get("pid") == pid]
        return bool(reports) and all(each["ready"] for each in reports[0].state["services"].values())

    async def _places(self) -> Places:
        mine = self.settings
        return Places(
            hose_url=f"http://{mine.hose_host}:{mine.hose_port}",
            api_url=_api_url(mine),
            api_key=await self._api_key(),
            store_url=mine.store_url.get_secret_value(),
            database_url=mine.database_url.get_secret_value(),
            tracker_url=mine.tracker_url.get_secret_value(),
            data_dir=str(self._directory),
            pids={"up": os.getpid(), **self.pids()},
        )

    async def _api_key(self) -> str:
        """The key of this directory, kept beside the data for its owner's eyes; a new one where it no longer opens."""
        path = self._directory / "api_key"
        async with opened(build_keys(self.settings, self._clock)) as keys:
            if path.exists() and await keys.verify(path.read_text().strip()) is not None:
                return path.read_text().strip()
            secret = await keys.create("omni up")
        write_private(path, secret + "\n")
        return secret

    async def _lock(self) -> int:
        """One `omni up` a directory; roles inherit the lock, so it also waits for those of a killed one to end."""
        path = self._directory / "up.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        until = self._clock.monotonic() + LOCK_SECONDS_MAX
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = path.read_text().strip() or "unknown"
                if _is_alive(holder) or self._clock.monotonic() > until:
                    os.close(descriptor)
                    raise SettingsError(
                        "OMNI_DATA_DIR",
                        f"{self._directory}, where another `omni up` runs (pid {holder})",
                        "End that one, or choose another directory with --data.",
                    ) from None
                await self._clock.sleep(0.1)
            else:
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, str(os.getpid()).encode(), 0)
                return descriptor


def running(settings: Settings) -> Settings:
    """The settings of the `omni up` that runs on this data directory; `settings` as they are where none does."""
    path = settings.data_dir / RUNNING_FILE
    if not path.exists():
        return settings
    environment = json.loads(path.read_text())["environment"]
    names = {name.removeprefix(settings_module.PREFIX).lower(): value for name, value in environment.items()}
    return settings_module.load(**names)


def _api_url(settings: Settings) -> str:
    return f"http{'s' if settings.api_tls_cert else ''}://{settings.api_host}:{settings.api_port}"


def _is_alive(pid: str) -> bool:
    """Whether the holder runs; then waiting for the end of its roles is vain."""
    try:
        os.kill(int(pid), 0)
    except (ValueError, OSError):
        return False
    return True


async def answers(url: str) -> bool:
    """Whether a server of ours says 200 there; its certificate may be for another name than the one it listens on."""
    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    try:
        with urllib3.PoolManager(cert_reqs="CERT_NONE", retries=False, timeout=PROBE_SECONDS_MAX) as pool:
            answer = await asyncio.to_thread(pool.request, "GET", url)
    except urllib3.exceptions.HTTPError:
        return False
    return answer.status == 200  # noqa: PLR2004 OK
