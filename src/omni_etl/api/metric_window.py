"""Window: from when to when a report goes, rounded as SparkPost does, and the parts of a series (reference §4.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final
from zoneinfo import ZoneInfo

Step = Callable[[datetime, int], datetime]
HOUR_SECONDS: Final = 3600
DAY: Final = timedelta(days=1)
YEAR_MIN: Final = 1970
YEAR_MAX: Final = 2100
BUCKETS_MAX: Final = 100_000


@dataclass(frozen=True, slots=True)
class Precision:
    """How a time is rounded down, how one goes on from a rounded one, and how long a window may be."""

    name: str
    floor: Callable[[datetime], datetime]
    step: Step
    span_max: timedelta | None = None
    unit: str = ""  # the precision in whose parts messages are told apart; empty: minutes
    is_utc: bool = False  # whatever the time zone that was asked for


def _minutes(size: int, moment: datetime) -> datetime:
    return moment.replace(minute=moment.minute - moment.minute % size, second=0, microsecond=0)


def _hours(size: int, moment: datetime) -> datetime:
    return moment.replace(hour=moment.hour - moment.hour % size, minute=0, second=0, microsecond=0)


def _month(moment: datetime) -> datetime:
    return _hours(24, moment).replace(day=1)


def _week(moment: datetime) -> datetime:
    """Weeks begin on Mondays."""
    return _hours(24, moment) - moment.weekday() * DAY


def _later(span: timedelta, moment: datetime, count: int) -> datetime:
    """Of real time: an hour that a clock shows twice is there twice."""
    return (moment.astimezone(UTC) + count * span).astimezone(moment.tzinfo)


def _half_days(moment: datetime, count: int) -> datetime:
    """By the clock on the wall."""
    return moment + count * timedelta(hours=12)


def _months(moment: datetime, count: int) -> datetime:
    months = moment.year * 12 + moment.month - 1 + count
    return moment.replace(year=months // 12, month=months % 12 + 1)


PRECISIONS: Final = {
    each.name: each
    for each in (
        Precision("1min", partial(_minutes, 1), partial(_later, timedelta(minutes=1)), timedelta(hours=24)),
        Precision("5min", partial(_minutes, 5), partial(_later, timedelta(minutes=5)), timedelta(hours=24)),
        Precision("15min", partial(_minutes, 15), partial(_later, timedelta(minutes=15)), timedelta(hours=48)),
        Precision("hour", partial(_hours, 1), partial(_later, timedelta(hours=1)), timedelta(days=31), unit="hour"),
        Precision("12hr", partial(_hours, 12), _half_days, unit="hour"),
        Precision("day", partial(_hours, 24), partial(_later, DAY), unit="day", is_utc=True),
        Precision("week", _week, partial(_later, 7 * DAY), unit="day", is_utc=True),
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

    def buckets(self) -> list[datetime]:
        """Where each part begins."""
        return list(_parts(self.begin, self.end, self.precision.step))

    def units(self) -> tuple[int, ...]:
        """Where each unit begins in which messages are told apart; none: minutes."""
        if not self.precision.unit:
            return ()
        unit = PRECISIONS[self.precision.unit]
        return tuple(int(each.timestamp()) for each in _parts(unit.floor(self.begin), self.end, unit.step))


def _parts(begin: datetime, end: datetime, step: Step) -> Iterator[datetime]:
    count, at = 0, begin
    while at < end:
        yield at
        count += 1
        at = step(begin, count)


def rounded(begin: datetime, end: datetime, precision: Precision, zone: ZoneInfo) -> Window:
    """From the beginning of the part that `begin` is in to the end of the one that `end` is in, or ends."""
    where = ZoneInfo("UTC") if precision.is_utc else zone
    first = _real(precision.floor(begin.astimezone(where)))
    last = _real(precision.floor(end.astimezone(where)))
    if last < end:
        last = _real(precision.step(last, 1))
    return Window(first, last, precision)


def _real(moment: datetime) -> datetime:
    """A time that the clock on the wall skips is the one behind it."""
    return moment.astimezone(UTC).astimezone(moment.tzinfo)


def unsaid(span: timedelta) -> Precision:
    """The finest precision whose windows may be so long."""
    return next(each for name in _UNSAID if (each := PRECISIONS[name]).span_max is None or span <= each.span_max)
