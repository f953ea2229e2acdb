"""Described: parameters and answers of the metrics, for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Final

from omni_etl.api.metric_filters import NAMES, UNKNOWN
from omni_etl.api.metric_formulas import EVERYWHERE
from omni_etl.api.metric_window import OF_SERIES, OF_SUMS

_TEXT: Final = {"type": "string"}
_WHOLE: Final = {"type": "integer", "minimum": 1, "maximum": 10_000, "default": 1000}
_FILTERS: Final = (*NAMES, UNKNOWN, "query_filters", "delimiter")
PARAMETERS: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "from": (_TEXT, "YYYY-MM-DDTHH:MM in `timezone`; inclusive, rounded down to the precision."),
    "to": (_TEXT, "The same; exclusive, rounded up; now where it is absent."),
    "timezone": ({"type": "string", "default": "UTC"}, "Such as America/New_York. Days, weeks and months are UTC's."),
    "metrics": (_TEXT, f"A list of: {', '.join(sorted(EVERYWHERE))}."),
    "precision": ({"type": "string", "enum": list(OF_SUMS)}, "The finest that the window allows, where it is absent."),
    "series precision": ({"type": "string", "enum": list(OF_SERIES)}, "The length of a part."),
    "limit": (_WHOLE, "Rows."),
    "order_by": (_TEXT, "A metric, largest first; the first one where it is absent."),
    "match": (_TEXT, "A part of the name, whatever the case of its letters."),
    "query_filters": (_TEXT, "JSON, see query-filters-schema; other filters count only without it."),
    "delimiter": ({"type": "string", "default": ","}, "Of lists."),
    **dict.fromkeys((*NAMES, UNKNOWN), (_TEXT, "A list; only what is one of these.")),
}
PLAIN: Final = ("from", "to", "timezone", "precision", *_FILTERS)
SUMS: Final = ("metrics", *PLAIN)
SERIES: Final = tuple("series precision" if name == "precision" else name for name in SUMS)
LIST: Final = ("from", "to", "timezone", "match", "limit")


def parameters_of(*names: str) -> dict[str, Any]:
    """For `openapi_extra`."""
    return {
        "parameters": [
            {
                "name": name.removeprefix("series "),
                "in": "query",
                "required": name == "metrics" or (name == "from" and names != LIST),
                "description": PARAMETERS[name][1],
                "schema": PARAMETERS[name][0],
            }
            for name in names
        ]
    }


def answer_of(schema: dict[str, Any] | None = None) -> dict[int | str, dict[str, Any]]:
    """For `responses`: rows, or something else."""
    rows = {
        "type": "object",
        "required": ["results"],
        "properties": {"results": {"type": "array", "items": {"type": "object"}}},
    }
    return {200: {"description": "Found", "content": {"application/json": {"schema": schema or rows}}}}
