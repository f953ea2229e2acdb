"""An SqsQueue behind the strict proxy, with queues of its own: what the queue's contract is tested on."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from tests.backends.sqs.strict_proxy import StrictProxy

from omni_etl.backends.sqs import Payload, Provisioner, SqsAccess, SqsClient, SqsQueue
from omni_etl.clock import Clock
from omni_etl.queue import queue_names as names_for

SERVICES = ["metrics", "webhooks"]


class StrictQueue(SqsQueue):
    """Its first `open` starts the proxy and makes the queues; `close` ends both."""

    def __init__(self, clock: Clock, *, payload: Payload = "attribute") -> None:
        self.proxy = StrictProxy(clock)
        self.queue_prefix = f"test-{secrets.token_hex(4)}-"
        self._is_made = False
        super().__init__(SqsClient(SqsAccess(), clock), clock, prefix=self.queue_prefix, payload=payload)

    @property
    def access(self) -> SqsAccess:
        """For a client of one's own."""
        return SqsAccess(self.proxy.url, "us-east-1")

    async def open(self, queue_names: Sequence[str]) -> None:
        """Make everything, then open."""
        if not self._is_made:
            await self.proxy.start()
            self._client = SqsClient(self.access, self._clock)
            await Provisioner(self._client, prefix=self.queue_prefix, queue_names=names_for(SERVICES)).create()
            self._is_made = True
        await super().open(queue_names)

    async def close(self) -> None:
        """Give back connections, and end the proxy."""
        await super().close()
        await self.proxy.stop()
