"""suppression_list: how an address is spelled. The contract's suite is in `contracts/`."""

import pytest

from omni_etl.suppression_list import address_key


@pytest.mark.parametrize("address", ["Ann+News@Example.COM", "  ann+news@example.com\n", "ANN+NEWS@EXAMPLE.COM"])
def test_one_address_has_one_key(address: str) -> None:
    """Case and surrounding space do not make another."""
    assert address_key(address) == "ann+news@example.com"


def test_two_addresses_have_two_keys() -> None:
    """Tags, dots and quotes are part of an address: only its server knows what they mean."""
    addresses = ["ann@example.com", "ann+a@example.com", "a.nn@example.com", '"ann "@example.com', "ann@example.org"]
    assert len(set(map(address_key, addresses))) == 5
