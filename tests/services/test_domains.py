"""services.domains: a domain that is not given is the address's own."""

import pytest

from omni_etl.services.domains import name_domains
from omni_etl.services.message_events import SearchedFields


@pytest.mark.parametrize(
    ("given", "address", "expected"),
    [
        (None, "a@News.Example.com", "news.example.com"),
        (None, "Shop <a@example.com>", "example.com"),
        (None, "x@y@example.org", "example.org"),
        (None, "a@ΜΎΛΟΣ.example", "μύλοσ.example"),
        (None, "nobody", None),
        (None, "nobody@", None),
        (None, "a@b c", None),
        (None, "<a@b>>", None),
        (None, "", None),
        (None, None, None),
        ("Given.example", "a@example.com", "Given.example"),
        ("", "a@example.com", ""),
    ],
)
def test_a_domain_is_the_one_given_or_the_address_s(
    given: str | None, address: str | None, expected: str | None
) -> None:
    """What a producer says is kept; what it leaves out is read from the address, for sender and recipient alike."""
    other = SearchedFields("1", friendly_from="b@other.example", rcpt_to="B@Other.example")
    event = SearchedFields("1", friendly_from=address, sending_domain=given, rcpt_to=address, recipient_domain=given)
    name_domains([other, event])
    assert (event.sending_domain, event.recipient_domain) == (expected, expected)
    assert (other.sending_domain, other.recipient_domain) == ("other.example", "other.example")
