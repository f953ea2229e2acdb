"""Event form: a stored event as the APIs that search show it (reference: SparkPost, §1.5)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from omni_etl.event import TIMESTAMP_MAX

DIGITS_MAX: Final = 18  # of a text that becomes a whole number of 64 bits
WHOLE_NUMBERS: Final = ("customer_id", "subaccount_id", "outbound_tls")
PLACE_NUMBERS: Final = ("latitude", "longitude", "zip")

Form = Callable[[dict[str, Any]], dict[str, Any]]
"""Changes an event in its place, and answers it."""


def shown(event: dict[str, Any]) -> dict[str, Any]:
    """As `/events/*` has it: ISO times, ids of accounts as numbers. What does not look as it should is left as it is."""
    _show_times(event)
    for name in WHOLE_NUMBERS:
        if name in event:
            event[name] = _whole(event[name])
    if event.get("subaccount_id") == "":
        del event["subaccount_id"]  # the primary account's, which have none
    place = event.get("geo_ip")
    if isinstance(place, dict):
        place.update({name: _number(place[name]) for name in PLACE_NUMBERS if name in place})
    return event


def shown_of_old(event: dict[str, Any]) -> dict[str, Any]:
    """As `/message-events` has it: ISO times, the time once more as `tdate`, and numbers as texts."""
    _show_times(event)
    event["tdate"] = event["timestamp"]
    place = event.get("geo_ip")
    if isinstance(place, dict):
        degrees = {name: place[name] for name in ("latitude", "longitude") if name in place}
        place.update({name: _text(value) for name, value in degrees.items()})
    return event


def rendered(line: str, form: Form) -> bytes:
    """A line of the store in this form."""
    return orjson.dumps(form(orjson.loads(line)))


def moment(milliseconds: int) -> str:
    """`2016-04-18T14:25:07.000Z`."""
    whole = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03}Z"


def _show_times(event: dict[str, Any]) -> None:
    event["timestamp"] = _moment(event["timestamp"])
    if "scheduled_time" in event:
        event["scheduled_time"] = _moment(event["scheduled_time"])


def _moment(value: Any) -> Any:
    seconds = _whole(value)
    return moment(seconds * 1000) if isinstance(seconds, int) and 0 <= seconds <= TIMESTAMP_MAX else value


def _whole(value: Any) -> Any:
    if not isinstance(value, str) or len(value) > DIGITS_MAX:
        return value
    digits = value.removeprefix("-")
    return int(value) if digits.isascii() and digits.isdigit() else value


def _number(value: Any) -> Any:
    """Not where digits would be lost: a postal code may begin with 0."""
    if not isinstance(value, str):
        return value
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError:
        return value
    return found if type(found) in {int, float} else value


def _text(value: Any) -> Any:
    return orjson.dumps(value).decode() if type(value) in {int, float} else value
