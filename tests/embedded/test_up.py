"""embedded.up: one system on one directory. The roles are recorded here; real ones run in tests/e2e."""

import asyncio
import fcntl
import json
import os
import random
import stat
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from omni_etl import settings as settings_module
from omni_etl.clock import ManualClock, SystemClock
from omni_etl.embedded import up
from omni_etl.embedded.roles import Role, RoleFailedError
from omni_etl.embedded.up import GivenQueue, Places, Up, running
from omni_etl.errors import SettingsError
from omni_etl.settings import Settings, environment
from omni_etl.wiring.databases import build_keys


class RecordedRoles:
    """In place of processes: what was started and stopped, in order. A role that `fails` cannot start."""

    steps: list[str]
    fails = ""

    def __init__(self, *, logs: Path, lock: int, clock: object, rng: random.Random) -> None:
        os.fstat(lock)  # it is open

    async def start(self, role: Role, *, seconds_max: float) -> None:
        """Ready at once."""
        self.steps.append(f"start {role.name}")
        if role.name == self.fails:
            raise RoleFailedError(f"{role.name} cannot start")

    async def stop(self, role: Role) -> None:
        """Gone at once."""
        self.steps.append(f"stop {role.name}")

    def pids(self) -> dict[str, int]:
        """None is real."""
        return {"hose": 1}


class HastyClock(ManualClock):
    """Whoever sleeps moves it."""

    async def sleep(self, seconds: float) -> None:
        """No time passes for anybody else."""
        self.advance(seconds)
        await asyncio.sleep(0)


@pytest.fixture
def roles(monkeypatch: pytest.MonkeyPatch) -> type[RecordedRoles]:
    """What the system under test starts."""
    recorded = type("Recorded", (RecordedRoles,), {"steps": []})
    monkeypatch.setattr(up, "Roles", recorded)
    return recorded


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings without `omni.toml`."""
    monkeypatch.chdir(tmp_path)
    return settings_module.load(data_dir=tmp_path / "d", leases_max=7)


def system(settings: Settings, *, any_ports: bool = False) -> Up:
    """Not yet started."""
    return Up(settings, any_ports=any_ports, clock=HastyClock(), rng=random.Random(1))


async def restarted(settings: Settings) -> Places:
    """One life of a system."""
    subject = system(settings)
    places = await subject.start()
    await subject.stop()
    return places


def test_every_engine_is_named(mine: Settings, tmp_path: Path) -> None:
    """Each role can be started from its environment alone: data is absolute, the store has a password, the rest stands."""
    complete = system(mine).settings
    password = complete.store_url.get_secret_value().removeprefix("http://default:").partition("@")[0]
    assert len(password) >= 24
    assert environment(complete) == {
        "OMNI_DATA_DIR": str(tmp_path / "d"),
        "OMNI_DATABASE_URL": f"sqlite:///{tmp_path}/d/database",
        "OMNI_QUEUE_URL": f"sqlite:///{tmp_path}/d/queue/queue.sqlite",
        "OMNI_TRACKER_URL": f"unix://{tmp_path}/d/tracker/valkey.sock",
        "OMNI_STORE_URL": f"http://default:{password}@127.0.0.1:8127/default",
        "OMNI_HOSE_URL": "http://127.0.0.1:8125",
        "OMNI_HOSE_PORT": "8125",
        "OMNI_API_PORT": "8126",
        "OMNI_STORE_PORT": "8127",
        "OMNI_LEASES_MAX": "7",
    }
    assert system(mine).settings.store_url != complete.store_url  # a new password at every start


async def test_the_api_forwards_to_the_hose_beside_it(mine: Settings, roles: type[RecordedRoles]) -> None:
    """Unless another is named; and where it speaks TLS, its address says so."""
    elsewhere = SecretStr("http://hose.example.com:8125")
    given = mine.model_copy(update={"hose_url": elsewhere, "api_tls_cert": Path("cert.pem")})
    assert roles.steps == []
    subject = system(given)
    places = await subject.start()
    await subject.stop()
    assert subject.settings.hose_url == elsewhere
    assert (places.api_url, places.hose_url) == ("https://127.0.0.1:8126", "http://127.0.0.1:8125")


async def test_a_given_queue_is_there_before_anything_uses_it(mine: Settings, roles: type[RecordedRoles]) -> None:
    """Its server starts with the engines and ends after them; every role is told its address."""

    async def prepare() -> None:
        roles.steps.append("prepare queue")

    async def is_ready(_pid: int) -> bool:
        return True

    role = Role("queue", ["moto"], {}, is_ready, 1.0)
    given = GivenQueue({"queue_url": "sqs://", "sqs_endpoint_url": "http://127.0.0.1:1"}, prepare, role)
    subject = Up(mine, any_ports=False, clock=HastyClock(), rng=random.Random(1), queue=given)
    await subject.start()
    await subject.stop()
    assert environment(subject.settings)["OMNI_QUEUE_URL"] == "sqs://"
    assert environment(subject.settings)["OMNI_SQS_ENDPOINT_URL"] == "http://127.0.0.1:1"
    assert set(roles.steps[:3]) == {"start queue", "start tracker", "start store"}
    assert roles.steps[3] == "prepare queue"
    assert roles.steps.index("stop queue") > roles.steps.index("stop run")


@pytest.mark.parametrize("name", sorted(up.ENGINES))
def test_an_engine_that_is_named_already_is_refused(mine: Settings, name: str) -> None:
    """`omni up` would not use it, and whoever named it would look for their data there."""
    named = mine.model_copy(update={name: "x"})
    named.model_fields_set.add(name)
    with pytest.raises(SettingsError) as refused:
        system(named)
    assert refused.value.setting == f"OMNI_{name.upper()}"


def test_free_ports_where_asked(mine: Settings) -> None:
    """All different, none a default, and the store's URL names its own."""
    complete = system(mine, any_ports=True).settings
    ports = {complete.hose_port, complete.api_port, complete.store_port}
    assert len(ports) == 3
    assert not ports & {8125, 8126, 8127}
    assert f":{complete.store_port}/" in complete.store_url.get_secret_value()


