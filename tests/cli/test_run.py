"""cli.run: how the parent's process ends when it does not end by itself. As a process: test_roles.py."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from structlog.testing import capture_logs

from omni_etl import settings
from omni_etl.cli import run
from omni_etl.errors import SettingsError, UnavailableError


@pytest.fixture
def fails_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], Coroutine[Any, Any, int]]:
    """A parent that ends so."""

    def ending(error: Exception) -> Coroutine[Any, Any, int]:
        def fail(_settings: settings.Settings) -> None:
            raise error

        monkeypatch.setattr(run, "build_parent", fail)
        return run.serve(settings.load(), asyncio.Event())

    return ending


Ends = Callable[[Exception], Coroutine[Any, Any, int]]


async def test_an_error_of_our_own_is_logged_whole(fails_with: Ends) -> None:
    """The process ends as failed, so that whoever started it starts another; its leases lapse."""
    with capture_logs() as logs:
        assert await fails_with(ExceptionGroup("", [AssertionError("a promise")])) == 1
    assert [(line["event"], line["exc_info"]) for line in logs] == [("run_failed", True)]


async def test_expected_trouble_goes_on_to_become_a_sentence(fails_with: Ends) -> None:
    """A setting that waiting cannot heal is no fault of ours, however deep in a group."""
    refused = SettingsError("OMNI_X", "nothing", "Name one.")
    with capture_logs() as logs, pytest.raises(ExceptionGroup) as caught:
        await fails_with(ExceptionGroup("", [ExceptionGroup("", [refused]), UnavailableError("away")]))
    assert caught.group_contains(SettingsError)
    assert caught.group_contains(UnavailableError)
    assert logs == []


async def test_trouble_beside_a_fault_hides_neither(fails_with: Ends) -> None:
    """The fault is logged, the refusal still decides the exit code."""
    refused = SettingsError("OMNI_X", "nothing", "Name one.")
    with capture_logs() as logs, pytest.raises(ExceptionGroup) as caught:
        await fails_with(ExceptionGroup("", [refused, ZeroDivisionError()]))
    assert caught.group_contains(SettingsError)
    assert not caught.group_contains(ZeroDivisionError)
    assert [line["event"] for line in logs] == ["run_failed"]
