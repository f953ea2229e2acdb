"""Filters: which events a report counts: exact lists by name, or `query_filters` as JSON (reference: SparkPost, §4.1)."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from omni_etl.api.parameters import Parameters
from omni_etl.api.problems import Problem, invalid
from omni_etl.event import SUBACCOUNT_ID_MAX
from omni_etl.reports import Condition, Conditions

NAMES: Final = {
    "domains": "domain",
    "campaigns": "campaign_id",
    "templates": "template_id",
    "sending_ips": "sending_ip",
    "ip_pools": "ip_pool",
    "sending_domains": "sending_domain",
    "subaccounts": "subaccount_id",
    "mailbox_providers": "mailbox_provider",
    "mailbox_provider_regions": "mailbox_provider_region",
}
UNKNOWN: Final = "subject_campaigns"  # no event has one: whoever asks for some finds nothing
OPERATORS: Final = ("eq", "notEq", "like", "notLike")
PART_CHARACTERS_MIN: Final = 3
VALUES_MAX: Final = 1000
DIGITS_MAX: Final = len(str(SUBACCOUNT_ID_MAX))
_Values = dict[Literal["eq", "notEq", "like", "notLike"], list[str | int]]
_Grouping = dict[Literal["AND", "OR"], dict[str, _Values]]


class _QueryFilters(msgspec.Struct, forbid_unknown_fields=True):
    groupings: list[_Grouping]


SCHEMA: Final[dict[str, Any]] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "required": ["groupings"],
    "additionalProperties": False,
    "properties": {
        "groupings": {
            "type": "array",
            "items": {
                "type": "object",
                "minProperties": 1,
                "maxProperties": 1,
                "additionalProperties": False,
                "properties": {each: {"$ref": "#/definitions/conditions"} for each in ("AND", "OR")},
            },
        }
    },
    "definitions": {
        "conditions": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": False,
            "properties": {name: {"$ref": "#/definitions/values"} for name in (*NAMES, UNKNOWN)},
        },
        "values": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": False,
            "properties": {
                each: {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": VALUES_MAX,
                    "items": {
                        "type": ["string", "integer"],
                        **({"minLength": PART_CHARACTERS_MIN} if "ike" in each else {}),
                    },
                }
                for each in OPERATORS
            },
        },
    },
}


def conditions(parameters: Parameters) -> tuple[Conditions, ...]:
    """What was asked for; simple filters count only without `query_filters`.

    Raises:
        Problem: 400.

    """
    text = parameters.text("query_filters")
    if text is not None:
        return _of_json(text)
    simple = [
        Condition(dimension, "eq", tuple(_checked(name, parameters.listed(name))))
        for name, dimension in NAMES.items()
        if parameters.listed(name)
    ]
    if parameters.listed(UNKNOWN):
        simple.append(_nothing())
    return (Conditions(tuple(simple)),)


def _checked(name: str, values: list[str]) -> list[str]:
    if name != "subaccounts":
        return values
    numbers = [each.lstrip("0") or "0" for each in values if each.isascii() and each.isdigit()]
    if len(numbers) < len(values) or any(len(each) > DIGITS_MAX or int(each) > SUBACCOUNT_ID_MAX for each in numbers):
        raise invalid(name, "subaccounts must be numbers")
    return numbers


def _of_json(text: str) -> tuple[Conditions, ...]:
    try:
        found = msgspec.json.decode(text.encode(errors="replace"), type=_QueryFilters)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        raise _wrong(str(error)) from None
    return tuple(_grouping(each) for each in found.groupings)


def _grouping(grouping: _Grouping) -> Conditions:
    if len(grouping) != 1:
        raise _wrong("a grouping holds either AND or OR")
    [(word, by_name)] = grouping.items()
    if not by_name:
        raise _wrong(f"{word} holds no condition")
    found = [each for name, values in by_name.items() for each in _of_name(name, values)]
    return Conditions(tuple(found), is_any=word == "OR")


def _of_name(name: str, by_operator: _Values) -> list[Condition]:
    if name not in NAMES and name != UNKNOWN:
        raise _wrong(f"{name[:64]} is no filter; there are {', '.join((*NAMES, UNKNOWN))}")
    if not by_operator:
        raise _wrong(f"{name} holds no values")
    found = []
    for operator, values in by_operator.items():
        texts = tuple(map(str, values))
        if not texts or len(texts) > VALUES_MAX:
            raise _wrong(f"{name}.{operator} must hold from 1 to {VALUES_MAX} values")
        if operator in ("like", "notLike") and min(map(len, texts)) < PART_CHARACTERS_MIN:
            raise _wrong(f"values of {name}.{operator} must have {PART_CHARACTERS_MIN} characters or more")
        if name == UNKNOWN:
            found += [_nothing()] if operator in ("eq", "like") else []
        else:
            found.append(Condition(NAMES[name], operator, texts))
    return found


def _nothing() -> Condition:
    """Holds for no event."""
    return Condition("subaccount_id", "eq", ())


def _wrong(what: str) -> Problem:
    problem = invalid("query_filters", "query_filters is not valid")
    problem.beside["validationErrors"] = [{"message": what}]
    return problem
