"""Guard: which addresses and ports a customer's webhook may reach; pure.

A list of our own and not `ipaddress.is_global`, because that changed its mind between patch releases (CVE-2024-4032) and
knows nothing of tunnels. From IANA's special-purpose address registries, 2024; what is not listed as reachable is not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

from omni_etl.errors import SettingsError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

SETTING: Final = "OMNI_WEBHOOKS_ALLOW_NETWORKS"
PORTS_SETTING: Final = "OMNI_WEBHOOKS_ALLOW_PORTS"
PORTS: Final = (80, 443)  # anything else is seldom a web server: SSH, mail, databases that read commands from anywhere
PORT_MAX: Final = 65_535

REFUSED_V4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network; 0.0.0.0 reaches the machine itself
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # carrier-grade NAT; Alibaba's metadata
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # Azure's wire server: public by number only
            "169.254.0.0/16",  # link-local; the metadata of most clouds
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments; Oracle's metadata
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",  # private
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
UNICAST_V6: Final = IPv6Network(
    "2000::/3"
)  # all that is globally routed; NAT64, ULA, link-local, multicast lie outside
REFUSED_V6: Final = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4 carries any IPv4 address
            "3fff::/20",  # documentation
        ),
    )
)


@dataclass(frozen=True, slots=True)
class Guard:
    """What the operator allows beyond public addresses at the web's own ports."""

    networks: Sequence[Network] = ()
    ports: Sequence[range] = ()

    def refusal(self, address: Address, port: int) -> str | None:
        """Why not to connect, or None; in a network that the operator allowed every port is.

        An IPv4 address inside an IPv6 one (`::ffff:127.0.0.1`) is judged as the IPv4 address that it reaches.
        """
        reached = _reached(address)
        if any(reached in each for each in self.networks if each.version == reached.version):
            return None
        if not _is_public(reached):
            return f"{address} is not a public address"
        if port not in PORTS and not any(port in each for each in self.ports):
            return f"port {port} is not open to webhooks"
        return None

    @property
    def is_open_to_all(self) -> bool:
        """Whether it guards nothing any more, of IPv4 or of IPv6."""
        return any(each.prefixlen == 0 for each in self.networks)


def _reached(address: Address) -> Address:
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or IPv6Address(int(address))  # without a scope
    return address


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address):
        return address in UNICAST_V6 and not any(address in each for each in REFUSED_V6)
    return not any(address in each for each in REFUSED_V4)


def parse_networks(text: str) -> tuple[Network, ...]:
    """Networks in CIDR notation, comma separated.

    Raises:
        SettingsError: names the part that is none.

    """
    networks: list[Network] = []
    for part in filter(None, map(str.strip, text.split(","))):
        try:
            networks.append(ip_network(part))
        except ValueError as error:
            raise SettingsError(SETTING, repr(part), f"{error}. Write 10.1.0.0/16 or fd00:1::/32.") from None
    return tuple(networks)


def parse_ports(text: str) -> tuple[range, ...]:
    """Ports and ranges of ports, comma separated.

    Raises:
        SettingsError: names the part that is none.

    """
    return tuple(_ports(part) for part in filter(None, map(str.strip, text.split(","))))


def _ports(part: str) -> range:
    written = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", part)
    found = range(int(written[1]), int(written[2] or written[1]) + 1) if written else range(0)
    if not found or found[0] < 1 or found[-1] > PORT_MAX:
        raise SettingsError(PORTS_SETTING, repr(part), "Write 8443 or 9000-9100.")
    return found
