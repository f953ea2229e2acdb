"""SQS as strict as AWS, and as unkind when asked: a proxy before moto that enforces what moto lets pass.

moto counts characters, not bytes, ignores attributes, lets forbidden characters through, keeps any number in flight, renews
lapsed leases and deletes by any handle. Long polls wait here, on the test's clock.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from aiohttp import web
from tests.backends.sqs import moto_app
from tests.backends.sqs.aws_rules import Refusal, call_refused, entry_refused

from omni_etl.bell import Bell
from omni_etl.clock import Clock

HOURS_12 = 43_200
POLL_SECONDS = 1.0  # of the test's clock
Answer = dict[str, Any]


class RefusedError(Exception):
    """An error of SQS."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


@dataclass
class Unkind:
    """What goes wrong; each number counts down as it happens."""

    refuse: list[RefusedError] = field(default_factory=list)  # the next calls answer these
    lose_answers: int = 0  # the next calls are done, and the connection ends
    duplicate: int = 0  # the next messages are kept twice
    fail_entries: int = 0  # the next entries of batches fail
    damage: int = 0  # the next received messages have a changed payload
    hang: bool = False  # no call is answered
    ahead_seconds: float = 0.0  # SQS's clock before ours


@dataclass
class Handle:
    """One receive of one message."""

    queue: str
    message_id: str
    received_at: float
    until: float
    is_deleted: bool = False


