"""Suppressions as lines of a file, CSV or NDJSON: written for an export, read for an import, one at a time."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, AnyStr, BinaryIO, Final, Literal

import orjson

from omni_etl.api.problems import Problem
from omni_etl.api.suppression_members import list_id_of, recipient_of, types_of
from omni_etl.errors import SettingsError
from omni_etl.event import SUBACCOUNT_ID_MAX
from omni_etl.suppression_list import MANUAL, SOURCES, TYPES, Entry, Saying, address_key, is_address

Format = Literal["csv", "ndjson"]
COLUMNS: Final = ("recipient", "type", "source", "description", "list_id", "subaccount_id", "created", "updated")
SUFFIXES: Final[dict[str, Format]] = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson"}
LINE_BYTES_MAX: Final = 256 * 1024
HEAD_CHARACTERS_SHOWN: Final = 200
DESCRIPTION_CHARACTERS_MAX: Final = 4_096
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}


class LineError(Exception):
    """What is wrong with one line, in words for whoever wrote it."""


@dataclass(frozen=True, slots=True)
class Line:
    """One record; `problem` where it could not even be read."""

    number: int  # of the line in the file where it begins, from 1
    members: Mapping[str, Any]
    problem: str = ""


def format_of(path: str, said: str) -> Format:
    """By what was said, else by the name.

    Raises:
        SettingsError: by neither.

    """
    name = said or SUFFIXES.get(Path(path).suffix.lower(), "")
    if name == "csv":
        return "csv"
    if name == "ndjson":
        return "ndjson"
    found = f"the format {said!r}" if said else f"{path}, whose name tells no format"
    raise SettingsError("omni suppressions", found, "Say --format csv or --format ndjson.")


def written(entries: Iterable[Entry], kind: Format, *, is_first: bool) -> bytes:
    """Lines; CSV has its head before the first."""
    rows = [_row(each) for each in entries]
    if kind == "ndjson":
        return b"".join(orjson.dumps({k: v for k, v in row.items() if v not in ("", 0)}) + b"\n" for row in rows)
    text = io.StringIO(newline="")
    # RFC 4180's line end; and before Python 3.13 a "\r" is quoted only where the line end holds one.
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\r\n")
    if is_first:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def lines(file: BinaryIO, kind: Format) -> Iterator[Line]:
    """Every record of a file, also those that are none.

    Raises:
        SettingsError: a CSV whose head names no recipient.

    """
    return _csv_lines(file) if kind == "csv" else _json_lines(file)


def sayings(line: Line, *, now_ms: int, subaccount_id: int) -> list[Saying]:
    """What a record says, one saying for each type; as of its `updated`, or now.

    Raises:
        LineError: what is wrong with it.

    """
    if line.problem:
        raise LineError(line.problem)
    members = line.members
    recipient = recipient_of(members)
    key = address_key(recipient) if isinstance(recipient, str) else ""
    if not is_address(key):
        raise LineError(f"Invalid email address: {recipient if recipient is not None else 'none'}")
    try:
        types = types_of(members)
        list_id = list_id_of(members["list_id"]) if members.get("list_id") else ""
    except Problem as problem:
        raise LineError(str(problem.errors[0]["message"])) from None
    if not types:
        raise LineError("Must supply a suppression type")
    said = _Said.of(members, now_ms=now_ms, subaccount_id=subaccount_id)
    return [
        Saying(
            subaccount_id=said.subaccount_id,
            recipient=key,
            type=each,
            suppressed=True,
            said_at_ms=said.at_ms,
            said_id="",  # less than any other of the same time, so that an import of an export changes nothing
            source=said.source,
            description=said.description,
            list_id=list_id,
        )
        for each in types
    ]


@dataclass(frozen=True, slots=True)
class _Said:
    """The members that may be left out."""

    at_ms: int
    source: str
    description: str
    subaccount_id: int

    @classmethod
    def of(cls, members: Mapping[str, Any], *, now_ms: int, subaccount_id: int) -> _Said:
        source = members.get("source") or MANUAL
        if source not in SOURCES:
            raise LineError(f"source must be one of: {', '.join(SOURCES)}")
        description = members.get("description") or ""
        if not isinstance(description, str) or len(description) > DESCRIPTION_CHARACTERS_MAX:
            raise LineError(f"description must be a string of at most {DESCRIPTION_CHARACTERS_MAX} characters")
        whose = members.get("subaccount_id")
        return cls(
            at_ms=min(_moment_ms(members.get("updated"), now_ms), now_ms),
            source=source,
            description=description,
            subaccount_id=subaccount_id if whose in (None, "") else _subaccount_id(whose),
        )


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "recipient": entry.recipient,
        "type": entry.type,
        "source": entry.source,
        "description": entry.description,
        "list_id": entry.list_id,
        "subaccount_id": entry.subaccount_id,
        "created": _moment(entry.created_at_ms),
        "updated": _moment(entry.updated_at_ms),
    }


def _moment(milliseconds: int) -> str:
    whole = datetime.fromtimestamp(milliseconds // 1000, UTC).replace(microsecond=milliseconds % 1000 * 1000)
    return whole.isoformat(timespec="milliseconds")


def _moment_ms(said: object, now_ms: int) -> int:
    if said is None or said == "":
        return now_ms
    try:
        moment = datetime.fromisoformat(str(said))
        whole = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0, round(whole.timestamp() * 1000))
    except (ValueError, OverflowError):
        raise LineError("updated must be a time such as 2026-11-25T09:00:00+00:00") from None


def _subaccount_id(said: object) -> int:
    text = str(said)
    if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= SUBACCOUNT_ID_MAX:  # noqa: PLR2004 its digits
        return int(text)
    raise LineError("subaccount_id must be a number")


def _csv_lines(file: BinaryIO) -> Iterator[Line]:
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    counted = _Counted(text.readline)
    rows = csv.reader(counted, strict=True)
    try:
        names = _names(rows)
        while True:
            number = counted.number + 1
            counted.begin_record()
            try:
                row = next(rows)
            except csv.Error as error:
                yield Line(number, {}, f"not CSV: {error}")
                continue
            except StopIteration:
                return
            if row:
                yield _csv_line(number, names, row)
    finally:
        text.detach()  # else it closes the file, which is not ours


class _Counted:
    """Lines that were taken; csv's own count leaves out those it could not read. No record takes more than its room."""

    def __init__(self, read_line: Callable[[int], str]) -> None:
        self._lines = _bounded(read_line, ends=("\n", "\r"))
        self._room = LINE_BYTES_MAX
        self.number = 0

    def begin_record(self) -> None:
        """What comes belongs to another one."""
        self._room = LINE_BYTES_MAX

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.number += 1
        self._room -= len(line)
        if self._room < 0:
            raise csv.Error(f"longer than {LINE_BYTES_MAX} characters")
        return line


