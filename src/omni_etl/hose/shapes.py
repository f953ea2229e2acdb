"""Shapes: know a line that `event.check` would pass as it is by its looks, at a quarter of the price.

Events of one type have the same keys in the same order, some of them missing here and there. So each type gets regular
expressions, learned from lines that `event.check` passed as they were: they spell out the keys, and ask of each value what
`HotFields` and the canonical form ask. A line that matches holds each key once, nothing between its members, and
values in range. What an expression cannot prove is asked of many lines at once: UTF-8, control characters, and every
value that is not simple. Of a line that matches nothing no more is said: `event.check` judges it, and `learn` looks at it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import orjson
import simdjson

from omni_etl.event import (
    BOUNCE_TYPES,
    LINE_BYTES_MAX,
    SUPPRESSING_BOUNCE_CLASSES,
    TYPES,
    HotFields,
    UserAgentParsed,
    suppresses,
)
from omni_etl.hose.recent import ANY_TIME, times_since

ORDERS_MAX: Final = 4  # of the keys of one type, with an id and without; with one more the oldest is forgotten
NAMES_MAX: Final = 128  # keys of one shape; one that would grow beyond begins anew
BEGINNINGS_MAX: Final = 256
LESSONS_AT_FIRST: Final = 16  # of one type, then one for so many lines: a lesson costs as much as hundreds of checks
UNKNOWN_PER_LESSON: Final = 1_000
GUESSES_MAX: Final = 4  # at an order that no line has shown whole; then the lines have several
PAIRS_MAX: Final = 2  # in one shape: each doubles what a line costs that does not match in the end

_BEGINNING_BYTES: Final = 20
_TYPE: Final = b'"type":"'
_ESCAPE: Final = re.compile(rb'\\(?:["\\bfnrt]|u00(?:0[0-7bef]|1[0-9a-f]))')  # as `orjson` writes them
_ESCAPED: Final = b"\x7f"  # stands for an escape, and in no name, so that no two names look the same
_NAME: Final = re.compile(r"[^\"\\\x00-\x1f\x7f]{1,64}")

# A string ends at the next quote, because no backslash is left in a line when it is matched.
_STRING: Final = '"[^"]*+"'
_TEXTS: Final = rf"\[(?:{_STRING}(?:,{_STRING})*+)?+\]"
_PAIR: Final = rf"\{{(?:{_STRING}:{_STRING})?+\}}"
_DEPTH_1: Final = rf'(?:{_STRING}|[^"{{}}\[\]]++)*+'
_DEPTH_2: Final = rf'(?:{_STRING}|[^"{{}}\[\]]++|[{{\[]{_DEPTH_1}[}}\]])*+'
_DEPTH_3: Final = rf'(?:{_STRING}|[^"{{}}\[\]]++|[{{\[]{_DEPTH_2}[}}\]])*+'
_OBJECT: Final = rf"\{{{_DEPTH_3}\}}"
_ASKED: Final = rf"({_OBJECT}|\[{_DEPTH_3}\]|-?[0-9][0-9.eE+-]*+)"  # groups are what is asked of many lines at once
_HOT: Final = {
    "event_id": f'(?!""){_STRING}',
    "subaccount_id": '(?:"[0-9]{0,9}"|null)',
    "user_agent_parsed": f"(?:null|({_OBJECT}))",
}
_STRINGS: Final = frozenset(HotFields.__struct_fields__) - _HOT.keys()
_FLAGS: Final = UserAgentParsed.__struct_fields__  # true, false or null, wherever they stand
_HARD: Final = frozenset(b'"%b"' % name.encode() for name in SUPPRESSING_BOUNCE_CLASSES)

_simdjson: Final = simdjson.Parser()  # of the loop's thread; asked for a verdict only, no object of it is kept


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What `event.check` would say of a line that it would pass as it is."""

    type: str
    has_id: bool
    suppresses: bool


