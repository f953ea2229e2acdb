"""moto's SQS inside this process, on a clock of ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any
from unittest.mock import patch

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.sqs.models import Message, sqs_backends
from werkzeug.test import Client

from omni_etl.clock import Clock

ACCOUNT = "123456789012"
REGION = "us-east-1"


@cache
def application() -> Client:
    """One for all tests; each has queues of its own."""
    return Client(DomainDispatcherApplication(create_backend_app))


def ask(headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
    """One request and its answer: status, headers, body."""
    answer = application().post("/", headers=dict(headers), data=body)
    return answer.status_code, dict(answer.headers), answer.data


def queue(name: str) -> Any:
    """What moto keeps of a queue."""
    return sqs_backends[ACCOUNT][REGION].queues[name]


def change_visibility(name: str, handle: str, seconds: int) -> None:
    """As AWS does it: moto counts the twelve hours from the send, AWS from the receive."""
    kept = queue(name)
    for message in kept._messages:
        if message.receipt_handle == handle:
            message.change_visibility(seconds)
            if message.visible:
                kept.pending_messages.discard(message)


@contextmanager
def on_clock(clock: Clock) -> Iterator[None]:
    """Let moto live by this clock; what is visible from now on is visible now."""

    def millis() -> float:
        return clock.now() * 1000

    visible = property(lambda message: millis() >= message.visible_at)
    with (
        patch("moto.sqs.models.unix_time_millis", millis),
        patch("moto.sqs.models.unix_time", clock.now),
        patch.object(Message, "visible", visible),
    ):
        yield
