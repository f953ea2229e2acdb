"""Counted: an envelope's events as numbers, which is what grouping compares.

Each text that a roll-up may show becomes a code: its place among the envelope's distinct texts. One dictionary serves all
fields, because a call for each costs more than its work in a small envelope; and decoded texts are let go piece by piece.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from omni_etl.envelope import Envelope
from omni_etl.services.domains import name_domains
from omni_etl.services.metrics.measures import (
    FIELDS,
    MEASURES,
    CountedFields,
    DeliveryFields,
    EngagementFields,
    FailureFields,
    measures,
)
from omni_etl.services.pieces import pieces

Numbers = npt.NDArray[Any]

MINUTE_SECONDS: Final = 60
VALUE_MAX: Final = 2**40  # of one event's milliseconds or bytes (34 years, 1 TiB): no sum of real events wraps at 2^64
VALUE_DIGITS_MAX: Final = 12
REASON_CHARACTERS_MAX: Final = 1024  # a roll-up keys by the reason; the whole text is in message_events

PLACES: Final = {
    "domain": "recipient_domain",
    "mailbox_provider": "mailbox_provider",
    "mailbox_provider_region": "mailbox_provider_region",
    "campaign_id": "campaign_id",
    "template_id": "template_id",
    "sending_domain": "sending_domain",
    "ip_pool": "ip_pool",
    "sending_ip": "sending_ip",
}
"""The dimensions of every event, each with its field."""

_WORDS: Final = ("", *MEASURES)  # their codes are their places here: 0 is what an event leaves out
_CODES: Final[dict[str | None, int]] = {None: 0} | {word: code for code, word in enumerate(_WORDS)}
_places: Final = attrgetter(*PLACES.values())
_decoders: Final = {each: msgspec.json.Decoder(each) for each in (CountedFields, *FIELDS.values())}


@dataclass(frozen=True, slots=True)
class Counted:
    """A number per event in each array, in payload order."""

    texts: Any  # the distinct texts, by code
    types: Numbers
    measures: Numbers  # 0 where an event counts by its type alone
    minutes: Numbers
    subaccount_ids: Numbers
    dimensions: dict[str, Numbers]
    delivery_ms: Numbers
    message_bytes: Numbers
    messages: Numbers  # 1 and more: a place in `message_ids`; 0 where no message is told apart
    message_ids: list[str]
    failures: Numbers  # which events can be explained
    clicks: Numbers  # which events follow a link


def counted(envelope: Envelope) -> Counted:
    """Read an envelope."""
    types = envelope.header.types
    found = _Found()
    for each in types:
        for lines in pieces(envelope.raw[each.start : each.start + each.size_bytes]):
            found.add(each.type, _decoders[_fields_of(each.type)].decode_lines(lines))
    texts, (type_codes, bounce_classes, reasons, link_names, places) = _encoded(
        [[each.type for each in types], found.bounce_classes, found.reasons, found.link_names], found.places
    )

    events_of = [each.count for each in types]
    deliveries, failures, engagements = (
        _where([_fields_of(each.type) is fields for each in types], events_of)
        for fields in (DeliveryFields, FailureFields, EngagementFields)
    )
    clicks = _where([each.type == "click" for each in types], events_of)
    count = len(found.measures)
    return Counted(
        texts=texts,
        types=np.repeat(type_codes, events_of),
        measures=np.array(found.measures, np.int32),
        minutes=np.array(found.seconds, np.int64) // MINUTE_SECONDS,
        subaccount_ids=np.array(found.subaccount_ids, np.int64),
        dimensions={
            **dict(zip(PLACES, places.reshape(count, len(PLACES)).T, strict=True)),
            "bounce_class": _spread(bounce_classes, failures, count),
            "reason": _spread(reasons, failures, count),
            "link_name": _spread(link_names, clicks, count),
        },
        delivery_ms=_spread(np.array(found.delivery_ms, np.uint64), deliveries, count),
        message_bytes=_spread(np.array(found.message_bytes, np.uint64), deliveries, count),
        messages=_spread(np.arange(1, len(engagements) + 1), engagements, count),
        message_ids=found.message_ids,
        failures=failures,
        clicks=clicks,
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """What is read, piece by piece: some of every event, some only of those that tell it."""

    measures: list[int] = field(default_factory=list)
    seconds: list[int] = field(default_factory=list)
    subaccount_ids: list[int] = field(default_factory=list)
    places: list[Any] = field(default_factory=list)  # arrays of text, event by event
    delivery_ms: list[int] = field(default_factory=list)
    message_bytes: list[int] = field(default_factory=list)
    bounce_classes: list[str | None] = field(default_factory=list)
    reasons: list[str | None] = field(default_factory=list)
    link_names: list[str | None] = field(default_factory=list)
    message_ids: list[str] = field(default_factory=list)

    def add(self, type_name: str, events: list[Any]) -> None:
        """Events of one type, whose fields are `FIELDS[type_name]`."""
        name_domains(events)
        self.measures.extend(map(_CODES.__getitem__, measures(type_name, events)))
        self.seconds.extend([int(each.timestamp) for each in events])
        self.subaccount_ids.extend([int(each.subaccount_id or 0) for each in events])
        self.places.append(pa.array(list(chain.from_iterable(map(_places, events))), pa.string()))
        fields = _fields_of(type_name)
        if fields is DeliveryFields:
            self.delivery_ms.extend([_number(each.queue_time) for each in events])
            self.message_bytes.extend([_number(each.msg_size) for each in events])
        elif fields is FailureFields:
            self.bounce_classes.extend([each.bounce_class for each in events])
            self.reasons.extend([(each.reason or "")[:REASON_CHARACTERS_MAX] for each in events])
        elif fields is EngagementFields:
            self.message_ids.extend(map(_message_id, events))
        if type_name == "click":
            self.link_names.extend([each.target_link_name or each.target_link_url for each in events])


def _fields_of(type_name: str) -> type[CountedFields]:
    return FIELDS.get(type_name, CountedFields)


def _message_id(event: EngagementFields) -> str:
    """What tells messages apart: the message's id, or else the transmission and the recipient."""
    return event.message_id or f"{event.transmission_id or ''}/{event.rcpt_to or ''}"


def _number(text: str | None) -> int:
    """Whole numbers up to VALUE_MAX; what is no number counts as 0."""
    if text is None or not (text.isascii() and text.isdigit()):
        return 0
    return int(text) if len(text) <= VALUE_DIGITS_MAX else VALUE_MAX


def _encoded(lists: list[list[Any]], arrays: list[Any]) -> tuple[Any, list[Numbers]]:
    """The distinct texts, and the codes of each list and of all arrays; null and '' have one code."""
    listed = pa.array([*_WORDS, *chain.from_iterable(lists)], pa.string())
    encoded = pa.concat_arrays([listed, *arrays]).fill_null("").dictionary_encode()
    ends = np.cumsum([len(_WORDS), *map(len, lists)])
    return encoded.dictionary, np.split(encoded.indices.to_numpy(), ends)[1:]


def _where(are_meant: list[bool], events_of: list[int]) -> Numbers:
    """Which events are of the types that are meant."""
    return np.flatnonzero(np.repeat(np.array(are_meant, bool), events_of))


def _spread(values: Numbers, where: Numbers, count: int) -> Numbers:
    """A number per event: these values where they belong, 0 elsewhere."""
    numbers = np.zeros(count, values.dtype)
    numbers[where] = values
    return numbers