class StrictProxy:
    """Listens on loopback between `start` and `stop`."""

    def __init__(self, clock: Clock, *, in_flight_max: int = 120_000) -> None:
        self.unkind = Unkind()
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.url = ""
        self.hanging = 0  # calls that wait for ever now
        self._clock = clock
        self._in_flight_max = in_flight_max
        self._handles: dict[str, Handle] = {}
        self._latest: dict[str, str] = {}  # message → its newest handle
        self._bells: defaultdict[str, Bell] = defaultdict(Bell)
        self._headers: dict[str, str] = {}
        self._living = ExitStack()
        self._runner = web.AppRunner(self._app(), shutdown_timeout=0.1)

    async def start(self) -> None:
        """Listen."""
        self._living.enter_context(moto_app.on_clock(self._clock))
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def stop(self) -> None:
        """Answer nobody any more."""
        await self._runner.cleanup()
        self._living.close()

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=0)
        app.router.add_post("/{path:.*}", self._handle)
        return app

    async def _handle(self, http: web.Request) -> web.StreamResponse:
        operation = http.headers["X-Amz-Target"].partition(".")[2]
        request = json.loads(await http.read())
        self.calls.append((operation, request))
        if self.unkind.hang:
            self.hanging += 1
            try:
                await asyncio.Event().wait()
            finally:
                self.hanging -= 1
        self._headers = {name: http.headers[name] for name in ("Authorization", "Content-Type", "Host")}
        try:
            if self.unkind.refuse:
                raise self.unkind.refuse.pop(0)
            answer = await self._answer(operation, request)
        except RefusedError as refused:
            return self._error(refused)
        if self.unkind.lose_answers:
            self.unkind.lose_answers -= 1
            assert http.transport is not None
            http.transport.close()
        return web.json_response(answer, headers=self._dated())

    async def _answer(self, operation: str, request: dict[str, Any]) -> Answer:
        if operation.endswith("Batch"):
            refusal = call_refused(request["Entries"])
            if refusal is not None:
                raise RefusedError(*refusal)
        match operation:
            case "SendMessageBatch":
                return self._send(request)
            case "ReceiveMessage":
                return await self._receive(request)
            case "ChangeMessageVisibilityBatch":
                return self._change(request)
            case "DeleteMessageBatch":
                return self._delete(request)
        return self._moto(operation, request)

    def _send(self, request: dict[str, Any]) -> Answer:
        name = _queue_name(request)
        limit = self._message_bytes_max(request)
        failed, good = [], []
        for entry in request["Entries"]:
            refusal = self._fault() or entry_refused(entry, limit)
            if refusal is not None:
                failed.append(_failed(entry, refusal))
                continue
            good.append(entry)
            if self.unkind.duplicate:
                self.unkind.duplicate -= 1
                self._moto("SendMessageBatch", {**request, "Entries": [entry]})
        answer = self._moto("SendMessageBatch", {**request, "Entries": good}) if good else {"Successful": []}
        self._bells[name].ring()
        return {"Successful": answer["Successful"], "Failed": [*answer.get("Failed", []), *failed]}

    async def _receive(self, request: dict[str, Any]) -> Answer:
        name = _queue_name(request)
        bell = self._bells[name]
        until = self._clock.monotonic() + request.get("WaitTimeSeconds", 0)
        while True:
            rings = bell.rings
            room = self._in_flight_max - self._count_in_flight(name)
            if room <= 0 and not request.get("WaitTimeSeconds"):
                raise RefusedError("OverLimit", "Too many messages in flight.", 403)
            found = self._take(name, request, room) if room > 0 else []
            left = until - self._clock.monotonic()
            if found or left <= 0:
                return {"Messages": found} if found else {}
            await bell.wait(rings, clock=self._clock, seconds=min(POLL_SECONDS, left))

    def _take(self, name: str, request: dict[str, Any], room: int) -> list[dict[str, Any]]:
        count = min(request.get("MaxNumberOfMessages", 1), room)
        asked = {**request, "WaitTimeSeconds": 0, "MaxNumberOfMessages": count}
        found: list[dict[str, Any]] = self._moto("ReceiveMessage", asked).get("Messages", [])
        now = self._clock.now()
        for message in found:
            handle = Handle(name, message["MessageId"], now, now + request["VisibilityTimeout"])
            self._handles[message["ReceiptHandle"]] = handle
            self._latest[message["MessageId"]] = message["ReceiptHandle"]
            if self.unkind.damage:
                self.unkind.damage -= 1
                message["Body"] += " "
        return found

    def _change(self, request: dict[str, Any]) -> Answer:
        now = self._clock.now()
        answer: Answer = {"Successful": [], "Failed": []}
        for entry in request["Entries"]:
            seconds, handle = entry["VisibilityTimeout"], self._handles.get(entry["ReceiptHandle"])
            refusal = self._fault() or self._change_refused(handle, seconds)
            if refusal is not None:
                answer["Failed"].append(_failed(entry, refusal))
                continue
            answer["Successful"].append({"Id": entry["Id"]})
            assert handle is not None
            if handle.until > now and self._is_latest(entry["ReceiptHandle"]):  # else AWS says OK and does nothing
                handle.until = now + seconds
                moto_app.change_visibility(handle.queue, entry["ReceiptHandle"], seconds)
                self._bells[handle.queue].ring()
        return answer

    def _change_refused(self, handle: Handle | None, seconds: int) -> Refusal | None:
        if handle is None:
            return "ReceiptHandleIsInvalid", "The input receipt handle is invalid."
        if handle.is_deleted:
            reason = "Message does not exist or is not available for visibility timeout change."
            return "InvalidParameterValue", f"Value … for parameter ReceiptHandle is invalid. Reason: {reason}"
        if self._clock.now() + seconds > handle.received_at + HOURS_12:
            reason = "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]"
            return (
                "InvalidParameterValue",
                f"Value {seconds} for parameter VisibilityTimeout is invalid. Reason: {reason}",
            )
        return None

    def _delete(self, request: dict[str, Any]) -> Answer:
        answer: Answer = {"Successful": [], "Failed": []}
        for entry in request["Entries"]:
            handle = self._handles.get(entry["ReceiptHandle"])
            unknown = None if handle else ("ReceiptHandleIsInvalid", "The input receipt handle is invalid.")
            refusal = self._fault() or unknown
            if refusal is not None:
                answer["Failed"].append(_failed(entry, refusal))
                continue
            answer["Successful"].append({"Id": entry["Id"]})
            assert handle is not None
            if not handle.is_deleted and self._is_latest(entry["ReceiptHandle"]):  # late and repeated ones are OK, too
                self._moto("DeleteMessage", {"QueueUrl": request["QueueUrl"], "ReceiptHandle": entry["ReceiptHandle"]})
                handle.is_deleted = True
        return answer

    def _fault(self) -> Refusal | None:
        if not self.unkind.fail_entries:
            return None
        self.unkind.fail_entries -= 1
        return "InternalError", "Request could not be processed."

    def _is_latest(self, receipt: str) -> bool:
        return self._latest[self._handles[receipt].message_id] == receipt

    def _count_in_flight(self, name: str) -> int:
        now = self._clock.now()
        handles = (self._handles[receipt] for receipt in self._latest.values())
        return sum(each.queue == name and each.until > now and not each.is_deleted for each in handles)

    def _message_bytes_max(self, request: dict[str, Any]) -> int:
        asked = {"QueueUrl": request["QueueUrl"], "AttributeNames": ["MaximumMessageSize"]}
        return int(self._moto("GetQueueAttributes", asked)["Attributes"]["MaximumMessageSize"])

    def _moto(self, operation: str, request: dict[str, Any]) -> Answer:
        headers = {**self._headers, "X-Amz-Target": f"AmazonSQS.{operation}"}
        status, answered, body = moto_app.ask(headers, json.dumps(request).encode())
        said: Answer = json.loads(body) if body else {}
        if status >= 300:
            code = str(answered.get("x-amzn-query-error") or said.get("__type", "")).partition(";")[0]
            raise RefusedError(code, said.get("message", ""), status)
        return said

    def _error(self, refused: RefusedError) -> web.Response:
        body = {"__type": f"com.amazonaws.sqs#{refused.code}", "message": str(refused)}
        headers = self._dated() | {"x-amzn-query-error": f"{refused.code};Sender"}
        return web.json_response(body, status=refused.status, headers=headers)

    def _dated(self) -> dict[str, str]:
        return {"Date": formatdate(self._clock.now() + self.unkind.ahead_seconds, usegmt=True)}


def _queue_name(request: dict[str, Any]) -> str:
    return str(request["QueueUrl"]).rpartition("/")[2]


def _failed(entry: dict[str, Any], refusal: Refusal) -> dict[str, Any]:
    code, message = refusal
    return {"Id": entry["Id"], "Code": code, "Message": message, "SenderFault": code != "InternalError"}