def _names(rows: Iterator[list[str]]) -> list[str]:
    try:
        names = [name.strip().lower() for name in next(rows, [])]
    except csv.Error:
        names = []
    if "recipient" in names or "email" in names:
        return names
    found = f"the head {','.join(names)[:HEAD_CHARACTERS_SHOWN]!r}"
    raise SettingsError("omni suppressions import", found, f"Let the first line name its columns: {','.join(COLUMNS)}.")


def _csv_line(number: int, names: list[str], row: list[str]) -> Line:
    if len(row) > len(names):
        return Line(number, {}, "more cells than its head")
    if not _is_text("".join(row)):
        return Line(number, {}, "not UTF-8")
    members: dict[str, Any] = {name: cell for name, cell in zip(names, row, strict=False) if cell}
    for name in TYPES:
        cell = members.get(name, "false")
        members[name] = _BOOLEANS.get(cell.strip().lower(), cell)
    return Line(number, members)


def _json_lines(file: BinaryIO) -> Iterator[Line]:
    numbers = iter(range(1, 2**63))
    for line, number in zip(_bounded(file.readline, ends=(b"\n",)), numbers, strict=False):
        if not line.strip():
            continue
        if len(line) > LINE_BYTES_MAX:
            yield Line(number, {}, f"longer than {LINE_BYTES_MAX} bytes")
            continue
        try:
            members = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            yield Line(number, {}, f"not JSON: {error}")
            continue
        yield Line(number, members) if isinstance(members, dict) else Line(number, {}, "not a JSON object")


def _bounded(read_line: Callable[[int], AnyStr], *, ends: tuple[AnyStr, ...]) -> Iterator[AnyStr]:
    """Lines; of one that is too long a little more than may be, and the rest is passed over."""
    while line := read_line(LINE_BYTES_MAX + 1):
        rest = line
        while len(rest) > LINE_BYTES_MAX and not rest.endswith(ends):
            rest = read_line(LINE_BYTES_MAX + 1)
        yield line


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
