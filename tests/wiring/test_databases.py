"""wiring.databases: which files, and what is refused in words."""

import base64
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.wiring.conftest import Make

from omni_etl.clock import Clock, SystemClock
from omni_etl.errors import SettingsError
from omni_etl.settings import Settings
from omni_etl.wiring.databases import (
    build_database_queue,
    build_keys,
    build_outbox,
    build_registry,
    build_secret_box,
    build_suppression_list,
    build_webhooks,
    control_database,
    outbox_database,
)
from omni_etl.wiring.opened import Openable, opened

Build = Callable[[Settings, Clock], Openable]

CLOCK = SystemClock()
KEY = base64.b64encode(bytes(32)).decode()
SECRET_URL = "mysql://omni:hunter2@db.example.com/omni"


def test_nothing_named_means_files_in_the_data_directory(make_settings: Make, tmp_path: Path) -> None:
    """Control and outbox are two files, so that a busy outbox does not hold up a suppression."""
    mine = make_settings()
    assert control_database(mine, CLOCK).place == str(tmp_path / "omni-data" / "database" / "control.sqlite")
    assert outbox_database(mine, CLOCK).place == str(tmp_path / "omni-data" / "database" / "outbox.sqlite")


async def test_the_queue_has_a_file_of_its_own(make_settings: Make, tmp_path: Path) -> None:
    """In the data directory, or where the setting says."""
    for mine, path in (
        (make_settings(), tmp_path / "omni-data" / "queue" / "queue.sqlite"),
        (make_settings(queue_url=f"sqlite:///{tmp_path / 'q'}"), tmp_path / "q"),
    ):
        queue = build_database_queue(mine, CLOCK)
        await queue.open(["bulk"])
        await queue.close()
        assert path.exists()


@pytest.mark.parametrize("build", [control_database, outbox_database])
def test_another_database_is_refused_by_name(make_settings: Make, build: object) -> None:
    """The setting, what was found and what to do; the password is not repeated."""
    assert callable(build)
    with pytest.raises(SettingsError) as refused:
        build(make_settings(database_url=SECRET_URL), CLOCK)
    assert str(refused.value) == (
        "OMNI_DATABASE_URL: found the scheme 'mysql'. Write sqlite:///PATH or postgresql://user:password@host:port/name."
    )


@pytest.mark.parametrize("url", [SECRET_URL, "memory:", "queue.sqlite"])
def test_another_queue_is_refused_by_name(make_settings: Make, url: str) -> None:
    """The same for the queue."""
    with pytest.raises(SettingsError) as refused:
        build_database_queue(make_settings(queue_url=url), CLOCK)
    assert refused.value.setting == "OMNI_QUEUE_URL"
    assert repr(url.partition(":")[0]) in refused.value.found
    assert "sqlite:///PATH" in refused.value.fix
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("build", "file"),
    [
        (build_keys, "control"),
        (build_registry, "control"),
        (build_webhooks, "control"),
        (build_suppression_list, "control"),
        (build_outbox, "outbox"),
    ],
)
async def test_each_contract_lives_in_its_file(make_settings: Make, tmp_path: Path, build: Build, file: str) -> None:
    """What must change together is in one file; a busy outbox is in its own."""
    async with opened(build(make_settings(), CLOCK)):
        found = {path.name for path in (tmp_path / "omni-data" / "database").glob("*.sqlite")}
    assert found == {f"{file}.sqlite"}


async def test_all_parts_and_the_queue_may_be_in_one_postgresql(make_settings: Make, postgresql_url: str) -> None:
    """Same program, settings alone; and where it is, is said without the password."""
    mine = make_settings(database_url=postgresql_url, queue_url=postgresql_url, secrets_key=KEY)
    queue = build_database_queue(mine, CLOCK)
    await queue.open(["bulk"])
    await queue.close()
    for build in (build_keys, build_registry, build_webhooks, build_suppression_list, build_outbox):
        async with opened(build(mine, CLOCK)):
            pass
    place = control_database(mine, CLOCK).place
    assert postgresql_url.endswith(place.removeprefix("postgresql://"))
    assert "@" not in place


def test_with_sqlite_the_key_is_a_file_beside_the_database(make_settings: Make, tmp_path: Path) -> None:
    """Its owner's alone, and not in the directory that is copied for backups; every role finds the same."""
    sealed = build_secret_box(make_settings()).seal("hush", place="p")
    assert build_secret_box(make_settings()).open(sealed, place="p") == "hush"
    file = tmp_path / "omni-data" / "secrets.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert build_secret_box(make_settings(secrets_key=KEY)).holds(sealed) is False
    assert build_secret_box(make_settings(secrets_key=f"{KEY},{file.read_text()}")).open(sealed, place="p") == "hush"


def test_with_postgresql_a_key_must_be_named(make_settings: Make, tmp_path: Path) -> None:
    """A file would be another on each machine; what to do is said, and what needs no secrets starts without one."""
    mine = make_settings(database_url="postgresql://omni:hunter2@127.0.0.1:1/omni")
    with pytest.raises(SettingsError, match="openssl rand -base64 32") as refused:
        build_webhooks(mine, CLOCK)
    assert refused.value.setting == "OMNI_SECRETS_KEY"
    assert "hunter2" not in str(refused.value)
    build_keys(mine, CLOCK)
    assert not (tmp_path / "omni-data").exists()
