"""A real PostgreSQL for tests to use, stop, halt and kill: Debian's server, on loopback, fsync on, as a user it accepts."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest

from omni_etl.embedded.ports import free_ports
from omni_etl.embedded.starter import watched

USER = "omni"
PASSWORD = "a p@ss/wörd:of?odd#characters"
READY = "database system is ready to accept connections"
USERS = ("postgres", "nobody")  # PostgreSQL refuses to run as root


class PostgresqlServer:
    """One server on a directory of its own; `start` it again after `kill` or `stop`."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._as_user = _as_user()
        self.directory = Path(tempfile.mkdtemp(prefix="omni-postgresql-"))  # tmp_path is root's alone
        [self.port] = free_ports(1)
        self._numbers = count(1)
        if self._as_user:
            os.chown(self.directory, *_ids())
        with tempfile.NamedTemporaryFile("w", encoding="utf-8") as password:
            password.write(PASSWORD)
            password.flush()
            Path(password.name).chmod(0o644)
            self._run(
                "initdb",
                *("--pgdata", str(self._data), "--username", USER, "--pwfile", password.name),
                *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8"),
            )

    def url(self, database: str = "postgres", *, user: str = USER, password: str = PASSWORD) -> str:
        """As `OMNI_DATABASE_URL` has it."""
        return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def empty_database(self, name: str = "") -> str:
        """The URL of a new one; under a name that is there already: of that one, emptied, which takes a tenth of the time."""
        if name and self.sql(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):
            self.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
            self.sql(f"ALTER DATABASE {name} RESET ALL")
            self.sql(
                "DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO PUBLIC",
                url=self.url(name),
            )
        else:
            name = name or f"test_{next(self._numbers)}"
            self.sql(f"CREATE DATABASE {name}")
        return self.url(name)

    def role(self, options: str) -> str:
        """The name of a new one, with the same password."""
        name = f"role_{next(self._numbers)}"
        self.sql(f"CREATE ROLE {name} LOGIN {options} PASSWORD '{PASSWORD}'")
        return name

    def sql(self, statement: str, *, url: str = "") -> str:
        """Run statements as the server's owner, by `psql`; answers the last one's rows, fields with `|` between them."""
        options = ("--no-psqlrc", "--tuples-only", "--no-align", "--quiet", "--set=ON_ERROR_STOP=1")
        return self._run("psql", *options, "--command", statement, url or self.url())

    def start(self, *options: str) -> None:
        """Return when it takes connections."""
        server = [str(self._programs / "postgres"), "-D", str(self._data), "-p", str(self.port)]
        settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=200", *options]
        self._process = subprocess.Popen(
            watched([*self._as_user, *server, *(part for each in settings for part in ("-c", each))]),
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd="/",
        )
        assert self._process.stderr is not None
        said = []
        for line in self._process.stderr:
            said.append(line)
            if READY in line:
                self._listener = threading.Thread(target=self._process.stderr.read, daemon=True)
                self._listener.start()
                return
        raise AssertionError("".join(said))

    def kill(self) -> None:
        """Kill -9 of every process of it at once, as when its machine loses power (what was written stays with the kernel)."""
        for each in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        self._end()

    def stop(self) -> None:
        """The fast way: sessions are ended, not waited for."""
        self.processes()[0].send_signal(signal.SIGINT)
        self._end()

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP makes it hang, SIGCONT lets it go on."""
        for each in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                each.send_signal(number)

    def processes(self) -> list[psutil.Process]:
        """The server's own, its first one first."""
        return list(psutil.Process(self._process.pid).children(recursive=True))

    def remove(self) -> None:
        """End it and take its directory away."""
        if self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.directory)

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def _end(self) -> None:
        self._process.wait(20)
        self._listener.join(20)
        for pipe in (self._process.stdin, self._process.stderr):
            assert pipe is not None
            pipe.close()

    def _run(self, program: str, *arguments: str) -> str:
        command = [*self._as_user, str(self._programs / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@contextlib.contextmanager
def postgresql_server(*options: str) -> Iterator[PostgresqlServer]:
    """A running server, gone afterwards; skips the test where none is installed."""
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL server here: apt-get install postgresql")
    server = PostgresqlServer(programs)
    server.start(*options)
    try:
        yield server
    finally:
        server.remove()


def _programs() -> Path | None:
    """The newest server's, where Debian puts them, or on the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda each: int(each.parts[-3]))
    on_path = shutil.which("postgres")
    if found:
        return found[-1].parent
    return Path(on_path).resolve().parent if on_path else None


def _as_user() -> list[str]:
    """What to put before a command so that it does not run as root."""
    if os.geteuid() != 0:
        return []
    user, group = _ids()
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]


def _ids() -> tuple[int, int]:
    for name in USERS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_uid, pwd.getpwnam(name).pw_gid
    raise AssertionError(f"none of the users {USERS} is there")
