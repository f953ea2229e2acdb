"""Metric query: what a report was asked for; everything that is wrong with it is told at once (reference: SparkPost, §4.5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

from fastapi import Request

from omni_etl.api import metric_filters
from omni_etl.api.caller import caller
from omni_etl.api.metric_formulas import FORMULAS
from omni_etl.api.metric_window import (
    BUCKETS_MAX,
    OF_SERIES,
    OF_SUMS,
    PRECISIONS,
    YEAR_MAX,
    YEAR_MIN,
    Precision,
    Window,
    rounded,
    unsaid,
)
from omni_etl.api.parameters import Parameters
from omni_etl.api.problems import Problem, invalid, together
from omni_etl.reports import Condition, Conditions

LIMIT: Final = 1000
LIMIT_MAX: Final = 10_000
PATH: Final = "/api/v1/metrics/deliverability"
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Wish:
    """What of a report may be asked for."""

    metrics: frozenset[str] = frozenset()  # empty: the report's figures are fixed
    is_series: bool = False
    is_limited: bool = True
    is_ordered: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for."""

    window: Window
    metrics: tuple[str, ...]  # as they were spelled, in order
    conditions: tuple[Conditions, ...]
    limit: int
    order_by: str = ""


def asked(request: Request, wish: Wish) -> Asked:
    """Read the query of a request, as far as its report knows the parameters. A subaccount's key asks for its own events.

    Raises:
        Problem: 400, one error for each rule that is broken.

    """
    parameters, problems = Parameters.of(request), Problems()
    window = _window(parameters, wish, problems, now=request.app.state.parts.clock.now())
    metrics: tuple[str, ...] = problems.of(lambda: _metrics(parameters, wish), ())
    order_by = problems.of(lambda: _order(parameters, wish), "") if wish.is_ordered else ""
    limit = problems.of(lambda: limit_of(parameters), LIMIT) if wish.is_limited else LIMIT_MAX
    conditions: tuple[Conditions, ...] = problems.of(lambda: metric_filters.conditions(parameters), ())
    problems.check()
    assert window is not None  # or it was a problem
    own = caller(request).subaccount_id
    if own is not None:
        conditions = (*conditions, Conditions((Condition("subaccount_id", "eq", (str(own),)),)))
    return Asked(window, metrics, conditions, limit, order_by)


class Problems:
    """What is wrong with one request, rule by rule."""

    def __init__(self) -> None:
        self._found: list[Problem] = []

    def of(self, read: Callable[[], Found], otherwise: Found) -> Found:
        """What is read, or the other where that breaks a rule."""
        try:
            return read()
        except Problem as problem:
            self._found.append(problem)
            return otherwise

    def check(self) -> None:
        """Go on only without any.

        Raises:
            Problem: all of them together.

        """
        if self._found:
            links = [{"href": PATH, "rel": "urn.msys.metrics.deliverability", "method": "GET"}]
            beside = {key: value for each in self._found for key, value in each.beside.items()}
            raise together(self._found, beside={"links": links, **beside})


def limit_of(parameters: Parameters) -> int:
    """How many rows.

    Raises:
        Problem: 400.

    """
    return parameters.number("limit", default=LIMIT, least=1, most=LIMIT_MAX)


def _window(parameters: Parameters, wish: Wish, problems: Problems, *, now: float) -> Window | None:
    """None where something is wrong."""
    zone = problems.of(lambda: parameters.zone("timezone"), ZoneInfo("UTC"))
    said = problems.of(lambda: _precision(parameters, wish), None)
    where = ZoneInfo("UTC") if said is not None and said.is_utc else zone
    begin = problems.of(lambda: _moment(parameters, "from", where, otherwise=None), None)
    end = problems.of(lambda: _moment(parameters, "to", where, otherwise=datetime.fromtimestamp(now, UTC)), None)
    if begin is None or end is None:
        return None
    return problems.of(lambda: _between(begin, end, said, wish=wish, zone=zone), None)


def _between(begin: datetime, end: datetime, said: Precision | None, *, wish: Wish, zone: ZoneInfo) -> Window | None:
    if begin >= end:
        raise invalid("from", "from must be before to")
    precision = said or unsaid(end - begin)
    if precision.span_max is not None and end - begin > precision.span_max:
        raise invalid("precision", f"a window of precision {precision.name} may be {_span(precision.span_max)} long")
    window = rounded(begin, end, precision, zone)
    if wish.is_series and len(window.begins()) > BUCKETS_MAX:
        raise invalid("precision", f"a series may have {BUCKETS_MAX} parts")
    return window


def _precision(parameters: Parameters, wish: Wish) -> Precision | None:
    allowed = OF_SERIES if wish.is_series else OF_SUMS
    name = parameters.text("precision")
    if name is not None and name not in allowed:
        raise invalid("precision", f"precision must be one of: {', '.join(allowed)}")
    return PRECISIONS[name] if name is not None else None


def _span(span: timedelta) -> str:
    return f"{span.days} days" if span.days > 1 else "24 hours"


def _moment(parameters: Parameters, name: str, zone: ZoneInfo, *, otherwise: datetime | None) -> datetime | None:
    moment = parameters.moment(name, zone) or otherwise
    if moment is None:
        raise invalid(name, f"{name} is required")
    if not YEAR_MIN < moment.year < YEAR_MAX:
        raise invalid(name, f"{name} must be between {YEAR_MIN} and {YEAR_MAX}")
    return moment


def _metrics(parameters: Parameters, wish: Wish) -> tuple[str, ...]:
    if not wish.metrics:
        return ()
    names = tuple(dict.fromkeys(parameters.listed("metrics")))
    if not names:
        raise invalid("metrics", "metrics is required")
    if not wish.metrics.issuperset(names):
        raise invalid("metrics", f"metrics must be some of: {', '.join(sorted(wish.metrics))}")
    return names


def _order(parameters: Parameters, wish: Wish) -> str:
    name = parameters.text("order_by")
    if name is None:
        return ""
    if name not in wish.metrics:
        raise invalid("order_by", f"order_by must be one of: {', '.join(sorted(wish.metrics))}")
    return name if name in FORMULAS else ""
