"""Metrics: sums, groups, series and lists (reference: SparkPost, §4). Formulas, windows and filters have files of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson
from fastapi import APIRouter, Depends, Request, Response

from omni_etl.api.auth import needs
from omni_etl.api.caller import caller
from omni_etl.api.metric_described import LIST, SERIES, SUMS, answer_of, parameters_of
from omni_etl.api.metric_filters import SCHEMA
from omni_etl.api.metric_formulas import EVERYWHERE, FORMULAS, NOTHING, OF_LINKS
from omni_etl.api.metric_query import LIMIT, PATH, Asked, Problems, Wish, asked, limit_of
from omni_etl.api.parameters import Parameters
from omni_etl.api.problems import invalid
from omni_etl.reports import Condition, Conditions, ReportQuery, ReportRow

VIEW: Final = "metrics/view"
GROUPS: Final = {
    "domain": "domain",
    "sending-domain": "sending_domain",
    "sending-ip": "sending_ip",
    "ip-pool": "ip_pool",
    "campaign": "campaign_id",
    "template": "template_id",
    "subaccount": "subaccount_id",
    "mailbox-provider": "mailbox_provider",
    "mailbox-provider-region": "mailbox_provider_region",
}
WATCHED: Final = (
    "aol.com", "att.net", "bellsouth.net", "btinternet.com", "charter.net", "comcast.net", "cox.net", "earthlink.net",
    "free.fr", "gmail.com", "gmx.de", "gmx.net", "googlemail.com", "hotmail.co.uk", "hotmail.com", "hotmail.fr",
    "icloud.com", "laposte.net", "libero.it", "live.com", "mac.com", "mail.ru", "me.com", "msn.com", "naver.com",
    "orange.fr", "outlook.com", "protonmail.com", "qq.com", "rocketmail.com", "sbcglobal.net", "sfr.fr", "sky.com",
    "t-online.de", "verizon.net", "wanadoo.fr", "web.de", "yahoo.co.jp", "yahoo.co.uk", "yahoo.com", "yahoo.fr",
    "yandex.ru", "ymail.com", "zoho.com",
)  # fmt: skip
"""The big mailbox domains, of which `/watched-domain` tells."""

LISTS: Final = {
    "campaigns": "campaign_id",
    "domains": "domain",
    "templates": "template_id",
    "sending-domains": "sending_domain",
    "sending-ips": "sending_ip",
    "ip-pools": "ip_pool",
    "mailbox-providers": "mailbox_provider",
    "mailbox-provider-regions": "mailbox_provider_region",
    "subject-campaigns": "",  # of a product that looks into mailboxes: always empty
}
LISTED_DAYS: Final = 31
FULL: Final = Wish(EVERYWHERE, is_limited=False)
GROUPED: Final = Wish(EVERYWHERE, is_ordered=True)
IN_PARTS: Final = Wish(EVERYWHERE, is_series=True, is_limited=False)
LINKED: Final = Wish(OF_LINKS)

router = APIRouter(prefix="/metrics", tags=["Metrics"], dependencies=[Depends(needs(VIEW))])


def figures(row: ReportRow | None, metrics: Sequence[str]) -> dict[str, int]:
    """What was asked for, by its name; 0 for what nothing can count."""
    counted = iter(row.figures) if row is not None else None
    return {name: next(counted) if counted is not None and name in FORMULAS else 0 for name in metrics}


def in_json(body: dict[str, Any]) -> Response:
    """An answer of many rows: FastAPI's own way takes ten times as long, in which nobody else is answered."""
    return Response(orjson.dumps(body), media_type="application/json")


def query_of(
    found: Asked, *metrics: str, by: Sequence[str] = (), order_by: str = "", count_max: int | None = None
) -> ReportQuery:
    """A report of these metrics by these dimensions, largest first."""
    begin, end = found.window.seconds
    names = [name for name in metrics if name in FORMULAS]
    if order_by and order_by not in names:
        names.append(order_by)
    return ReportQuery(
        begin,
        end,
        tuple(FORMULAS[name] for name in names),
        by=tuple(by),
        units=found.window.units(),
        conditions=found.conditions,
        order_by=order_by,
        count_max=count_max,
    )


@router.get("", openapi_extra={"parameters": []}, responses=answer_of({"type": "object"}))
async def discover() -> dict[str, Any]:
    """Which lists there are."""
    return {
        "results": {},
        "links": [{"href": f"/api/v1/metrics/{name}", "rel": name, "method": "GET"} for name in LISTS],
    }


@router.get("/deliverability", openapi_extra=parameters_of(*SUMS), responses=answer_of())
async def summary(request: Request) -> dict[str, Any]:
    """One row of sums."""
    found = asked(request, FULL)
    rows = await request.app.state.parts.reports.report(query_of(found, *found.metrics))
    links = [
        {"href": f"{PATH}/{name}", "rel": name, "method": "GET"} for name in (*GROUPS, "watched-domain", "time-series")
    ]
    return {"results": [figures(rows[0] if rows else None, found.metrics)], "links": links}


