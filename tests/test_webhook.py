"""webhook: whether it wants an event, and what signs when. The contract's suite is in `contracts/test_webhooks.py`."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_etl.webhook import OVERLAP_SECONDS_MAX, SECRETS_MAX, SUBACCOUNTS_ALL, Webhook

ALL = Webhook("1", "mine", "https://example.com", frozenset({"click"}), auth_header="Basic hidden")


@pytest.mark.parametrize(
    ("webhook", "subaccounts"),
    [
        (ALL, {0, 7, 8}),
        (replace(ALL, subaccount_id=0), {0}),
        (replace(ALL, subaccount_id=7), {7}),
        (replace(ALL, exception_subaccounts=frozenset({7})), {0, 8}),
        (replace(ALL, subaccount_id=7, exception_subaccounts=frozenset({7})), set()),
        (replace(ALL, active=False), set()),
        (replace(ALL, events=frozenset({"open"})), set()),
    ],
)
def test_an_event_belongs_to_a_webhook_by_type_and_subaccount(webhook: Webhook, subaccounts: set[int]) -> None:
    """0 is the primary account alone; exceptions and a pause win over everything."""
    assert {each for each in (0, 7, 8) if webhook.wants("click", each)} == subaccounts


def test_no_subaccount_is_all_of_them() -> None:
    """A number that no subaccount has."""
    assert ALL.subaccount_id == SUBACCOUNTS_ALL
    assert not ALL.wants("open", SUBACCOUNTS_ALL)


def test_a_secret_does_not_print() -> None:
    """Logs and traces hold webhooks."""
    assert "hidden" not in repr(ALL)


OVERLAPS_MS = st.integers(0, OVERLAP_SECONDS_MAX * 1000)


@given(st.lists(st.tuples(st.integers(0, 10**9), OVERLAPS_MS), max_size=25))
def test_what_signs_after_rotations(rotations: list[tuple[int, int]]) -> None:
    """The newest always; each former one until the least end that a later rotation gave it; the newest ten at most."""
    webhook, now_ms = replace(ALL, signing_secret="0"), 0
    ends: dict[str, int] = {}
    for number, (pause_ms, overlap_ms) in enumerate(rotations, start=1):
        now_ms += pause_ms
        webhook = webhook.rotated(str(number), now_ms=now_ms, overlap_ms=overlap_ms)
        ends = {each: min(end, now_ms + overlap_ms) for each, end in ends.items()}
        ends[str(number - 1)] = now_ms + overlap_ms
        alive = [each for each in reversed(ends) if ends[each] > now_ms]
        assert webhook.signing_secrets(now_ms) == (str(number), *alive[: SECRETS_MAX - 1])
    for at_ms in {now_ms, *ends.values()}:
        if at_ms >= now_ms:
            signing = webhook.signing_secrets(at_ms)
            assert signing[0] == str(len(rotations))
            assert all(ends[each] > at_ms for each in signing[1:])


def test_without_secrets_nothing_signs() -> None:
    """A webhook of before, until the database was opened with a key; its first rotation leaves no former one."""
    assert ALL.signing_secrets(0) == ()
    assert ALL.rotated("new", now_ms=0, overlap_ms=60_000).signing_secrets(0) == ("new",)
