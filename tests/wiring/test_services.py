"""services: found by their entry points, ours and anybody's."""

from pathlib import Path

import pytest

from omni_etl.errors import SettingsError
from omni_etl.settings import load
from omni_etl.wiring.services import build_service, check_services

FIFTH = """
class Fifth:
    types = frozenset({"click"})

    def __init__(self, name):
        self.name = name


def build(settings):
    return Fifth(settings.service_names[-1])
"""


@pytest.fixture
def fifth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package of somebody else's, as pip leaves it."""
    (tmp_path / "somebody_omni.py").write_text(FIFTH)
    described = tmp_path / "somebody_omni-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: somebody-omni\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text(
        "[omni_etl.services]\nfifth = somebody_omni:build\nmissing = somebody_omni:nothing\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("fifth")
def test_a_fifth_service_is_an_entry_point() -> None:
    """Installed beside us it is offered, checked and built with the settings, and nothing of ours names it."""
    settings = load(services="metrics, fifth")
    assert check_services(settings) == ["metrics", "fifth"]
    service = build_service("fifth", settings)
    assert service.name == "fifth"
    assert service.types == {"click"}


@pytest.mark.usefixtures("fifth")
def test_a_service_has_the_name_of_its_entry_point() -> None:
    """Ledgers, sidings and dead letters go by it: a service under a wrong name is a fault of its author."""
    with pytest.raises(AssertionError, match="builds a service named other"):
        build_service("fifth", load(services="other"))


@pytest.mark.parametrize("services", ["metrics,nobody", "", " , "])
def test_a_service_that_is_not_installed_is_refused(services: str) -> None:
    """Waiting cannot heal it; the answer names what there is."""
    with pytest.raises(SettingsError, match=r"Installed services: .*metrics") as refused:
        check_services(load(services=services))
    assert refused.value.setting == "OMNI_SERVICES"
    assert ("nobody" in refused.value.found) == ("nobody" in services)


def test_an_unknown_name_builds_nothing() -> None:
    """In a child as in the parent."""
    with pytest.raises(SettingsError, match="'nobody'"):
        build_service("nobody", load())


def test_our_own_four_are_offered() -> None:
    """By the same way as anybody's."""
    names = ["metrics", "message_events", "suppressions", "webhooks"]
    assert check_services(load()) == names
