"""The demo's queues at SQS: names of one run, made before it and deleted after it."""

from __future__ import annotations

import os
import secrets
from typing import Final

from omni_etl import settings as settings_module
from omni_etl.clock import SystemClock
from omni_etl.embedded.ports import free_ports
from omni_etl.embedded.roles import Role
from omni_etl.embedded.sqs_server import CREDENTIALS, REGION, server_command, server_url
from omni_etl.embedded.starter import watched
from omni_etl.embedded.up import GivenQueue, answers
from omni_etl.settings import Settings
from omni_etl.wiring.queues import SQS_URL, build_provisioner

STOP_SECONDS_MAX: Final = 5.0


class SqsOfTheDemo:
    """At the endpoint that settings name; where they name none, at a server of our own, never at AWS by accident.

    Raises:
        SettingsError: no endpoint is named, and moto is not installed.

    """

    def __init__(self, mine: Settings) -> None:
        named: dict[str, object] = {
            "queue_url": SQS_URL,
            "sqs_queue_prefix": f"omni-demo-{secrets.token_hex(4)}-",
        }
        role = None
        if not mine.sqs_endpoint_url.get_secret_value():
            [port] = free_ports(1)
            named |= {"sqs_endpoint_url": server_url(port), "sqs_region": REGION}
            role = _server(port)
            _forget_accounts()
        self.given = GivenQueue(named, self._create, role, {} if role is None else CREDENTIALS)
        given = mine.model_dump(include=mine.model_fields_set)
        self._settings = settings_module.load(**{**given, **named})

    async def delete(self) -> None:
        """Leave nothing behind on somebody's server; ours has gone with everything in it."""
        if self.given.role is None:
            provisioner = build_provisioner(self._settings, SystemClock())
            try:
                await provisioner.delete()
            finally:
                await provisioner.close()

    async def _create(self) -> None:
        provisioner = build_provisioner(self._settings, SystemClock())
        try:
            await provisioner.create()
        finally:
            await provisioner.close()


def _server(port: int) -> Role:
    url = server_url(port)
    return Role(
        "queue", watched(server_command(port)), {}, lambda _pid: answers(f"{url}/moto-api/data.json"), STOP_SECONDS_MAX
    )


def _forget_accounts() -> None:
    """From now on this process and the roles it starts sign with nobody's keys; the server takes any."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(CREDENTIALS)
