"""services.domains: a domain that is not given is the address's own."""

import pyarrow as pa
import pytest

from omni_etl.services.domains import domain_or_of


@pytest.mark.parametrize(
    ("given", "address", "expected"),
    [
        (None, "a@News.Example.com", "news.example.com"),
        (None, "Shop <a@example.com>", "example.com"),
        (None, "x@y@example.org", "example.org"),
        (None, "nobody", None),
        (None, "nobody@", None),
        (None, None, None),
        ("Given.example", "a@example.com", "Given.example"),
        ("", "a@example.com", ""),
    ],
)
def test_a_domain_is_the_one_given_or_the_address_s(
    given: str | None, address: str | None, expected: str | None
) -> None:
    """What a producer says is kept; what it leaves out is read from the address."""
    other = [None, "b@other.example"]  # a second row, so that one null does not decide for all
    found = domain_or_of(pa.array([given, other[0]], pa.string()), pa.array([address, other[1]], pa.string()))
    assert found.to_pylist() == [expected, "other.example"]
