"""webhook: whether it wants an event. The contract's suite is in `contracts/test_webhooks.py`."""

from dataclasses import replace

import pytest

from omni_etl.webhook import SUBACCOUNTS_ALL, Webhook

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
