"""api.caller: a subaccount's key speaks for its own subaccount, whatever it asks."""

from types import SimpleNamespace
from typing import Any

import pytest

from omni_etl.api.caller import Caller, subaccount
from omni_etl.api.problems import Problem


def request(header: str | None, own: int | None = None) -> Any:
    """What `subaccount` reads of one."""
    headers = {} if header is None else {"X-MSYS-SUBACCOUNT": header}
    return SimpleNamespace(headers=headers, state=SimpleNamespace(caller=Caller("k", own)))


def test_the_header_says_which() -> None:
    """Nothing where there is none."""
    assert subaccount(request(None)) is None
    assert subaccount(request(" 7 ")) == 7
    assert subaccount(request("0")) == 0


def test_a_subaccounts_key_is_confined() -> None:
    """Its own id wins over the header, and over a header that is nonsense."""
    assert subaccount(request("7", own=3)) == 3
    assert subaccount(request("x", own=3)) == 3


@pytest.mark.parametrize("text", ["x", "-1", "1.0", "99999999999", "٣"])
def test_a_header_that_is_no_number_is_refused(text: str) -> None:
    """Never taken for none."""
    with pytest.raises(Problem) as refused:
        subaccount(request(text))
    assert refused.value.status == 400


def test_a_grant_that_is_missing_is_403() -> None:
    """A key without a list of grants may everything."""
    Caller("k").needs("metrics/view")
    Caller("k", grants=frozenset({"metrics/view"})).needs("metrics/view")
    with pytest.raises(Problem) as refused:
        Caller("k", grants=frozenset()).needs("metrics/view")
    assert refused.value.status == 403
