"""Metric query: what a report was asked for; everything that is wrong with it is told at once (reference: SparkPost, §4.5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
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
    Window,
    rounded,
    unsaid,
)
from omni_etl.api.parameters import Parameters
from omni_etl.api.problems import Problem, invalid, together
from omni_etl.reports import Condition, Conditions

LIMIT: Final = 1000
LIMIT_MAX: Final = 10_000
METRICS_MAX: Final = 100
FORMAT: Final = "YYYY-MM-DDTHH:MM"
PATH: Final = "/api/v1/metrics/deliverability"
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Wish:
    """What of a report may be asked for."""

    metrics: frozenset[str] = frozenset()  # empty: the report's figures are fixed
    is_series: bool = False
    is_limited: bool = True


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for."""

    window: Window
    metrics: tuple[str, ...]  # as they were spelled, in order
    conditions: tuple[Conditions, ...]
    limit: int
    order_by: str = ""


def asked(request: Request, wish: Wish) -> Asked:
    """Read the query of a request. A subaccount's key asks for its own events, whatever it says.

    Raises:
        Problem: 400, one error for each rule that is broken.

    """
    parameters, problems = Parameters.of(request), _Problems()
    zone = problems.of(lambda: _zone(parameters), ZoneInfo("UTC"))
    window = problems.of(lambda: _window(parameters, zone, wish, now=request.app.state.parts.clock.now()), None)
    metrics: tuple[str, ...] = problems.of(lambda: _metrics(parameters, wish), ())
    order_by = problems.of(lambda: _order(parameters, wish), "")
    limit = problems.of(lambda: parameters.number("limit", default=LIMIT, least=1, most=LIMIT_MAX), LIMIT)
    conditions: tuple[Conditions, ...] = problems.of(lambda: metric_filters.conditions(parameters), ())
    if problems.found or window is None:
        links = [{"href": PATH, "rel": "urn.msys.metrics.deliverability", "method": "GET"}]
        beside = {key: value for each in problems.found for key, value in each.beside.items()}
        raise together(problems.found, beside={"links": links, **beside})
    own = caller(request).subaccount_id
    if own is not None:
        conditions = (*conditions, Conditions((Condition("subaccount_id", "eq", (str(own),)),)))
    return Asked(window, metrics, conditions, limit if wish.is_limited else LIMIT_MAX, order_by)


class _Problems:
    def __init__(self) -> None:
        self.found: list[Problem] = []

    def of(self, read: Callable[[], Found], otherwise: Found) -> Found:
        try:
            return read()
        except Problem as problem:
            self.found.append(problem)
            return otherwise


def _zone(parameters: Parameters) -> ZoneInfo:
    return parameters.zone("timezone")


def _window(parameters: Parameters, zone: ZoneInfo, wish: Wish, *, now: float) -> Window:
    allowed = OF_SERIES if wish.is_series else OF_SUMS
    name = parameters.text("precision")
    if name is not None and name not in allowed:
        raise invalid("precision", f"precision must be one of: {', '.join(allowed)}")
    said = PRECISIONS[name] if name is not None else None
    where = ZoneInfo("UTC") if said is not None and said.is_utc else zone
    problems = _Problems()
    begin = problems.of(lambda: _moment(parameters, "from", where), None)
    end = problems.of(lambda: _moment(parameters, "to", where), None)
    if problems.found:
        raise together(problems.found)
    if begin is None:
        raise invalid("from", "from is required")
    end = end or datetime.fromtimestamp(now, UTC)
    if begin >= end:
        raise invalid("from", "from must be before to")
    precision = said or unsaid(end - begin)
    if precision.span_max is not None and end - begin > precision.span_max:
        raise invalid("precision", f"a window of precision {precision.name} may be {_span(precision.span_max)} long")
    window = rounded(begin, end, precision, zone)
    if wish.is_series and len(window.buckets()) > BUCKETS_MAX:
        raise invalid("from", f"a series may have {BUCKETS_MAX} parts")
    return window


def _span(span: Any) -> str:
    return f"{span.days} days" if span.days > 1 else "24 hours"


def _moment(parameters: Parameters, name: str, zone: ZoneInfo) -> datetime | None:
    moment = parameters.moment(name, zone)
    if moment is not None and not YEAR_MIN < moment.year < YEAR_MAX:
        raise invalid(name, f"{name} must be between {YEAR_MIN} and {YEAR_MAX}")
    return moment


def _metrics(parameters: Parameters, wish: Wish) -> tuple[str, ...]:
    if not wish.metrics:
        return ()
    names = tuple(dict.fromkeys(parameters.listed("metrics")))
    if not names:
        raise invalid("metrics", "metrics is required")
    unknown = [each for each in names if each not in wish.metrics]
    if unknown or len(names) > METRICS_MAX:
        raise invalid("metrics", f"metrics must be some of: {', '.join(sorted(wish.metrics))}")
    return names


def _order(parameters: Parameters, wish: Wish) -> str:
    name = parameters.text("order_by")
    if name is None or not wish.metrics:
        return ""
    if name not in wish.metrics:
        raise invalid("order_by", f"order_by must be one of: {', '.join(sorted(wish.metrics))}")
    return name if name in FORMULAS else ""
