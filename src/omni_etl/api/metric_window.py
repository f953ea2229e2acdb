"""Window: from when to when a report goes, rounded as SparkPost does, and the parts of a series (reference §4.2)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any, Final
from zoneinfo import ZoneInfo

Step = Callable[[datetime, int], datetime]
HOUR_SECONDS: Final = 3600
DAY_SECONDS: Final = 24 * HOUR_SECONDS
DAY: Final = timedelta(days=1)
YEAR_MIN: Final = 1970
YEAR_MAX: Final = 2100
BUCKETS_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Precision:
    """How a time is rounded down, how one goes on from a rounded one, and how long a window may be."""

    name: str
    floor: Callable[[datetime], datetime]
    step: Step
    seconds: int = 0  # of each part; 0 where they are not equally long
    span_max: timedelta | None = None
    unit: str = ""  # the precision in whose parts messages are told apart; empty: minutes
    is_utc: bool = False  # whatever the time zone that was asked for


def _minutes(size: int, moment: datetime) -> datetime:
    return moment.replace(minute=moment.minute - moment.minute % size, second=0, microsecond=0)


def _hours(size: int, moment: datetime) -> datetime:
    """An hour that comes twice is two hours; half a day in which it does begins with the first."""
    fold = moment.fold if size == 1 else 0
    return moment.replace(hour=moment.hour - moment.hour % size, minute=0, second=0, microsecond=0, fold=fold)


def _month(moment: datetime) -> datetime:
    return _hours(24, moment).replace(day=1)


def _week(moment: datetime) -> datetime:
    """Weeks begin on Mondays."""
    return _hours(24, moment) - moment.weekday() * DAY


def _later(seconds: int, moment: datetime, count: int) -> datetime:
    """Of real time: an hour that a clock shows twice is there twice."""
    return datetime.fromtimestamp(moment.timestamp() + count * seconds, moment.tzinfo)


def _half_days(moment: datetime, count: int) -> datetime:
    """By the clock on the wall."""
    return moment + count * timedelta(hours=12)


def _months(moment: datetime, count: int) -> datetime:
    months = moment.year * 12 + moment.month - 1 + count
    return moment.replace(year=months // 12, month=months % 12 + 1)


def _equal(name: str, floor: Callable[[datetime], datetime], seconds: int, **more: Any) -> Precision:
    return Precision(name, floor, partial(_later, seconds), seconds, **more)


PRECISIONS: Final = {
    each.name: each
    for each in (
        _equal("1min", partial(_minutes, 1), 60, span_max=DAY),
        _equal("5min", partial(_minutes, 5), 300, span_max=DAY),
        _equal("15min", partial(_minutes, 15), 900, span_max=2 * DAY),
        _equal("hour", partial(_hours, 1), HOUR_SECONDS, span_max=31 * DAY, unit="hour"),
        Precision("12hr", partial(_hours, 12), _half_days, unit="hour"),
        _equal("day", partial(_hours, 24), DAY_SECONDS, unit="day", is_utc=True),
        _equal("week", _week, 7 * DAY_SECONDS, unit="day", is_utc=True),
        Precision("month", _month, _months, unit="day", is_utc=True),
    )
}
OF_SUMS: Final = ("1min", "5min", "15min", "hour", "day")
OF_SERIES: Final = tuple(PRECISIONS)
_UNSAID: Final = ("1min", "15min", "hour", "day")  # from the finest: the first that may be as long


@dataclass(frozen=True, slots=True)
class Window:
    """Whole parts of a precision, in a time zone."""

    begin: datetime
    end: datetime  # exclusive
    precision: Precision

    @property
    def seconds(self) -> tuple[int, int]:
        """Both, since the epoch."""
        return int(self.begin.timestamp()), int(self.end.timestamp())

    def begins(self) -> Sequence[int]:
        """When each part begins, in seconds since the epoch; a range where all are equally long."""
        begin, end = self.seconds
        if self.precision.seconds:
            return range(begin, end, self.precision.seconds)
        return tuple(islice(_stepped(self.begin, end, self.precision.step), BUCKETS_MAX + 1))

    def buckets(self) -> list[datetime]:
        """The same as the clock on the wall shows it."""
        return [datetime.fromtimestamp(each, self.begin.tzinfo) for each in self.begins()]

    def units(self) -> range | None:
        """When each unit begins in which messages are told apart; None: minutes."""
        if not self.precision.unit:
            return None
        unit = PRECISIONS[self.precision.unit]
        return range(int(unit.floor(self.begin).timestamp()), self.seconds[1], unit.seconds)


def _stepped(begin: datetime, end_s: int, step: Step) -> Iterator[int]:
    """By the clock on the wall; a time that it skips is the one behind it, and none comes twice."""
    last_s = -1
    for count in itertools.count():
        at_s = int(step(begin, count).timestamp())
        if at_s >= end_s:
            return
        if at_s > last_s:
            yield at_s
            last_s = at_s


def rounded(begin: datetime, end: datetime, precision: Precision, zone: ZoneInfo) -> Window:
    """From the beginning of the part that `begin` is in to the end of the one that `end` is in, or ends."""
    where = ZoneInfo("UTC") if precision.is_utc else zone
    first = _real(precision.floor(begin.astimezone(where)))
    last = _real(precision.floor(end.astimezone(where)))
    while last < end:  # once, but where clocks went back by less than a part
        last = _real(precision.step(last, 1))
    return Window(first, last, precision)


def _real(moment: datetime) -> datetime:
    """A time that the clock on the wall skips is the one behind it."""
    return moment.astimezone(UTC).astimezone(moment.tzinfo)


def unsaid(span: timedelta) -> Precision:
    """The finest precision whose windows may be so long."""
    return next(each for name in _UNSAID if (each := PRECISIONS[name]).span_max is None or span <= each.span_max)
