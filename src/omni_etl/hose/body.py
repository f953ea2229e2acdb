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
from omni_etl.event import Checked, Refused, check, with_event_id
from omni_etl.hose.answer import Rejections
from omni_etl.hose.shapes import Shapes

LINES_MAX: Final = 250_000  # of one request: splitting it must not cost many times its size
COMMAS_MAX: Final = 16 * LINES_MAX  # an array has no more elements than commas, whatever they are
LINES_AT_ONCE: Final = (
    100  # checked before others get their turn; larger blocks leave the processor cache and are slower
)
PART_LINES: Final = 500
BYTES_AT_ONCE: Final = 1024 * 1024
EVENT_ID_BYTES: Final = 16

Form = Literal["lines", "any"]
"""What the content type promises: one event a line, or that and an array or a single object."""

_elements: Final = msgspec.json.Decoder(list[msgspec.Raw])
_element: Final = msgspec.json.Decoder(msgspec.Raw)


ByLane = dict[Lane, dict[str, list[bytes]]]
"""Lines by lane and type."""


def _no_lines() -> ByLane:
    return {"express": {}, "bulk": {}}


@dataclass(slots=True)
class CheckedBody:
    """What of a request may enter, in parts: an envelope ends between two of them, and each holds what came together."""

    parts: list[ByLane] = field(default_factory=lambda: [_no_lines()])
    accepted: int = 0
    elements: int = 0  # probes and refused ones included
    rejections: Rejections = field(default_factory=Rejections)
    all_have_ids: bool = True

    def keep(self, checked: Checked) -> None:
        """Put a line where it belongs."""
        self.parts[-1]["express" if checked.suppresses else "bulk"].setdefault(checked.type, []).append(checked.line)
        self.accepted += 1


async def check_lines(
    lines: Sequence[bytes], *, size_bytes: int, digest: bytes, clock: Clock, shapes: Shapes
) -> CheckedBody:
    """Check every event of a request; `digest` is what derived event ids are made from.

    Raises:
        IntakeError: 400 where there is none.

    """
    checked = CheckedBody()
    step = max(1, min(LINES_AT_ONCE, BYTES_AT_ONCE * len(lines) // (size_bytes + 1)))
    part_ends = PART_LINES
    for start in range(0, len(lines), step):
        if start >= part_ends:
            checked.parts.append(_no_lines())
            part_ends += PART_LINES
        _keep(checked, lines[start : start + step], shapes, first=start + 1, digest=digest)
        if start:
            await clock.sleep(0)
    if not checked.elements:
        raise IntakeError(400, "the body holds no event")
    return checked


def _keep(checked: CheckedBody, lines: Sequence[bytes], shapes: Shapes, *, first: int, digest: bytes) -> None:
    express, bulk = checked.parts[-1]["express"], checked.parts[-1]["bulk"]
    known_count = 0
    for position, (line, known) in enumerate(zip(lines, shapes.known(lines), strict=True), first):
        if known is None:
            _judge(checked, line, shapes, position=position, digest=digest)
            continue
        if not known.has_id:
            line = _with_derived_id(line, position, digest)  # noqa: PLW2901 the line as it is kept
            checked.all_have_ids = False
        lane = express if known.suppresses else bulk
        try:
            lane[known.type].append(line)
        except KeyError:
            lane[known.type] = [line]
        known_count += 1
    checked.accepted += known_count
    checked.elements += known_count


def _judge(checked: CheckedBody, line: bytes, shapes: Shapes, *, position: int, digest: bytes) -> None:
    if not line.strip():
        return
    checked.elements += 1
    try:
        verdict = check(line, since=shapes.since)
    except Refused as refused:
        checked.rejections.add(position, str(refused))
        return
    if verdict is None:
        return
    if verdict.line == line:
        shapes.learn(line)
    if not verdict.has_id:
        verdict = verdict._replace(line=_with_derived_id(verdict.line, position, digest))
        checked.all_have_ids = False
    checked.keep(verdict)


def _with_derived_id(line: bytes, position: int, digest: bytes) -> bytes:
    """From content, request and position, so that the same request derives the same id again."""
    source = digest + position.to_bytes(8, "big") + line
    return with_event_id(line, hashlib.blake2b(source, digest_size=EVENT_ID_BYTES).hexdigest())


def split(body: bytes, form: Form) -> list[bytes]:
    """The raw bytes of each event.

    Raises:
        IntakeError: 400 where the body as a whole is nothing, 413 where it holds too many events.

    """
    start = body.lstrip()[:1]
    if not start:
        raise IntakeError(400, "the body is empty")
    if form == "any" and start == b"[":
        return _array(body)
    if form == "any" and b"\n" in body.strip() and _is_one_value(body):
        return [body.strip()]
    lines = body.split(b"\n", LINES_MAX)
    if len(lines) > LINES_MAX and lines[-1]:
        raise IntakeError(413, f"more than {LINES_MAX} lines in one request")
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
