"""Metric reasons: why mail bounced, was rejected or delayed, and at which attempt it came through (reference: SparkPost, §4.3)."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Depends, Request, Response

from omni_etl.api.auth import needs
from omni_etl.api.metric_described import PLAIN, SUMS, answer_of, parameters_of
from omni_etl.api.metric_formulas import FORMULAS, OF_BOUNCES
from omni_etl.api.metric_query import Asked, Wish, asked
from omni_etl.api.metrics import VIEW, figures, in_json, query_of
from omni_etl.bounce import CLASSES, Category
from omni_etl.reports import Figure, ReportQuery

# SparkPost publishes the first two numbers.
CATEGORY_IDS: Final[dict[Category, int]] = {"undetermined": 0, "hard": 1, "soft": 2, "block": 3, "admin": 4}
REJECTION_TYPES: Final = {1: "Policy Rejection", 2: "Generation Rejection"}
DESCRIPTIONS: Final = {
    "1": "What the other side said tells no reason",
    "10": "The recipient is unknown",
    "20": "The other side could not take the message for now",
    "21": "The domain could not be found",
    "22": "The mailbox is full",
    "23": "The message is too large for the recipient",
    "24": "The other side did not answer in time",
    "25": "It was stopped on our side, by policy or because the address is suppressed",
    "26": "It was stopped on our side, because it would have bounced",
    "30": "There is no recipient in the message",
    "40": "It bounced without a reason that can be told apart",
    "50": "The sender is blocked",
    "51": "The sender is blocked as a source of spam",
    "52": "The content is taken for spam",
    "53": "An attachment is not allowed",
    "54": "The other side does not take mail for this domain",
    "60": "An answer that a machine wrote",
    "70": "The message is delayed for a while",
    "80": "A request to subscribe",
    "90": "A request to unsubscribe",
    "100": "A question whether a person sent it",
}
BOUNCES: Final = Wish(OF_BOUNCES)
FIXED: Final = Wish()
UNLIMITED: Final = Wish(is_limited=False)
ATTEMPTS: Final = tuple(
    Figure(attempt, frozenset({measure}))
    for attempt, measure in (("1", "delivered_first"), ("2", "delivered_second"), ("3+", "delivered_third_or_later"))
)
REJECTED_BY: Final = {
    1: Figure("1", FORMULAS["count_policy_rejection"].measures),
    2: Figure("2", FORMULAS["count_generation_failed"].measures | FORMULAS["count_generation_rejection"].measures),
}

router = APIRouter(prefix="/metrics/deliverability", tags=["Metrics"], dependencies=[Depends(needs(VIEW))])


@router.get("/bounce-reason", openapi_extra=parameters_of("limit", *SUMS), responses=answer_of())
async def by_bounce_reason(request: Request) -> Response:
    """Bounces by what the other side said."""
    return await _bounces(request, "reason", "bounce_class")


@router.get("/bounce-reason/domain", openapi_extra=parameters_of("limit", *SUMS), responses=answer_of())
async def by_bounce_reason_and_domain(request: Request) -> Response:
    """The same by the recipients' domains too."""
    return await _bounces(request, "reason", "bounce_class", "domain")


@router.get("/bounce-classification", openapi_extra=parameters_of("limit", *SUMS), responses=answer_of())
async def by_bounce_classification(request: Request) -> Response:
    """Bounces by their class."""
    return await _bounces(request, "bounce_class")


async def _bounces(request: Request, *by: str) -> Response:
    found = asked(request, BOUNCES)
    query = query_of(found, *found.metrics, by=by, count_max=found.limit)
    rows = []
    for row in await request.app.state.parts.reports.report(query):
        keys = dict(zip(by, row.by, strict=True))
        rows.append({**figures(row, found.metrics), **_class(keys.pop("bounce_class")), **keys})
    return in_json({"results": rows})


def _class(code: str) -> dict[str, Any]:
    name, category = CLASSES[code]
    return {
        "bounce_class_name": name,
        "bounce_class_description": DESCRIPTIONS[code],
        "bounce_category_id": CATEGORY_IDS[category],
        "bounce_category_name": category.capitalize(),
        "classification_id": int(code),
    }


@router.get("/rejection-reason", openapi_extra=parameters_of("limit", *PLAIN), responses=answer_of())
async def by_rejection_reason(request: Request) -> Response:
    """What was not taken in, by the reason that was given."""
    return await _rejections(request, "reason")


@router.get("/rejection-reason/domain", openapi_extra=parameters_of("limit", *PLAIN), responses=answer_of())
async def by_rejection_reason_and_domain(request: Request) -> Response:
    """The same by the recipients' domains too."""
    return await _rejections(request, "reason", "domain")


async def _rejections(request: Request, *by: str) -> Response:
    found = asked(request, FIXED)
    rows = []
    for category, figure in REJECTED_BY.items():
        said = {
            "rejection_category_id": category,
            "rejection_category_name": REJECTION_TYPES[category],  # as clients read it
            "rejection_type": REJECTION_TYPES[category],  # as the reference shows it
        }
        of_category = await request.app.state.parts.reports.report(_fixed(found, figure, by=by))
        rows += [
            {"count_rejected": row.figures[0], **said, **dict(zip(by, row.by, strict=True))} for row in of_category
        ]
    rows.sort(key=lambda row: -int(str(row["count_rejected"])))
    return in_json({"results": rows[: found.limit]})


@router.get("/delay-reason", openapi_extra=parameters_of("limit", *PLAIN), responses=answer_of())
async def by_delay_reason(request: Request) -> Response:
    """Delays by what the other side said."""
    return await _delays(request, "reason")


@router.get("/delay-reason/domain", openapi_extra=parameters_of("limit", *PLAIN), responses=answer_of())
async def by_delay_reason_and_domain(request: Request) -> Response:
    """The same by the recipients' domains too."""
    return await _delays(request, "reason", "domain")


async def _delays(request: Request, *by: str) -> Response:
    found = asked(request, FIXED)
    metrics = ("count_delayed", "count_delayed_first")
    rows = await request.app.state.parts.reports.report(_fixed(found, *(FORMULAS[name] for name in metrics), by=by))
    return in_json({"results": [{**figures(row, metrics), **dict(zip(by, row.by, strict=True))} for row in rows]})


@router.get("/attempt", openapi_extra=parameters_of(*PLAIN), responses=answer_of())
async def by_attempt(request: Request) -> dict[str, Any]:
    """Deliveries by the attempt that succeeded."""
    rows = await request.app.state.parts.reports.report(_fixed(asked(request, UNLIMITED), *ATTEMPTS))
    counts = rows[0].figures if rows else (0,) * len(ATTEMPTS)
    return {
        "results": [
            {"attempt": figure.name, "count_delivered": count}
            for figure, count in zip(ATTEMPTS, counts, strict=True)
            if count
        ]
    }


def _fixed(found: Asked, *of: Figure, by: tuple[str, ...] = ()) -> ReportQuery:
    begin, end = found.window.seconds
    return ReportQuery(begin, end, of, by=by, conditions=found.conditions, count_max=found.limit if by else None)
