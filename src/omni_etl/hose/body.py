"""Body: split a request into events, and let `event.check` judge the raw bytes of each."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Final, Literal

import msgspec

from omni_etl.clock import Clock
from omni_etl.envelope import Lane
from omni_etl.errors import IntakeError
from omni_etl.event import Checked, HotFields, Refused, check, suppresses, with_event_id
from omni_etl.hose.answer import Rejections
from omni_etl.hose.block import check_block

LINES_MAX: Final = 250_000  # of one request: splitting it must not cost many times its size
COMMAS_MAX: Final = 16 * LINES_MAX  # an array has no more elements than commas, whatever they are
LINES_AT_ONCE: Final = (
    100  # checked before others get their turn; larger blocks leave the processor cache and are slower
)
BYTES_AT_ONCE: Final = 1024 * 1024
EVENT_ID_BYTES: Final = 16

Form = Literal["lines", "any"]
"""What the content type promises: one event a line, or that and an array or a single object."""

_elements: Final = msgspec.json.Decoder(list[msgspec.Raw])
_element: Final = msgspec.json.Decoder(msgspec.Raw)


@dataclass(slots=True)
class CheckedBody:
    """What of a request may enter, by lane and type."""

    lanes: dict[Lane, dict[str, list[bytes]]] = field(default_factory=lambda: {"express": {}, "bulk": {}})
    accepted: int = 0
    elements: int = 0  # probes and refused ones included
    rejections: Rejections = field(default_factory=Rejections)
    all_have_ids: bool = True

    def keep(self, checked: Checked) -> None:
        """Put a line where it belongs."""
        self.lanes["express" if checked.suppresses else "bulk"].setdefault(checked.type, []).append(checked.line)
        self.accepted += 1


async def check_body(body: bytes, form: Form, *, digest: bytes, clock: Clock) -> CheckedBody:
    """Check every event of a request; `digest` is what derived event ids are made from.

    Raises:
        IntakeError: 400 where the body as a whole is nothing, 413 where it holds too many events.

    """
    lines = _split(body, form)
    checked = CheckedBody()
    at_once = True
    step = max(1, min(LINES_AT_ONCE, BYTES_AT_ONCE * len(lines) // len(body)))
    for start in range(0, len(lines), step):
        some = lines[start : start + step]
        block = check_block(some) if at_once else None
        if block is None:
            at_once = False  # the rest is probably spelled like it
            _keep_each(checked, some, first=start + 1, digest=digest)
        else:
            _keep_block(checked, some, block, first=start + 1, digest=digest)
        if start:
            await clock.sleep(0)
    if not checked.elements:
        raise IntakeError(400, "the body holds no event")
    return checked


def _keep_block(
    checked: CheckedBody, lines: Sequence[bytes], block: Sequence[HotFields], *, first: int, digest: bytes
) -> None:
    express, bulk = checked.lanes["express"], checked.lanes["bulk"]
    for position, (line, fields) in enumerate(zip(lines, block, strict=True), first):
        lane = express if suppresses(fields.type, fields.bounce_class) else bulk
        if fields.event_id is None:
            line = _with_derived_id(line, position, digest)  # noqa: PLW2901 the line as it is kept
            checked.all_have_ids = False
        try:
            lane[fields.type].append(line)
        except KeyError:
            lane[fields.type] = [line]
    checked.accepted += len(lines)
    checked.elements += len(lines)


def _keep_each(checked: CheckedBody, lines: Sequence[bytes], *, first: int, digest: bytes) -> None:
    for position, line in enumerate(lines, first):
        if not line.strip():
            continue
        checked.elements += 1
        try:
            verdict = check(line)
        except Refused as refused:
            checked.rejections.add(position, str(refused))
            continue
        if verdict is None:
            continue
        if not verdict.has_id:
            verdict = verdict._replace(line=_with_derived_id(verdict.line, position, digest))
            checked.all_have_ids = False
        checked.keep(verdict)


def _with_derived_id(line: bytes, position: int, digest: bytes) -> bytes:
    """From content, request and position, so that the same request derives the same id again."""
    source = digest + position.to_bytes(8, "big") + line
    return with_event_id(line, hashlib.blake2b(source, digest_size=EVENT_ID_BYTES).hexdigest())


def _split(body: bytes, form: Form) -> list[bytes]:
    start = body.lstrip()[:1]
    if not start:
        raise IntakeError(400, "the body is empty")
    if form == "any" and start == b"[":
        return _array(body)
    if form == "any" and b"\n" in body.strip() and _is_one_value(body):
        return [body.strip()]
    if body.count(b"\n") > LINES_MAX:
        raise IntakeError(413, f"more than {LINES_MAX} lines in one request")
    lines = body.split(b"\n")
    if b"\r" in body:
        lines = list(map(bytes.rstrip, lines, repeat(b"\r")))
    if not lines[-1]:
        lines.pop()
    return lines


def _array(body: bytes) -> list[bytes]:
    """The raw bytes of each element, so that nothing is mended before `check` sees it."""
    if body.count(b",") > COMMAS_MAX:
        raise IntakeError(413, "too many elements in one array; send them as lines (application/x-ndjson)")
    try:
        elements = _elements.decode(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise IntakeError(400, f"the body is not a JSON array: {error}") from None
    if len(elements) > LINES_MAX:
        raise IntakeError(413, f"more than {LINES_MAX} elements in one request")
    return list(map(bytes, elements))


def _is_one_value(body: bytes) -> bool:
    """One object written over several lines."""
    try:
        _element.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True
