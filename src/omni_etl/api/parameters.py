"""Parameters of a query as clients really write them: lists in four spellings, times in many."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from fastapi import Request

from omni_etl.api.problems import invalid

_INDEX: Final = re.compile(r"\[\d{0,4}\]$")
_MOMENT: Final = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)(?:[T ](?P<time>\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)(?P<zone>Z|[+ -]\d\d:?\d\d)?)?"
)


class Parameters:
    """One request's; names are case-sensitive, unknown ones are ignored, an empty value counts as absent."""

    def __init__(self, items: Iterable[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in items:
            if value:
                self._values.setdefault(_INDEX.sub("", name), []).append(value)
        self.delimiter = self.text("delimiter") or ","

    @classmethod
    def of(cls, request: Request) -> Parameters:
        """The query of a request."""
        return cls(request.query_params.multi_items())

    def text(self, name: str) -> str | None:
        """The value, the last where there are several."""
        values = self._values.get(name)
        return values[-1] if values else None

    def listed(self, name: str) -> list[str]:
        """`a=x,y`, `a=x&a=y`, `a[0]=x&a[1]=y` and `a[]=x&a[]=y` are all [x, y]; another delimiter where one is given."""
        parts = (part for value in self._values.get(name, []) for part in value.split(self.delimiter))
        return [part for part in parts if part]

    def number(self, name: str, *, default: int, least: int, most: int) -> int:
        """A whole number.

        Raises:
            Problem: 400, what it must be.

        """
        text = self.text(name)
        if text is None:
            return default
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 10) or not least <= int(text) <= most:  # noqa: PLR2004 signed 32 bits
            raise invalid(name, f"{name} must be a number from {least} to {most}")
        return int(text)

    def zone(self, name: str) -> ZoneInfo:
        """A time zone by its name; UTC where none is given.

        Raises:
            Problem: 400, what it must be.

        """
        try:
            return ZoneInfo(self.text(name) or "UTC")
        except (ValueError, OSError, KeyError):  # no such zone, a path that leads elsewhere, a folder of zones
            raise invalid(name, f"{name} must be a name such as America/New_York") from None

    def moment(self, name: str, zone: ZoneInfo | None = None) -> datetime | None:
        """A time in UTC: `2026-11-25T09:00` with or without seconds, `Z`, `+0000`, `+00:00`, `-0400`; `zone` where none is given.

        Raises:
            Problem: 400, what it must be.

        """
        text = self.text(name)
        if text is None:
            return None
        found = _MOMENT.fullmatch(text)
        try:
            if found is None:
                raise ValueError(text)
            # A `+` that was not escaped arrives as a space.
            offset = (found["zone"] or "").replace(" ", "+")
            moment = datetime.fromisoformat(f"{found['day']}T{found['time'] or '00:00'}{offset}")
            return (moment if moment.tzinfo else moment.replace(tzinfo=zone or UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            raise invalid(name, f"{name} must be in the format YYYY-MM-DDTHH:MM") from None
