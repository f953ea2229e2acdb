"""wiring.databases: which files, and what is refused in words."""

from pathlib import Path

import pytest
from tests.wiring.conftest import Make

from omni_etl.backends.database.keys import DatabaseKeys
from omni_etl.backends.database.registry import DatabaseRegistry
from omni_etl.backends.database.webhooks import DatabaseWebhooks
from omni_etl.clock import SystemClock
from omni_etl.errors import SettingsError
from omni_etl.wiring.databases import build_control, build_queue, control_database, outbox_database

CLOCK = SystemClock()
SECRET_URL = "postgresql://omni:hunter2@db.example.com/omni"


def test_nothing_named_means_files_in_the_data_directory(make_settings: Make, tmp_path: Path) -> None:
    """Control and outbox are two files, so that a busy outbox does not hold up a suppression."""
    mine = make_settings()
    assert control_database(mine, CLOCK).path == tmp_path / "omni-data" / "database" / "control.sqlite"
    assert outbox_database(mine, CLOCK).path == tmp_path / "omni-data" / "database" / "outbox.sqlite"


async def test_the_queue_has_a_file_of_its_own(make_settings: Make, tmp_path: Path) -> None:
    """In the data directory, or where the setting says."""
    for mine, path in (
        (make_settings(), tmp_path / "omni-data" / "queue" / "queue.sqlite"),
        (make_settings(queue_url=f"sqlite:///{tmp_path / 'q'}"), tmp_path / "q"),
    ):
        queue = build_queue(mine, CLOCK)
        await queue.open(["bulk"])
        await queue.close()
        assert path.exists()


@pytest.mark.parametrize("build", [control_database, outbox_database])
def test_another_database_is_refused_by_name(make_settings: Make, build: object) -> None:
    """The setting, what was found and what to do; the password is not repeated."""
    assert callable(build)
    with pytest.raises(SettingsError) as refused:
        build(make_settings(database_url=SECRET_URL), CLOCK)
    assert str(refused.value) == "OMNI_DATABASE_URL: found the scheme 'postgresql'. Write sqlite:///PATH."


@pytest.mark.parametrize("url", [SECRET_URL.replace("postgresql", "sqs"), "memory:", "queue.sqlite"])
def test_another_queue_is_refused_by_name(make_settings: Make, url: str) -> None:
    """The same for the queue."""
    with pytest.raises(SettingsError) as refused:
        build_queue(make_settings(queue_url=url), CLOCK)
    assert refused.value.setting == "OMNI_QUEUE_URL"
    assert repr(url.partition(":")[0]) in refused.value.found
    assert "sqlite:///PATH" in refused.value.fix
    assert "hunter2" not in str(refused.value)


def test_a_contract_is_found_by_its_name(make_settings: Make) -> None:
    """Each name is its own contract, all on the control database."""
    kinds = {"keys": DatabaseKeys, "registry": DatabaseRegistry, "webhooks": DatabaseWebhooks}
    built = {name: type(build_control(name, make_settings(), CLOCK)) for name in ("keys", "registry", "webhooks")}
    assert built == kinds
