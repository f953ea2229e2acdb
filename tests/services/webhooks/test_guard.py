"""services.webhooks.guard: which addresses are public, and at which ports."""

from ipaddress import ip_address, ip_network

import pytest

from omni_etl.errors import SettingsError
from omni_etl.services.webhooks.guard import Guard, parse_networks, parse_ports

PUBLIC = ["1.1.1.1", "8.8.8.8", "172.15.255.255", "172.32.0.0", "100.63.255.255", "100.128.0.0", "169.253.1.1", "198.20.0.1",
          "223.255.255.255", "168.63.129.17", "2606:4700:4700::1111", "2a00:1450:4001::1", "2001:4860:4860::8888",
          "::ffff:8.8.8.8"]  # fmt: skip
INNER = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.255",
    "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1",
    "192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1",
    "255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:0:0", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1", "64:ff9b::8.8.8.8", "64:ff9b:1::1", "100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1",
    "fe80::1%eth0", "fec0::1", "ff02::1", "4000::1",
    # the metadata of AWS, Google, Oracle, Alibaba and Tencent where they are no link-local address
    "fd20:ce::254", "fd00:c1::a9fe:a9fe", "169.254.0.23", "169.254.170.2", "192.0.0.192",
    # one of them inside another: mapped, compatible, translated (NAT64, also at its bounds), 6to4, Teredo, ISATAP
    "::ffff:169.254.169.254%eth0", "::169.254.169.254", "::ffff:0:169.254.169.254", "64:ff9b::169.254.169.254",
    "64:ff9b::ffff:ffff", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "2002:a9fe:a9fe::", "2002:a9fe:a9fe::1",
    "2001:0:a9fe:a9fe::5601:5601", "fe80::5efe:169.254.169.254",
]  # fmt: skip


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_are_allowed(text: str) -> None:
    """Where customers' servers are, to the edges of what is refused."""
    assert [Guard().refusal(ip_address(text), port) for port in (80, 443)] == [None, None]


@pytest.mark.parametrize("text", INNER)
def test_inner_addresses_are_refused(text: str) -> None:
    """Everything IANA lists as not globally reachable, tunnels, and the metadata services of the clouds."""
    address = ip_address(text)
    assert Guard(ports=parse_ports("1-65535")).refusal(address, 443) == f"{address} is not a public address"


def test_an_allowed_network_is_exactly_that() -> None:
    """Its addresses, by IPv4 or inside IPv6, and no neighbour."""
    networks = parse_networks(" 10.1.0.0/16, fd00:1::/32,")
    assert networks == (ip_network("10.1.0.0/16"), ip_network("fd00:1::/32"))
    guard = Guard(networks)
    for each in ("10.1.2.3", "::ffff:10.1.2.3", "fd00:1::5", "fd00:1::5%eth0"):
        assert guard.refusal(ip_address(each), 22) is None
    for each in ("10.2.0.1", "fd00:2::5", "127.0.0.1", "64:ff9b::10.1.2.3", "::10.1.2.3"):
        assert guard.refusal(ip_address(each), 443) is not None
    assert parse_networks("") == ()


@pytest.mark.parametrize("text", ["10.1.2.3/16", "ten", "10.0.0.0/33"])
def test_a_network_that_is_none_is_refused_at_start(text: str) -> None:
    """With the setting, the part that is wrong, and how to write it."""
    with pytest.raises(SettingsError, match="OMNI_WEBHOOKS_ALLOW_NETWORKS: found") as caught:
        parse_networks(f"10.0.0.0/8,{text}")
    assert text in str(caught.value)


def test_a_public_address_is_reached_at_the_ports_of_the_web() -> None:
    """Others when the operator says so, a range to both its ends; an address of the operator's own at any."""
    address, guard = ip_address("1.1.1.1"), Guard(parse_networks("8.8.8.8/32"), parse_ports("8443, 9000-9100,"))
    for port in (0, 22, 25, 81, 442, 444, 6379, 8442, 8444, 8999, 9101, 65535):
        assert guard.refusal(address, port) == f"port {port} is not open to webhooks"
        assert guard.refusal(ip_address("8.8.8.8"), port) is None
    assert [guard.refusal(address, port) for port in (80, 443, 8443, 9000, 9050, 9100)] == [None] * 6
    assert Guard().refusal(ip_address("::ffff:1.1.1.1"), 8443) == "port 8443 is not open to webhooks"
    assert parse_ports("") == ()


@pytest.mark.parametrize(
    "text", ["0", "65536", "-1", "9100-9000", "9000-", "-", "http", "8000:8100", "80 81", "1-70000"]
)
def test_ports_that_are_none_are_refused_at_start(text: str) -> None:
    """With the setting, the part that is wrong, and how to write it."""
    with pytest.raises(SettingsError, match="OMNI_WEBHOOKS_ALLOW_PORTS: found") as caught:
        parse_ports(f"8443,{text}")
    assert repr(text) in str(caught.value)


def test_a_guard_that_guards_nothing_says_so() -> None:
    """Everything of one family is everything: whoever writes it is warned."""
    assert [Guard(parse_networks(each)).is_open_to_all for each in ("0.0.0.0/0", "10.0.0.0/8, ::/0")] == [True, True]
    assert [Guard(parse_networks(each)).is_open_to_all for each in ("", "10.0.0.0/8, fd00::/8")] == [False, False]
