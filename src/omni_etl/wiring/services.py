"""A service by its name: entry points of the group `omni_etl.services`, ours and anybody's."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Final

from omni_etl.errors import SettingsError
from omni_etl.service import Service
from omni_etl.settings import Settings

GROUP: Final = "omni_etl.services"


def build_service(name: str, settings: Settings) -> Service:
    """Load and build one service.

    Raises:
        SettingsError: no installed package offers it.

    """
    offered = {each.name: each for each in entry_points(group=GROUP)}
    if name not in offered:
        raise SettingsError("OMNI_SERVICES", repr(name), f"Installed services: {', '.join(sorted(offered))}.")
    service: Service = offered[name].load()(settings)
    assert service.name == name, f"the entry point {name} builds a service named {service.name}"
    return service


def check_services(settings: Settings) -> list[str]:
    """The services this parent runs, each known to be installed.

    Raises:
        SettingsError: none, or one that is not installed.

    """
    offered = {each.name for each in entry_points(group=GROUP)}
    unknown = [name for name in settings.service_names if name not in offered]
    if unknown or not settings.service_names:
        found = repr(", ".join(unknown)) if unknown else "no name"
        raise SettingsError("OMNI_SERVICES", found, f"Installed services: {', '.join(sorted(offered))}.")
    return settings.service_names
