"""suppression_list: how an address is spelled, and which saying is greater. The contract's suite is in `contracts/`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_etl.suppression_list import ADDRESS_BYTES_MAX, COMPLIANCE, Saying, address_key, is_address


@pytest.mark.parametrize("address", ["Ann+News@Example.COM", "  ann+news@example.com\n", "ANN+NEWS@EXAMPLE.COM"])
def test_one_address_has_one_key(address: str) -> None:
    """Case and surrounding space do not make another."""
    assert address_key(address) == "ann+news@example.com"


def test_two_addresses_have_two_keys() -> None:
    """Tags, dots and quotes are part of an address: only its server knows what they mean."""
    addresses = ["ann@example.com", "ann+a@example.com", "a.nn@example.com", '"ann "@example.com', "ann@example.org"]
    assert len(set(map(address_key, addresses))) == 5


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("Ann@Bücher.Example", "ann@xn--bcher-kva.example"),
        ("ann@BÜCHER.example", "ann@xn--bcher-kva.example"),
        ("ann@bu\u0308cher.example", "ann@xn--bcher-kva.example"),  # u and a diaeresis of its own
        ("ann@XN--BCHER-KVA.example", "ann@xn--bcher-kva.example"),
        ("ann@例え。テスト", "ann@xn--r8jz45g.xn--zckzah"),  # their full stop
        ("ann@\uff45xample.com", "ann@example.com"),  # a letter of full width
        ("ann@straße.de", "ann@xn--strae-oqa.de"),  # IDNA 2008: another domain than strasse.de
        ("ann@mail_1.bücher.example", "ann@mail_1.xn--bcher-kva.example"),
    ],
)
def test_both_forms_of_an_international_domain_are_one_key(address: str, key: str) -> None:
    """U-label and A-label: the one people type, the other mail servers report."""
    assert address_key(address) == key


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("JOSÉ@example.com", "josé@example.com"),
        ("jose\u0301@example.com", "josé@example.com"),
        ("Ann@☃️\u200d.example", "ann@☃️\u200d.example"),
        ("Ann@a b\u00e9.example", "ann@a bé.example"),
        ("Ann@é..example", "ann@é..example"),
        ("Ann@" + "é" * 300, "ann@" + "é" * 300),
        ("ÉNOBODY", "énobody"),
        ("", ""),
    ],
)
def test_what_idna_refuses_keeps_its_letters(address: str, key: str) -> None:
    """An event that passed intake is refused by nobody, so every text has a key."""
    assert address_key(address) == key


@given(st.text() | st.builds("{}@{}".format, st.text(), st.text()))
def test_a_key_is_its_own_key(text: str) -> None:
    """What the list shows can be asked for."""
    assert address_key(address_key(text)) == address_key(text)


@pytest.mark.parametrize(
    "key",
    [
        *(
            "ann+news/eu@example.com",
            "a..b@docomo.example",
            "o'neil@x",
            "%@x.example",
            '"a b"@example.com',
            '"a\\"b"@x.example',
        ),
        *(
            "ann@mail_1.example",
            "ann@[192.0.2.1]",
            "ann@[ipv6:2001:db8::1]",
            "josé@example.com",
            "a" * 64 + "@example.com",
        ),
    ],
)
def test_addresses(key: str) -> None:
    """What mail servers take, also where no RFC does."""
    assert is_address(key)


@pytest.mark.parametrize(
    "key",
    [
        *(
            "",
            "nobody",
            "@example.com",
            "ann@",
            "a b@example.com",
            "ann@exam ple.com",
            "ann@@example.com",
            "a,b@x.example",
        ),
        *("ann@-a.example", "ann@a-.example", "ann@a..b", "ann@example.com.", "ann@é..example", "<ann@example.com>"),
        *("a\x00@example.com", "a\n@example.com", '"a\n"@example.com', "ann@" + "a" * 64 + ".example"),
        *("a" * ADDRESS_BYTES_MAX + "@x", "é" * (ADDRESS_BYTES_MAX // 2) + "@x"),
    ],
)
def test_what_is_no_address(key: str) -> None:
    """No part missing, no white space, no control characters, no list of several, no domain that cannot be."""
    assert not is_address(key)


def test_compliance_is_greater_than_anything_later() -> None:
    """Then the time, then the id."""
    early, late = (Saying(0, "a@b", "transactional", True, at, "x", "Bounce Rule", "") for at in (1, 2))
    legal = Saying(0, "a@b", "transactional", True, 0, "x", COMPLIANCE, "")
    other = Saying(0, "a@b", "transactional", True, 1, "y", "Bounce Rule", "")
    assert sorted([legal, late, other, early], key=lambda each: each.rank) == [early, other, late, legal]
