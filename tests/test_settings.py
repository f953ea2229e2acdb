"""settings: where they come from, who wins, and what is refused."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from omni_etl.errors import SettingsError
from omni_etl.settings import PREFIX, Settings, environment, load


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory without omni.toml."""
    monkeypatch.chdir(tmp_path)


def test_arguments_win_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nearest word counts."""
    (tmp_path / "omni.toml").write_text("hose_port = 1\napi_port = 1\nstore_port = 1\n")
    monkeypatch.setenv("OMNI_API_PORT", "2")
    monkeypatch.setenv("OMNI_STORE_PORT", "2")
    loaded = load(store_port=3)
    assert (loaded.hose_port, loaded.api_port, loaded.store_port) == (1, 2, 3)


def test_a_wrong_value_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """As people write it, with what was found."""
    monkeypatch.setenv("OMNI_API_PORT", "door")
    with pytest.raises(SettingsError, match=r"OMNI_API_PORT: found 'door'") as refused:
        load()
    assert refused.value.setting == "OMNI_API_PORT"


def test_a_setting_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """A mistyped name in the file must not pass for a default."""
    (tmp_path / "omni.toml").write_text("api_prot = 1\n")
    with pytest.raises(SettingsError, match="OMNI_API_PROT"):
        load()


def test_secrets_are_not_shown() -> None:
    """Whatever may hold a password prints as stars."""
    loaded = load(store_url="http://user:hidden@host", tracker_url="redis://:hidden@host", database_url="hidden")
    assert "hidden" not in f"{loaded!r} {loaded}"


def test_a_child_gets_what_was_changed_and_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets and paths included; what was left alone stays a default of the child's own."""
    given = load(store_url="http://u:p@host", data_dir="somewhere", child_slots=4, spool_dir=None)
    changed = environment(given)
    assert changed == {
        "OMNI_STORE_URL": "http://u:p@host",
        "OMNI_DATA_DIR": "somewhere",
        "OMNI_CHILD_SLOTS": "4",
    }
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    assert load() == given


def test_names_of_services_are_a_list() -> None:
    """Spaces and empty places do not matter."""
    assert load(services=" metrics, webhooks,, ").service_names == ["metrics", "webhooks"]


def test_the_spool_is_in_the_data_directory_unless_told() -> None:
    """One directory to back up, or a disk of its own."""
    assert load(data_dir="d").spool_path == Path("d/hose")
    assert load(data_dir="d", spool_dir="s").spool_path == Path("s")


def test_each_setting_has_a_sentence_and_what_may_hold_a_password_is_secret() -> None:
    """The docs are made from the one, the logs rely on the other."""
    for name, field in Settings.model_fields.items():
        assert (field.description or "").endswith("."), name
    urls = {name for name in Settings.model_fields if name.endswith("_url")}
    assert urls
    assert all(Settings.model_fields[name].annotation is SecretStr for name in urls)
    assert PREFIX == "OMNI_"


def test_a_wrong_secret_is_not_repeated() -> None:
    """An address may hold a password, whatever else is wrong with it."""
    with pytest.raises(SettingsError) as refused:
        load(tracker_url=["redis://:hunter2@host"])
    assert refused.value.setting == "OMNI_TRACKER_URL"
    assert "hunter2" not in str(refused.value)
