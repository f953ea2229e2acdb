"""Reports on the tables of the services metrics and message_events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from string import Template
from typing import Any, Final

from omni_etl import sql
from omni_etl.backends.clickhouse_reader import StoreReader
from omni_etl.bounce import CATEGORY_OF
from omni_etl.reports import DIMENSIONS, Condition, Figure, ReportQuery, ReportRow

HOUR_SECONDS: Final = 3600
REASON_CHARACTERS: Final = 1024  # as the service metrics keeps
FAMILIES: Final[Mapping[str, frozenset[str]]] = {
    "sender": frozenset({"sending_domain", "ip_pool", "sending_ip"}),
    "campaign": frozenset({"campaign_id", "template_id"}),
    "domain": frozenset({"domain", "mailbox_provider", "mailbox_provider_region"}),
    "reason": frozenset({"domain", "bounce_class", "reason"}),
    "link": frozenset({"link_name"}),
}
"""The roll-ups per minute that can be asked, and what each tells apart beside the subaccount; the first that can, answers."""

HOURS: Final = "hour"  # the family per hour, which tells nothing apart but the subaccount
_OPERATORS: Final = {
    "eq": "{column} IN {{{name}:Array(String)}}",
    "notEq": "{column} NOT IN {{{name}:Array(String)}}",
    "like": "arrayExists(part -> positionCaseInsensitiveUTF8({column}, part) > 0, {{{name}:Array(String)}})",
    "notLike": "NOT arrayExists(part -> positionCaseInsensitiveUTF8({column}, part) > 0, {{{name}:Array(String)}})",
}


class ClickHouseReports(StoreReader):
    """Figures and names."""

    async def report(self, query: ReportQuery) -> Sequence[ReportRow]:
        """A row for each combination of bucket and `by` in which something was counted that the figures ask for."""
        if not query.figures or query.from_s >= query.to_s:
            return []
        statement, parameters = _statement(query)
        width = len(query.by)
        return [
            ReportRow(int(row[0]), tuple(map(str, row[1 : width + 1])), tuple(map(int, row[width + 1 :])))
            for row in await self._ask(statement, parameters)
        ]

    async def values(
        self, dimension: str, *, from_s: int, to_s: int, part: str, count_max: int, subaccount_id: int | None
    ) -> Sequence[str]:
        """The values that a dimension had, in order; those that hold `part`."""
        family = next(name for name, dimensions in FAMILIES.items() if dimension in dimensions)
        statement = Template(sql.query("reports_values")).substitute(dimension=dimension)
        parameters = {
            "family": family,
            "from_s": from_s,
            "to_s": to_s,
            "part": part,
            "count_max": count_max,
            "subaccount_id": -1 if subaccount_id is None else subaccount_id,
        }
        return [str(value) for (value,) in await self._ask(statement, parameters)]


def family_of(query: ReportQuery) -> str | None:
    """The roll-ups with the fewest rows that answer exactly; None where only the events can."""
    asked = {*query.by, *(each.dimension for group in query.conditions for each in group.conditions)} - {
        "subaccount_id"
    }
    if not asked and _is_by_hours(query):
        return HOURS
    return next((name for name, dimensions in FAMILIES.items() if asked <= dimensions), None)


def _is_by_hours(query: ReportQuery) -> bool:
    """Whether every boundary is one of an hour, as roll-ups have them, and messages are not told apart in minutes."""
    if query.units is None and any(figure.of == "messages" for figure in query.figures):
        return False
    boundaries = [query.from_s, query.to_s, *_bounds(query.buckets), *_bounds(query.units or ())]
    return not any(each % HOUR_SECONDS for each in boundaries)


def _bounds(begins: Sequence[int]) -> Sequence[int]:
    """What all boundaries are sums of."""
    return (begins.start, begins.step) if isinstance(begins, range) else begins


def _statement(query: ReportQuery) -> tuple[str, dict[str, Any]]:
    assert set(query.by) <= set(DIMENSIONS), query.by
    family = family_of(query)
    figures = dict(_figures(query.figures, is_merged=family is not None))
    parameters: dict[str, Any] = {"from_s": query.from_s, "to_s": query.to_s}
    for number, figure in enumerate(query.figures):
        parameters |= {f"m{number}": sorted(figure.measures), f"l{number}": sorted(figure.less)}
    parameters["measures"] = sorted({name for each in query.figures for name in each.measures | each.less})
    parameters |= {"family": family} if family is not None else _of_events()
    conditions = list(_conditions(query, parameters))
    keys = [f"key{number}" for number, _ in enumerate(query.by)]
    order = [each.name for each in query.figures].index(query.order_by) if query.order_by else 0
    statement = Template(sql.query("reports")).substitute(
        source=sql.query("reports_events" if family is None else "reports_rollups"),
        bucket=_begin(query.buckets) if query.buckets else "toInt64(0)",
        unit=_begin(query.units) if query.units is not None else "minute",
        keys="".join(f"{key}, " for key in keys),
        key_columns="".join(f"{_column(name)} AS {key}, " for key, name in zip(keys, query.by, strict=True)),
        figures=", ".join(f"{expression} AS {name}" for name, expression in figures.items()),
        totals=", ".join(f"sum({name}) AS total_{name}" for name in figures),
        order=f"total_f{order}",
        conditions="".join(f"AND ({condition})\n" for condition in conditions),
        limit="" if query.count_max is None else f"LIMIT {query.count_max}",
    )
    return statement, parameters


def _of_events() -> dict[str, Any]:
    return {
        "classes": list(CATEGORY_OF),
        "categories": list(CATEGORY_OF.values()),
        "reason_characters": REASON_CHARACTERS,
    }


def _figures(figures: Sequence[Figure], *, is_merged: bool) -> Iterator[tuple[str, str]]:
    """Each under its name in the statement."""
    for number, figure in enumerate(figures):
        these = f"measure IN {{m{number}:Array(String)}}"
        if figure.of == "messages":
            yield f"f{number}", f"toInt64(uniqCombined64{'Merge' if is_merged else ''}If(message, {these}))"
            continue
        less = f" - toInt64(sumIf({figure.of}, measure IN {{l{number}:Array(String)}}))" if figure.less else ""
        yield f"f{number}", f"toInt64(sumIf({figure.of}, {these})){less}"


def _begin(begins: Sequence[int]) -> str:
    """When the part begins that a minute is in. The times are ours, and too many for a parameter."""
    at = "toInt64(toUnixTimestamp(minute))"
    if isinstance(begins, range):
        return f"{begins.start} + intDiv({at} - {begins.start}, {begins.step}) * {begins.step}"
    return f"roundDown({at}, {list(begins)}::Array(Int64))"


def _column(dimension: str) -> str:
    if dimension == "subaccount_id":
        return "toString(subaccount_id)"
    if dimension == "bounce_class":
        known = ", ".join(f"'{name}'" for name in CATEGORY_OF)
        return f"if(toString(bounce_class) IN ({known}), toString(bounce_class), '1')"
    return f"toString({dimension})"


def _conditions(query: ReportQuery, parameters: dict[str, Any]) -> Iterator[str]:
    for group in query.conditions:
        said = [_condition(each, parameters) for each in group.conditions]
        if said:
            yield (" OR " if group.is_any else " AND ").join(said)


def _condition(condition: Condition, parameters: dict[str, Any]) -> str:
    assert condition.dimension in DIMENSIONS, condition
    name = f"c{len(parameters)}"
    parameters[name] = list(condition.values)
    return _OPERATORS[condition.operator].format(column=_column(condition.dimension), name=name)
