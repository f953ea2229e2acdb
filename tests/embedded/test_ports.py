"""ports: loopback ports that are free."""

import socket

from omni_etl.embedded.ports import free_ports


def test_ports_differ_and_can_be_listened_on() -> None:
    """All at the same time."""
    ports = free_ports(20)
    assert len(set(ports)) == 20
    listening = [socket.create_server(("127.0.0.1", port)) for port in ports]
    for each in listening:
        each.close()