async def test_engines_start_first_and_the_hose_stops_first(mine: Settings, roles: type[RecordedRoles]) -> None:
    """What it accepted still reaches the queue; the engines outlive whoever uses them."""
    with capture_logs() as logs:
        await restarted(mine)
    assert [line["event"] for line in logs] == ["up_stopping"]
    names = [step.split()[1] for step in roles.steps]
    assert set(names[:2]) == {"tracker", "store"}
    assert set(names[2:5]) == {"hose", "run", "api"}
    assert set(roles.steps[5:7]) == {"stop hose", "stop api"}
    assert roles.steps[7] == "stop run"
    assert set(roles.steps[8:]) == {"stop store", "stop tracker"}


async def test_a_start_that_failed_is_taken_back(mine: Settings, roles: type[RecordedRoles]) -> None:
    """What was started is stopped, nothing says that a system runs, and the directory is free again."""
    roles.fails = "hose"
    subject = system(mine)
    with pytest.raises(ExceptionGroup) as caught:
        await subject.start()
    assert caught.group_contains(RoleFailedError)
    await subject.stop()
    assert {"stop tracker", "stop store"} <= set(roles.steps)
    assert not (mine.data_dir / "up.json").exists()
    roles.fails = ""
    await restarted(mine)


@pytest.mark.usefixtures("roles")
async def test_it_is_written_down_for_its_owner_alone_while_it_runs(mine: Settings) -> None:
    """`omni status` finds it there; it holds secrets; after the stop it is gone."""
    assert running(mine) is mine
    subject = system(mine, any_ports=True)
    places = await subject.start()
    path = mine.data_dir / "up.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    written = json.loads(path.read_text())
    assert {name: written[name] for name in places.as_dict()} == places.as_dict()
    assert places.pids == {"up": os.getpid(), "hose": 1}
    assert environment(running(mine)) == environment(subject.settings)
    await subject.stop()
    assert not path.exists()
    assert running(mine) is mine


@pytest.mark.usefixtures("roles")
async def test_the_api_key_stays_and_a_revoked_one_is_replaced(mine: Settings) -> None:
    """It opens the API over restarts; its file is its owner's alone."""
    first = (await restarted(mine)).api_key
    assert (await restarted(mine)).api_key == first
    assert stat.S_IMODE((mine.data_dir / "api_key").stat().st_mode) == 0o600
    clock = SystemClock()
    keys = build_keys(mine, clock)
    await keys.open()
    [key] = await keys.all()
    await keys.revoke(key.id)
    second = (await restarted(mine)).api_key
    assert second != first
    assert await keys.verify(second) is not None
    await keys.close()
    assert (await restarted(mine)).api_key == second


@pytest.mark.usefixtures("roles")
async def test_a_directory_has_one_system(mine: Settings) -> None:
    """A second is refused with the pid of the first, waits no longer than dying roles need, and does no harm."""
    first, second = system(mine), system(mine)
    await first.start()
    written = (mine.data_dir / "up.json").read_text()
    with pytest.raises(SettingsError) as refused:
        await second.start()
    assert refused.value.setting == "OMNI_DATA_DIR"
    assert refused.value.found == f"{mine.data_dir}, where another `omni up` runs (pid {os.getpid()})"
    assert "--data" in refused.value.fix
    await second.stop()
    assert (mine.data_dir / "up.json").read_text() == written
    await first.stop()
    await restarted(mine)


@pytest.mark.usefixtures("roles")
async def test_roles_of_a_killed_system_are_waited_for(mine: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """They hold the lock until they have ended."""
    subject = system(mine)
    dying = os.open(mine.data_dir / "up.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(dying, fcntl.LOCK_EX)
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        os.close(dying)

    monkeypatch.setattr(subject._clock, "sleep", sleep)
    await subject.start()
    await subject.stop()
    assert len(slept) == 1


async def test_stopping_what_never_started_is_nothing(mine: Settings) -> None:
    """Ctrl-C may come at once."""
    await system(mine).stop()


def test_the_roles_environment_is_the_whole_of_it(mine: Settings) -> None:
    """A role started from it reads the same settings again."""
    complete = system(mine).settings
    named: dict[str, Any] = {name.removeprefix("OMNI_").lower(): value for name, value in environment(complete).items()}
    assert settings_module.load(**named) == complete
