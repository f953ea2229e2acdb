"""services.metrics.measures: what one event counts as."""

import pytest

from omni_etl.event import TYPES, UserAgentParsed
from omni_etl.services.metrics.measures import FIELDS, CountedFields, measures


def measure(type_name: str, **fields: object) -> str | None:
    """Of one event."""
    [found] = measures(type_name, [FIELDS.get(type_name, CountedFields)(timestamp="1", **fields)])  # type: ignore[arg-type]  # by name
    return found


@pytest.mark.parametrize(
    ("num_retries", "expected"),
    [
        *((text, "delivered_first") for text in (None, "", "0", "00", "-1", "x", "1.5", "²", " 1")),
        *((text, "delivered_second") for text in ("1", "01")),
        *((text, "delivered_third_or_later") for text in ("2", "3", "10", "007", "9" * 5000)),
    ],
)
def test_a_delivery_counts_by_its_attempt(num_retries: str | None, expected: str) -> None:
    """Text that is no number counts as the first attempt, and nothing fails."""
    assert measure("delivery", num_retries=num_retries) == expected


def test_a_delay_counts_as_first_or_again() -> None:
    """`count_delayed_first` is the delays of first attempts."""
    assert measure("delay", num_retries="0") == "delayed_first"
    assert measure("delay", num_retries="1") == measure("delay", num_retries="7") == "delayed_again"


@pytest.mark.parametrize(
    ("bounce_class", "expected"),
    [("10", "hard"), ("22", "soft"), ("50", "block"), ("25", "admin"), ("x", "undetermined")],
)
def test_a_bounce_counts_by_its_category(bounce_class: str, expected: str) -> None:
    """In-band and out-of-band are kept apart."""
    assert measure("bounce", bounce_class=bounce_class) == f"bounce_{expected}"
    assert measure("out_of_band", bounce_class=bounce_class) == f"out_of_band_{expected}"


@pytest.mark.parametrize(
    ("type_name", "expected"), [("open", "rendered"), ("initial_open", "initial_rendered"), ("click", "clicked")]
)
def test_a_prefetch_is_kept_apart(type_name: str, expected: str) -> None:
    """`count_nonprefetched_*` leaves out what a proxy fetched; what does not say counts as a person's."""
    for agent in (None, UserAgentParsed(), UserAgentParsed(is_prefetched=False)):
        assert measure(type_name, user_agent_parsed=agent) == expected
    assert measure(type_name, user_agent_parsed=UserAgentParsed(is_prefetched=True)) == f"{expected}_prefetched"


def test_both_unsubscribes_are_one() -> None:
    """`count_unsubscribe` adds list and link."""
    assert measure("list_unsubscribe") == measure("link_unsubscribe") == "unsubscribe"


def test_the_other_types_count_in_their_family_alone() -> None:
    """Whether amp_* feeds clicks and opens is undocumented, so it does not; relay, tests, ingest and sms are no mail sent."""
    uncounted = {name for name in TYPES if measure(name) is None}
    assert uncounted == {
        "amp_click", "amp_open", "amp_initial_open", "sms_status", "ab_test_completed", "ab_test_cancelled",
        "relay_injection", "relay_rejection", "relay_delivery", "relay_tempfail", "relay_permfail", "success", "error",
    }  # fmt: skip