class Shapes:
    """The shapes that producers have shown so far."""

    def __init__(self) -> None:
        self._types = {name.encode(): _Type(name) for name in TYPES}
        self._beginnings: dict[bytes, _Type] = {}  # a guess at the type that costs next to nothing
        self._times = ANY_TIME
        self.since = 0

    def take_since(self, second: int, *, now: int) -> None:
        """From now on know no event before this second; nor all of the younger ones, so that this changes seldom.

        A line costs no more for it: the expressions ask for the first digits of a time that is surely young enough.
        """
        self.since = second
        times = times_since(second, now=now) if second > 0 else ANY_TIME
        if times != self._times:
            self._times = times
            for of_type in self._types.values():
                of_type.take_times(times)

    def known(self, lines: Sequence[bytes]) -> Sequence[Known | None]:
        """For each line what `event.check` would say; None where that is not sure."""
        if _are_clean(lines):
            asked: set[bytes | None] = set()
            known = [self._known(line, asked) for line in lines]
            if _are_canonical(filter(None, asked)):
                return known
        return [None] * len(lines)

    def learn(self, line: bytes) -> None:
        """Look at a line that `event.check` passed as it is."""
        of_type = self._type(line)
        if of_type is None or not of_type.wants_lesson():
            return
        event = orjson.loads(line)
        if event["type"] == of_type.name and all(map(_NAME.fullmatch, event)):
            of_type.learn(event)
            if len(self._beginnings) < BEGINNINGS_MAX:
                self._beginnings[line[:_BEGINNING_BYTES]] = of_type

    def _known(self, line: bytes, asked: set[bytes | None]) -> Known | None:
        if b"\\" in line:
            line = _ESCAPE.sub(_ESCAPED, line)
            if b"\\" in line:
                return None
        of_type = self._beginnings.get(line[:_BEGINNING_BYTES]) or self._type(line)
        for shape in of_type.shapes if of_type is not None else ():
            if (matched := shape.match(line)) is not None:
                if matched.lastindex is None:
                    return shape.known
                asked.update(matched.groups())
                return shape.known_hard if shape.has_class and matched["bounce_class"] in _HARD else shape.known
        return None

    def _type(self, line: bytes) -> _Type | None:
        start = line.find(_TYPE) + len(_TYPE)
        return self._types.get(line[start : line.find(b'"', start)])


