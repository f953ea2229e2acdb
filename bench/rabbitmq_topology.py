"""What lies in the broker: one topic exchange, and a durable queue for each service, bound to what it wants."""

from __future__ import annotations

import socket
from typing import Any, Final, Literal

import amqp

from bench.rabbitmq_node import HOST
from omni_etl.event import GROUP_OF, TYPES
from omni_etl.services.suppressions import Suppressions

EXCHANGE: Final = "events"
ROUTING_KEY_OF: Final = {name: f"{group}.{name}" for name, group in GROUP_OF.items()}
BINDINGS: Final[dict[str, list[str]]] = {
    "metrics": ["#"],
    "message_events": ["#"],
    "webhooks": ["#"],
    "suppressions": [ROUTING_KEY_OF[name] for name in sorted(Suppressions.types & TYPES)],
}
QueueKind = Literal["quorum", "classic"]
ARGUMENTS: Final[dict[QueueKind, dict[str, Any]]] = {
    "quorum": {"x-queue-type": "quorum"},
    "classic": {"x-queue-version": 2},
}


def connect(port: int) -> Any:
    """A connection of py-amqp, its handshake done; the user is the one every new node has, for loopback alone."""
    connection = amqp.Connection(
        f"{HOST}:{port}",
        userid="guest",
        password="guest",
        # py-amqp gives up a connection whose peer reads nothing for a second; a busy broker does just that (flow control).
        socket_settings={socket.TCP_USER_TIMEOUT: 0},
    )
    connection.connect()
    return connection


def declare(port: int, kind: QueueKind) -> None:
    """Make all of it."""
    with connect(port) as connection:
        channel = connection.channel()
        channel.exchange_declare(EXCHANGE, "topic", durable=True, auto_delete=False)
        for queue, keys in BINDINGS.items():
            channel.queue_declare(queue, durable=True, auto_delete=False, arguments=ARGUMENTS[kind])
            for key in keys:
                channel.queue_bind(queue, EXCHANGE, key)
