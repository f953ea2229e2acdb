"""Families: the questions that roll-ups answer, and the counting, in Arrow's loops, of an envelope for all of them."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from omni_etl.envelope import Envelope
from omni_etl.services.domains import domain_or_of
from omni_etl.services.marker_row import marker_columns
from omni_etl.services.metrics.measures import CLICKED, DELIVERED, ENGAGED, EXPLAINED, CountedFields, measures

MINUTE_SECONDS: Final = 60
VALUE_MAX: Final = 2**40  # of one event's milliseconds or bytes (34 years, 1 TiB): no sum of real events wraps at 2^64
REASON_CHARACTERS_MAX: Final = 1024  # a roll-up keys by the reason; the whole text is in message_events

KEYS: Final = ("minute", "subaccount_id", "measure")
FAMILIES: Final[dict[str, tuple[str, ...]]] = {
    "domain": ("domain", "mailbox_provider", "mailbox_provider_region"),
    "campaign": ("campaign_id", "template_id"),
    "sender": ("sending_domain", "ip_pool", "sending_ip"),
    "reason": ("domain", "bounce_class", "reason"),
    "link": ("link_name",),
}

_SUMS: Final = [([], "count_all"), ("delivery_ms", "sum"), ("message_bytes", "sum")]
_REACH: Final = [([], "count_all"), ("message", "list")]
_NAMES: Final = {
    "count_all": "events",
    "delivery_ms_sum": "delivery_ms",
    "message_bytes_sum": "message_bytes",
    "message_list": "message_ids",
}
_NUMBER: Final = r"^[0-9]{1,12}$"
_LARGE_NUMBER: Final = r"^[0-9]{13,}$"

_fields: Final = msgspec.json.Decoder(CountedFields)


def columns(envelope: Envelope) -> Any:
    """The roll-up rows of an envelope, its marker row last."""
    events = _events(envelope)
    counted = events.filter(pc.is_valid(events["measure"]))
    is_engaged = _among(counted, ENGAGED)
    others = counted.filter(pc.invert(is_engaged))
    engaged = counted.filter(is_engaged)
    engaged = engaged.append_column("message", _message(engaged))
    rolled = [_by_type(events)]
    for family in ("domain", "campaign", "sender"):
        rolled += [_rolled(others, family, _SUMS), _rolled(engaged, family, _REACH)]
    rolled.append(_rolled(others.filter(_among(others, EXPLAINED)), "reason", _SUMS))
    rolled.append(_rolled(engaged.filter(_among(engaged, CLICKED)), "link", _REACH))
    rolled.append(pa.table({"inserts": pa.array([1], pa.uint64())}))
    rows = pa.concat_tables(rolled, promote_options="default").combine_chunks()
    for name, column in marker_columns(envelope, rows=rows.num_rows).items():
        rows = rows.append_column(name, column)
    return rows


def _events(envelope: Envelope) -> Any:
    """One row per event: its minute, what it counts as, and every dimension."""
    events: list[CountedFields] = []
    types: list[str] = []
    counts_as: list[str | None] = []
    for each in envelope.header.types:
        found = _fields.decode_lines(envelope.raw[each.start : each.start + each.size_bytes])
        events += found
        types += [each.type] * each.count
        counts_as += measures(each.type, found)
    text = _columns_of(events)
    measure = pa.array(counts_as, pa.string())
    delivered = pc.is_in(measure, pa.array(DELIVERED))
    seconds = text["timestamp"].cast(pa.int64())
    return pa.table(
        {
            **text,
            "minute": pc.multiply(pc.divide(seconds, MINUTE_SECONDS), MINUTE_SECONDS).cast(pa.uint32()),
            "subaccount_id": _given(text["subaccount_id"]).cast(pa.uint32()),
            "type": pa.array(types, pa.string()),
            "measure": measure,
            "domain": domain_or_of(text["recipient_domain"], text["rcpt_to"]),
            "sending_domain": domain_or_of(text["sending_domain"], text["friendly_from"]),
            "reason": pc.utf8_slice_codeunits(text["reason"], 0, REASON_CHARACTERS_MAX),
            "link_name": pc.coalesce(_given(text["target_link_name"]), text["target_link_url"]),
            "delivery_ms": _number(pc.if_else(delivered, text["queue_time"], None)),
            "message_bytes": _number(pc.if_else(delivered, text["msg_size"], None)),
        }
    )


def _columns_of(events: list[CountedFields]) -> dict[str, Any]:
    names = CountedFields.__struct_fields__[:-1]  # user_agent_parsed, the last, is a measure by now
    values = zip(*map(msgspec.structs.astuple, events), strict=True) if events else ([] for _ in names)
    return {name: pa.array(column, pa.string()) for name, column in zip(names, values, strict=False)}


def _by_type(events: Any) -> Any:
    counted = events.group_by(["minute", "subaccount_id", "type"], use_threads=False).aggregate([([], "count_all")])
    return _named(counted.rename_columns({"type": "measure"}), "type")


def _rolled(events: Any, family: str, aggregates: list[tuple[Any, str]]) -> Any:
    counted = events.group_by([*KEYS, *FAMILIES[family]], use_threads=False).aggregate(aggregates)
    return _named(counted, family)


def _named(counted: Any, family: str) -> Any:
    names = [_NAMES.get(name, name) for name in counted.column_names]
    return counted.rename_columns(names).append_column("family", pa.repeat(pa.scalar(family), counted.num_rows))


def _among(events: Any, wanted: frozenset[str]) -> Any:
    return pc.is_in(events["measure"], pa.array(sorted(wanted)))


def _message(events: Any) -> Any:
    """What tells messages apart: the message's id, or else the transmission and the recipient."""
    recipient = pc.binary_join_element_wise(
        events["transmission_id"], events["rcpt_to"], "/", null_handling="replace", null_replacement=""
    )
    return pc.coalesce(_given(events["message_id"]), recipient)


def _given(text: Any) -> Any:
    """Null for an empty text: some producers write '' where others leave a field out."""
    return pc.if_else(pc.equal(text, ""), None, text)


def _number(text: Any) -> Any:
    """Whole numbers up to VALUE_MAX; what is no number is null, and so counts as 0."""
    short = pc.if_else(pc.match_substring_regex(text, _NUMBER), text, None).cast(pa.int64())
    large = pc.if_else(pc.match_substring_regex(text, _LARGE_NUMBER), VALUE_MAX, None)
    return pc.min_element_wise(pc.coalesce(short, large), VALUE_MAX, skip_nulls=False)
