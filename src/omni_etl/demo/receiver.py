"""The demo's customer: takes webhook batches and remembers what it got. `python -m omni_etl.demo.receiver PORT`.

A process of its own, so that it costs the system nothing and its figures are read back from where events landed.
"""

from __future__ import annotations

import hashlib
import sys
from typing import Final

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

BATCH_ID_HEADER: Final = "x-messagesystems-batch-id"
PROBE: Final = b'[{"msys":{}}]'


class _Identity(msgspec.Struct):
    event_id: str


class _Element(msgspec.Struct):
    msys: dict[str, _Identity]


class Receipts(msgspec.Struct):
    """What came. `repeats` are whole batches that came again, as promised with the same id and bytes."""

    batches: int = 0
    events: int = 0
    repeats: int = 0
    changed: int = 0  # a batch id that came again with other bytes: a broken promise
    doubled: int = 0  # an event in two batches: a broken promise
    largest: int = 0


class Customer:
    """Counts batches once by their id and events once by theirs."""

    def __init__(self) -> None:
        self.receipts = Receipts()
        self._digests: dict[str, bytes] = {}
        self._event_ids: set[str] = set()

    async def take(self, request: Request) -> Response:
        """One POST. The API's test of a new target holds no event and counts as nothing."""
        body = await request.body()
        if body == PROBE:
            return Response()
        batch_id = request.headers[BATCH_ID_HEADER]
        digest = hashlib.sha256(body).digest()
        receipts = self.receipts
        if batch_id in self._digests:
            receipts.repeats += 1
            receipts.changed += self._digests[batch_id] != digest
            return Response()
        self._digests[batch_id] = digest
        elements = _decode(body)
        receipts.batches += 1
        receipts.events += len(elements)
        receipts.largest = max(receipts.largest, len(elements))
        for element in elements:
            for identity in element.msys.values():
                receipts.doubled += identity.event_id in self._event_ids
                self._event_ids.add(identity.event_id)
        return Response()

    async def count(self, _request: Request) -> JSONResponse:
        """What came so far."""
        return JSONResponse(msgspec.to_builtins(self.receipts))


def customer_app() -> Starlette:
    """`POST /hook` and `GET /receipts`."""
    customer = Customer()
    return Starlette(
        routes=[
            Route("/hook", customer.take, methods=["POST"]),
            Route("/receipts", customer.count, methods=["GET"]),
        ]
    )


_decode: Final = msgspec.json.Decoder(list[_Element]).decode

if __name__ == "__main__":
    uvicorn.run(customer_app(), host="127.0.0.1", port=int(sys.argv[1]), http="httptools", log_level="error")
