"""embedded.ports: ports for one machine's roles."""

import socket

from omni_etl.embedded.ports import free_ports


def test_ports_are_different_and_free() -> None:
    """Each can be listened on at once."""
    ports = free_ports(20)
    assert len(set(ports)) == 20
    listening = [socket.create_server(("127.0.0.1", port)) for port in ports]
    for each in listening:
        each.close()


def test_a_taken_port_is_not_answered() -> None:
    """Whoever listens keeps it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert taken.getsockname()[1] not in free_ports(50)
