"""SQS, strict and unkind: the strict proxy with its moto, as a process. `python -m tests.chaos.unkind_sqs HOST PORT SEED`.

`POST /manner` says how it behaves from now on. moto keeps messages in memory, so this process is never killed: what a network
does to it happens in the wire before it.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections import deque
from typing import Any

from aiohttp import web
from tests.backends.sqs import moto_app
from tests.backends.sqs.strict_proxy import RefusedError, StrictProxy

from omni_etl.clock import SystemClock
from omni_etl.embedded.starter import watch_starter

SHARE = 0.7  # of the calls that meet the manner: whoever tries again may succeed
LATE_SECONDS = (1.0, 8.0)  # around the time that a call may take
HANG_SECONDS = 60.0
IN_FLIGHT_MAX = 120_000
FEW_IN_FLIGHT = 2
CALLS_KEPT = 10


class UnkindSqs(StrictProxy):
    """`manner` is one of the words in `_answer`, or "well"."""

    def __init__(self, host: str, port: int, rng: random.Random) -> None:
        super().__init__(SystemClock(), in_flight_max=IN_FLIGHT_MAX)
        self.calls = deque(maxlen=CALLS_KEPT)  # type: ignore[assignment]  # a list would keep every payload
        self._host, self._port = host, port
        self._rng = rng
        self._manner = "well"

    async def listen(self) -> None:
        """At our port, for ever."""
        self._living.enter_context(moto_app.on_clock(self._clock))
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        await asyncio.Event().wait()

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=0)
        app.router.add_post("/manner", self._behave)
        app.router.add_post("/{path:.*}", self._handle)
        return app

    async def _behave(self, request: web.Request) -> web.StreamResponse:
        self._manner = await request.text()
        self._in_flight_max = FEW_IN_FLIGHT if self._manner == "few in flight" else IN_FLIGHT_MAX
        return web.Response()

    async def _answer(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        manner = self._manner if self._rng.random() < SHARE else "well"
        match manner:
            case "throttles":
                raise RefusedError("RequestThrottled", "Rate exceeded", 400)
            case "fails before":
                raise RefusedError("InternalFailure", "An internal error occurred.", 500)
            case "slow":
                await asyncio.sleep(self._rng.uniform(*LATE_SECONDS))
            case "hangs":
                await asyncio.sleep(HANG_SECONDS)
            case "loses answers":
                self.unkind.lose_answers += 1
            case "sends twice":
                self.unkind.duplicate = len(request.get("Entries", []))
            case "fails entries":
                self.unkind.fail_entries = 1 + len(request.get("Entries", [])) // 2
        answer = await super()._answer(operation, request)
        if manner == "fails after":
            raise RefusedError("InternalFailure", "An internal error occurred.", 500)
        return answer


if __name__ == "__main__":
    watch_starter(0, stop=lambda: os._exit(1))
    asyncio.run(UnkindSqs(sys.argv[1], int(sys.argv[2]), random.Random(int(sys.argv[3]))).listen())
