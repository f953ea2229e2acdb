"""errors: one tree, drawn at its top."""

import inspect
import re

from omni_etl import errors
from omni_etl.errors import IntakeError, OmniError, SettingsError, SpoolFullError


def test_the_drawing_is_the_tree() -> None:
    """Every error stands in the drawing, under its own parent: the depth of its branch is the depth of its class."""
    drawn = {
        name: len(indent) // 4
        for indent, name in re.findall(r"^([├└│─ ]*)(\w+Error)", errors.__doc__ or "", re.MULTILINE)
    }
    defined = {
        name: len(each.__mro__) - len(OmniError.__mro__)
        for name, each in inspect.getmembers(errors, inspect.isclass)
        if issubclass(each, OmniError)
    }
    assert drawn == defined


def test_a_setting_that_is_wrong_says_what_to_do() -> None:
    """Name, finding and remedy in one sentence."""
    assert str(SettingsError("OMNI_X", "nothing", "Set it.")) == "OMNI_X: found nothing. Set it."


def test_a_full_spool_says_when_to_come_again() -> None:
    """As an HTTP answer."""
    error = SpoolFullError("full", retry_after_seconds=7)
    assert isinstance(error, IntakeError)
    assert (error.status, error.reason, error.retry_after_seconds) == (503, "full", 7)
