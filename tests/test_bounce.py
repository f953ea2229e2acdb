"""bounce: the class decides the category, and the category what is suppressed and what is counted."""

import pytest

from omni_etl.bounce import CATEGORIES, CLASSES, category
from omni_etl.event import SUPPRESSING_BOUNCE_CLASSES


def test_the_hard_classes_are_the_suppressing_ones() -> None:
    """Two files speak of the same table; they agree."""
    assert {code for code in CLASSES if category(code) == "hard"} == SUPPRESSING_BOUNCE_CLASSES


@pytest.mark.parametrize("code", [None, "", "0", "999", "x", "1"])
def test_an_unknown_class_is_undetermined(code: str | None) -> None:
    """A bounce that nobody can explain is a bounce all the same."""
    assert category(code) == "undetermined"


def test_each_class_has_a_known_category() -> None:
    """All 21 of SparkPost's table, each with a name."""
    assert len(CLASSES) == 21
    assert {kind for _, kind in CLASSES.values()} == set(CATEGORIES)
