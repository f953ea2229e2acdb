"""limits: the parent's numbers."""

from dataclasses import fields

from omni_etl.settings import Settings
from omni_etl.supervisor.limits import SupervisorLimits


def test_each_limit_is_a_setting_of_the_same_name() -> None:
    """So that whoever reads a limit finds its sentence, and wiring needs no list."""
    assert {each.name for each in fields(SupervisorLimits)} <= Settings.model_fields.keys()