class _Type:
    """The shapes of one event type."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.shapes: list[_Shape] = []
        self._times = ANY_TIME
        self._lessons = 0
        self._unknown = 0

    def wants_lesson(self) -> bool:
        """Whether to look at one more unknown line. Where most lines are like no others, that must not cost more than it saves."""
        self._unknown += 1
        if self._lessons >= LESSONS_AT_FIRST and self._unknown < UNKNOWN_PER_LESSON:
            return False
        self._lessons += 1
        self._unknown = 0
        return True

    def learn(self, event: Mapping[str, Any]) -> None:
        """Widen a shape so that it takes this event, or begin one."""
        if not any(shape.widen(event) for shape in self.shapes):
            self.shapes = [_Shape(self.name, event, self._times), *self.shapes][:ORDERS_MAX]

    def take_times(self, times: str) -> None:
        """The shapes take other times."""
        self._times = times
        for shape in self.shapes:
            shape.take_times(times)


class _Shape:
    """Keys in one order, and the kinds of their values."""

    def __init__(self, type_name: str, event: Mapping[str, Any], times: str) -> None:
        self._type = type_name
        self._times = times
        self._names = list(event)
        self._always = set(event)
        self._kinds: dict[str, set[str]] = {}
        self._guesses = 0
        self.has_class = False
        has_id = "event_id" in event
        self.known = Known(type_name, has_id, suppresses(type_name, None))
        self.known_hard = Known(type_name, has_id, suppresses=True)
        self._see(event)

    def widen(self, event: Mapping[str, Any]) -> bool:
        """Take an event in, unless its keys stand in another order. Then ours may be a bad guess, so it is changed, some times."""
        if self._names[0] != next(iter(event)) or ("event_id" in event) is not self.known.has_id:
            return False
        names = _merged(self._names, event)
        if names is None and self._guesses < GUESSES_MAX:
            self._guesses += 1
            names = _guessed(self._names, event)
        if names is None or len(names) > NAMES_MAX:
            return False
        self._names = names
        self._always &= event.keys()
        self._see(event)
        return True

    def take_times(self, times: str) -> None:
        """Take other times; the next line makes the expression anew."""
        self._times = times
        self.__dict__.pop("match", None)

    def match(self, line: bytes) -> re.Match[bytes] | None:
        """The first time after a lesson, the expression is made; then this method is the expression's own."""
        self.match = self._pattern().fullmatch  # type: ignore[method-assign,assignment]  # saves a call for each line
        return self.match(line)

    def _see(self, event: Mapping[str, Any]) -> None:
        for name, value in event.items():
            self._kinds.setdefault(name, set()).add(_kind(value))
        self.has_class = self._type in BOUNCE_TYPES and "bounce_class" in self._names
        self.__dict__.pop("match", None)

    def _pattern(self) -> re.Pattern[bytes]:
        pairs = [name for name in self._names if "pair" in self._kinds[name]][:PAIRS_MAX]
        first, *rest = [f'"{re.escape(name)}":{self._value(name, may_pair=name in pairs)}' for name in self._names]
        members = [
            f",{member}" if name in self._always else f"(?:,{member})?{'' if re.compile(member).groups else '+'}"
            for name, member in zip(self._names[1:], rest, strict=True)
        ]
        return re.compile(rf"\{{{first}{''.join(members)}\}}".encode())

    def _value(self, name: str, *, may_pair: bool) -> str:
        kinds = self._kinds[name]
        if name == "type":
            return f'"{self._type}"'
        if name == "bounce_class" and self.has_class:
            return f"(?P<bounce_class>{_STRING}|null)"
        if name == "timestamp":
            return self._times
        if name in _HOT:
            return _HOT[name]
        if name in _STRINGS:
            return _STRING if kinds == {"string"} else f"(?:{_STRING}|null)"
        simple = [_SIMPLE[kind] for kind in sorted(kinds) if kind in _SIMPLE and (kind != "pair" or may_pair)]
        asked = [_ASKED] if kinds - _SIMPLE.keys() or ("pair" in kinds and not may_pair) else []
        return f"(?:{'|'.join(simple + asked)})"


_SIMPLE: Final = {"string": _STRING, "boolean": "true|false", "null": "null", "pair": _PAIR, "texts": _TEXTS}


def _kind(value: object) -> str:
    match value:
        case str():
            return "string"
        case bool():
            return "boolean"
        case None:
            return "null"
        case list() if all(type(each) is str for each in value):
            return "texts"
        case dict() if len(value) <= 1 and all(type(each) is str for each in value.values()):
            return "pair"
    return "other"


def _merged(names: Sequence[str], more: Iterable[str]) -> list[str] | None:
    """Both together in one order that both keep; None where there is none."""
    merged, at = list(names), 0
    for name in more:
        if name not in merged[at:]:
            if name in merged:
                return None
            merged.insert(at, name)
        at = merged.index(name, at) + 1
    return merged


def _guessed(names: Sequence[str], event: Mapping[str, Any]) -> list[str]:
    """The order of this event, and in it each of the other names behind the one it followed."""
    guessed = list(event)
    for before, name in pairwise(names):
        if name not in event:
            guessed.insert(guessed.index(before) + 1, name)
    return guessed


def _are_clean(lines: Sequence[bytes]) -> bool:
    whole = b"[%b]" % b",".join(lines)
    if len(whole) > LINE_BYTES_MAX and max(map(len, lines)) > LINE_BYTES_MAX:
        return False
    try:
        _simdjson.parse(whole)
    except (ValueError, RuntimeError):  # damaged; or too deep, or a number beyond 64 bits
        return False
    return True


def _are_canonical(asked: Iterable[bytes]) -> bool:
    """Whether `orjson` spells all of them so. Each is whole by itself: quotes and brackets in it are paired."""
    whole = b"[%b]" % b",".join(asked)
    try:
        values = orjson.loads(whole)
    except orjson.JSONDecodeError:
        return False
    return orjson.dumps(values) == whole and all(
        type(value.get(flag)) in {bool, type(None)} for value in values if type(value) is dict for flag in _FLAGS
    )
