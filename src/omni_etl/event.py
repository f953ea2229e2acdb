"""Event: one thing that happened to one email; and the one check that decides what may enter.

Canonical form: one flat JSON object in `orjson`'s own spelling, SparkPost field names, string scalars
(https://developers.sparkpost.com/api/events/). `check` is the only judge: because every line that passes was written
by `orjson` and decoded into `HotFields`, no later stage can refuse it.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec
import orjson

LINE_BYTES_MAX: Final = 128 * 1024
DEPTH_MAX: Final = 32
TIMESTAMP_MAX: Final = 4_102_444_800  # 2100-01-01T00:00:00Z; DateTime64(3) and every receiver hold it
SUBACCOUNT_ID_MAX: Final = 2**31 - 1  # "integers fit signed 32 bits" (SparkPost API conventions)
BACKSLASH: Final = 0x5C
QUOTE: Final = 0x22
NUMBER_MIN: Final = -(2**63)
NUMBER_MAX: Final = 2**64 - 1

GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "message_event": (
        "injection", "delivery", "delay", "bounce", "out_of_band", "spam_complaint", "policy_rejection", "sms_status",
    ),
    "track_event": ("click", "open", "initial_open", "amp_click", "amp_open", "amp_initial_open"),
    "gen_event": ("generation_failure", "generation_rejection"),
    "unsubscribe_event": ("list_unsubscribe", "link_unsubscribe"),
    "relay_event": ("relay_injection", "relay_rejection", "relay_delivery", "relay_tempfail", "relay_permfail"),
    "ab_test_event": ("ab_test_completed", "ab_test_cancelled"),
    "ingest_event": ("success", "error"),
}  # fmt: skip
GROUP_OF: Final[dict[str, str]] = {name: group for group, names in GROUPS.items() for name in names}
TYPES: Final = frozenset(GROUP_OF)

# Which events suppress an address: always, or only with a bounce class of the Hard category (SparkPost support articles).
SUPPRESSING_TYPES: Final = frozenset({"spam_complaint", "list_unsubscribe", "link_unsubscribe"})
BOUNCE_TYPES: Final = frozenset({"bounce", "out_of_band"})
SUPPRESSING_BOUNCE_CLASSES: Final = frozenset({"10", "30", "90"})


class UserAgentParsed(msgspec.Struct, frozen=True, gc=False):
    """The part of `user_agent_parsed` that metrics read."""

    is_prefetched: bool | None = None


class HotFields(msgspec.Struct, gc=False):
    """The fields that services read; an event whose fields have other types is refused at intake."""

    type: str
    timestamp: str
    event_id: str | None = None
    customer_id: str | None = None
    subaccount_id: str | None = None
    message_id: str | None = None
    transmission_id: str | None = None
    rcpt_to: str | None = None
    raw_rcpt_to: str | None = None
    recipient_domain: str | None = None
    routing_domain: str | None = None
    sending_domain: str | None = None
    friendly_from: str | None = None
    subject: str | None = None
    campaign_id: str | None = None
    template_id: str | None = None
    ip_pool: str | None = None
    sending_ip: str | None = None
    reason: str | None = None
    raw_reason: str | None = None
    bounce_class: str | None = None
    error_code: str | None = None
    num_retries: str | None = None
    queue_time: str | None = None
    msg_size: str | None = None
    transactional: str | None = None
    mailbox_provider: str | None = None
    mailbox_provider_region: str | None = None
    ab_test_id: str | None = None
    ab_test_version: str | None = None
    target_link_url: str | None = None
    target_link_name: str | None = None
    user_agent_parsed: UserAgentParsed | None = None


STRING_FIELDS: Final = frozenset(HotFields.__struct_fields__) - {"user_agent_parsed"} | {
    "template_version", "ip_address", "outbound_tls", "scheduled_time", "dr_latency",
}  # fmt: skip


class Refused(ValueError):  # noqa: N818 a verdict on one line, part of the contract of `check`
    """Why a line may not enter; the message is shown to the producer."""


class Checked(NamedTuple):
    """A line that may enter."""

    type: str
    line: bytes
    has_id: bool
    suppresses: bool


_hot_fields: Final = msgspec.json.Decoder(HotFields)


def check(line: bytes, *, since: int = 0) -> Checked | None:
    """Decide whether one JSON object may enter, and answer its canonical line; not if its time is before `since`.

    Takes the flat form or `{"msys": {group: {...}}}`. None for SparkPost's probe `{"msys": {}}`, which holds no event.
    Numbers where SparkPost has string scalars become strings; ISO 8601 timestamps become epoch seconds (rounded down).

    Raises:
        Refused: with the reason, in words for the producer.

    """
    if len(line) > LINE_BYTES_MAX:
        raise Refused(f"longer than {LINE_BYTES_MAX} bytes ({len(line)})")
    if line.count(b"{") + line.count(b"[") > DEPTH_MAX:
        _check_depth(line)
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise Refused(f"not valid JSON: {error}") from None
    if type(event) is not dict:
        raise Refused(f"an event is a JSON object, found {_json_name(event)}")
    canonical = orjson.dumps(event)
    if canonical == line:
        canonical = line  # of the other one, orjson keeps more memory than it is long
    else:
        _check_spelling(line)
    if "msys" in event:
        event = _unwrap(event)
        if event is None:
            return None
        canonical = orjson.dumps(event)
    return _check_fields(event, canonical, since)


def with_event_id(line: bytes, event_id: str) -> bytes:
    """The canonical line with an `event_id` it lacked; `event_id` holds no character that JSON escapes."""
    return b'%b,"event_id":"%b"}' % (line[:-1], event_id.encode())


def suppresses(type_name: str, bounce_class: str | None) -> bool:
    """Whether an event of this type may add a suppression entry; these travel in the express lane."""
    return type_name in SUPPRESSING_TYPES or (type_name in BOUNCE_TYPES and bounce_class in SUPPRESSING_BOUNCE_CLASSES)


def _check_fields(event: dict[str, Any], canonical: bytes, since: int) -> Checked:
    try:
        fields = _hot_fields.decode(canonical)
        good = _timestamp_is_canonical(fields.timestamp)
    except msgspec.ValidationError:
        good = False
    if not good:
        canonical = orjson.dumps(_normalised(event))
        try:
            fields = _hot_fields.decode(canonical)
        except msgspec.ValidationError as error:
            raise Refused(_in_words(error)) from None
        if not _timestamp_is_canonical(fields.timestamp):
            raise Refused(f"timestamp must be epoch seconds before 2100, found {fields.timestamp!r}")
    _check_values(fields, since)
    has_id = fields.event_id is not None
    if not has_id and "event_id" in event:
        canonical = orjson.dumps({name: value for name, value in orjson.loads(canonical).items() if name != "event_id"})
    if len(canonical) > LINE_BYTES_MAX:
        raise Refused(f"longer than {LINE_BYTES_MAX} bytes in canonical form ({len(canonical)})")
    return Checked(fields.type, canonical, has_id, suppresses(fields.type, fields.bounce_class))


def _check_values(fields: HotFields, since: int) -> None:
    if int(fields.timestamp) < since:
        raise Refused(f"timestamp {fields.timestamp} is before {since}, the oldest taken now; imports say old=true")
    if fields.type not in TYPES:
        raise Refused(f"unknown event type {fields.type[:64]!r}")
    if fields.event_id is not None and not fields.event_id:
        raise Refused("event_id is empty")
    if fields.subaccount_id:
        _check_subaccount(fields.subaccount_id)


def _unwrap(event: dict[str, Any]) -> dict[str, Any] | None:
    """The event inside `{"msys": {group: event}}`; its siblings (`cust`) describe the batch, not the event."""
    groups = event["msys"]
    if type(groups) is not dict:
        raise Refused(f"msys must be an object, found {_json_name(groups)}")
    if not groups:
        return None
    if len(groups) > 1:
        raise Refused(f"msys must hold one group, found {len(groups)}: {', '.join(sorted(groups))[:200]}")
    [(group, inner)] = groups.items()
    if group not in GROUPS:
        raise Refused(f"unknown event group {group[:64]!r}")
    if type(inner) is not dict:
        raise Refused(f"msys.{group} must be an object, found {_json_name(inner)}")
    return inner


def _normalised(event: dict[str, Any]) -> dict[str, Any]:
    changed = {
        name: str(event[name]) for name in STRING_FIELDS & event.keys() if type(event[name]) is int
    }  # `type is`: a bool is an int to Python, but no SparkPost scalar
    timestamp = event.get("timestamp")
    if isinstance(timestamp, float):
        changed["timestamp"] = str(int(timestamp))
    elif isinstance(timestamp, str) and not timestamp.isdigit():
        changed["timestamp"] = _epoch_seconds(timestamp)
    return {**event, **changed}


def _epoch_seconds(text: str) -> str:
    try:
        return str(int(float(text)))
    except (ValueError, OverflowError):
        pass
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return str(int(moment.timestamp()))
    except (ValueError, OverflowError):
        raise Refused(f"timestamp must be epoch seconds or ISO 8601, found {text[:64]!r}") from None


def _timestamp_is_canonical(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= len(str(TIMESTAMP_MAX)) and int(text) <= TIMESTAMP_MAX


def _check_subaccount(text: str) -> None:
    # More than ten digits cannot fit; asked first, because int() on a long text is slow and limited.
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= SUBACCOUNT_ID_MAX):  # noqa: PLR2004 its digits
        raise Refused(f"subaccount_id must be a whole number up to {SUBACCOUNT_ID_MAX}, found {text[:64]!r}")


def _check_depth(line: bytes) -> None:
    depth = 0
    in_string = escaped = False
    for byte in line:
        if in_string:
            if escaped:
                escaped = False
            elif byte == BACKSLASH:
                escaped = True
            elif byte == QUOTE:
                in_string = False
        elif byte == QUOTE:
            in_string = True
        elif byte in b"{[":
            depth += 1
            if depth > DEPTH_MAX:
                raise Refused(f"nested deeper than {DEPTH_MAX}")
        elif byte in b"}]":
            depth -= 1


def _check_spelling(line: bytes) -> None:
    """What `orjson` would mend in silence, we refuse: doubled keys (readers differ in which they take) and huge numbers."""
    json.loads(line, object_pairs_hook=_without_doubled_keys, parse_int=_number_in_range)


def _without_doubled_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise Refused(f"the key {name[:64]!r} stands twice in one object")
        members[name] = value
    return members


def _number_in_range(text: str) -> int:
    # 20 digits and a sign hold every 64-bit number; longer texts are not even converted.
    if len(text) > 21 or not NUMBER_MIN <= int(text) <= NUMBER_MAX:  # noqa: PLR2004 its digits
        raise Refused(f"the number {text[:32]} does not fit 64 bits")
    return int(text)


def _json_name(value: object) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _in_words(error: msgspec.ValidationError) -> str:
    """`Expected str | null, got object - at $.rcpt_to` in our words."""
    text = str(error).replace("`", "")
    if "missing required field" in text:
        return text.replace("Object missing required field", "missing field")
    what, _, where = text.partition(" - at $.")
    return f"{where}: {what[0].lower()}{what[1:]}" if where else text