@router.get("/deliverability/time-series", openapi_extra=parameters_of(*SERIES), responses=answer_of())
async def time_series(request: Request) -> Response:
    """A row for each part of the window, those too in which nothing happened."""
    found = asked(request, IN_PARTS)
    begins, buckets = found.window.begins(), found.window.buckets()
    query = replace(query_of(found, *found.metrics), buckets=begins)
    rows = {row.bucket: row for row in await request.app.state.parts.reports.report(query)}
    body = {
        "results": [
            {**figures(rows.get(begin), found.metrics), "ts": at.isoformat(timespec="seconds")}
            for begin, at in zip(begins, buckets, strict=True)
        ]
    }
    return in_json(body)


@router.get("/deliverability/link-name", openapi_extra=parameters_of("limit", *SUMS), responses=answer_of())
async def by_link(request: Request) -> Response:
    """Clicks by the name of the link, or its address where it has none."""
    found = asked(request, LINKED)
    query = query_of(found, *found.metrics, by=["link_name"], count_max=found.limit)
    rows = await request.app.state.parts.reports.report(query)
    return in_json({"results": [{**figures(row, found.metrics), "link_name": row.by[0]} for row in rows]})


@router.get(
    "/deliverability/query-filters-schema", openapi_extra={"parameters": []}, responses=answer_of({"type": "object"})
)
async def query_filters_schema() -> dict[str, Any]:
    """What `query_filters` may be, as JSON Schema."""
    return SCHEMA


@router.get(
    "/deliverability/subject-campaign", openapi_extra=parameters_of("limit", "order_by", *SUMS), responses=answer_of()
)
async def by_subject_campaign(request: Request) -> dict[str, Any]:
    """Nothing: this is of a product that looks into mailboxes."""
    asked(request, Wish(frozenset(NOTHING), is_ordered=True))
    return {"results": []}


@router.get(
    "/deliverability/watched-domain", openapi_extra=parameters_of("limit", "order_by", *SUMS), responses=answer_of()
)
async def by_watched_domain(request: Request) -> Response:
    """Sums by the big mailbox domains."""
    found = asked(request, GROUPED)
    watched = Conditions((Condition("domain", "eq", WATCHED),))
    among = replace(found, conditions=(*found.conditions, watched))
    return in_json({"results": await _grouped(request, among, "domain", "watched_domain")})


async def _grouped(request: Request, found: Asked, dimension: str, name: str) -> list[dict[str, Any]]:
    query = query_of(found, *found.metrics, by=[dimension], order_by=found.order_by, count_max=found.limit)
    rows = await request.app.state.parts.reports.report(query)
    return [{**figures(row, found.metrics), name: _shown(dimension, row.by[0])} for row in rows]


def _shown(dimension: str, value: str) -> str | int:
    return int(value) if dimension == "subaccount_id" else value


async def _list(request: Request, name: str) -> Response:
    parameters, problems = Parameters.of(request), Problems()
    now = datetime.fromtimestamp(request.app.state.parts.clock.now(), UTC)
    zone = problems.of(lambda: parameters.zone("timezone"), ZoneInfo("UTC"))
    begin = problems.of(lambda: parameters.moment("from", zone) or now - timedelta(days=LISTED_DAYS), now)
    end = problems.of(lambda: parameters.moment("to", zone) or now + timedelta(minutes=1), now)
    limit = problems.of(lambda: limit_of(parameters), LIMIT)
    problems.check()
    if begin >= end:
        raise invalid("from", "from must be before to")
    values: Sequence[str] = []
    if LISTS[name]:
        values = await request.app.state.parts.reports.values(
            LISTS[name],
            from_s=int(max(begin.timestamp(), 0)),
            to_s=int(max(end.timestamp(), 0)),
            part=parameters.text("match") or "",
            count_max=limit,
            subaccount_id=caller(request).subaccount_id,
        )
    return in_json({"results": {name: values}})


def _add_groups() -> None:
    """A route for each group and list: they differ in a name."""
    for name, dimension in GROUPS.items():

        async def by_one(request: Request, dimension: str = dimension) -> Response:
            found = asked(request, GROUPED)
            return in_json({"results": await _grouped(request, found, dimension, dimension)})

        _add(
            f"/deliverability/{name}",
            by_one,
            f"Sums by {name.replace('-', ' ')}, largest first.",
            "limit",
            "order_by",
            *SUMS,
        )
    for name in LISTS:

        async def one_list(request: Request, name: str = name) -> Response:
            return await _list(request, name)

        _add(f"/{name}", one_list, f"The {name.replace('-', ' ')} that events named.", *LIST, schema={"type": "object"})


def _add(path: str, answer: Any, said: str, *names: str, schema: dict[str, Any] | None = None) -> None:
    async def route(request: Request) -> Any:
        return await answer(request)

    router.add_api_route(
        path,
        route,
        name=path.strip("/").replace("/", "-"),
        methods=["GET"],
        description=said,
        status_code=HTTPStatus.OK,
        openapi_extra=parameters_of(*names),
        responses=answer_of() if schema is None else answer_of(schema),
    )


_add_groups()
