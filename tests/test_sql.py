"""sql: the statements ship with the package, one a file, and the schema's steps follow each other."""

import pytest

from omni_etl import sql


def test_the_steps_of_the_schema_are_numbered_without_gaps() -> None:
    """A store says by one number what it has; 1 to 6 were steps that have changed since."""
    assert [step.version for step in sql.schema()] == [0, *range(7, 6 + len(sql.schema()))]


def test_each_step_may_be_repeated_and_makes_what_it_is_named_after() -> None:
    """A crash between a step and its note repeats the step."""
    for step in sql.schema():
        assert f"CREATE TABLE IF NOT EXISTS {step.name}\n" in step.statement


@pytest.mark.parametrize("name", ["markers", "message_events_count", "metrics_by_type"])
def test_a_query_is_found_by_its_name(name: str) -> None:
    """Loaded as package files, so they are there once installed."""
    assert "SELECT" in sql.query(name)


def test_a_command_is_found_by_its_name() -> None:
    """The same for statements that write."""
    assert sql.command("set_tracker_epoch").startswith("INSERT INTO tracker_epochs")
