"""Families: the questions that roll-ups answer, and the rows of an envelope for all of them.

Every event asks several families for a row, by numbers alone (`counted`); one call finds the rows of all.
"""

from __future__ import annotations

from itertools import chain
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from omni_etl.envelope import Envelope
from omni_etl.services.marker_row import marker_columns
from omni_etl.services.metrics.counted import MINUTE_SECONDS, Counted, Numbers, counted

FAMILIES: Final[dict[str, tuple[str, ...]]] = {
    "type": (),
    "hour": (),
    "domain": ("domain", "mailbox_provider", "mailbox_provider_region"),
    "campaign": ("campaign_id", "template_id"),
    "sender": ("sending_domain", "ip_pool", "sending_ip"),
    "reason": ("domain", "bounce_class", "reason"),
    "link": ("link_name",),
}
"""Each family's own dimensions, beside minute, subaccount and measure. The minute of "hour" is the hour's first."""

DIMENSIONS: Final = tuple(dict.fromkeys(chain.from_iterable(FAMILIES.values())))
HOUR: Final = list(FAMILIES).index("hour")
HOUR_MINUTES: Final = 60
KEYS_MAX: Final = max(map(len, FAMILIES.values()))
_NUMBERS_MAX: Final = 2**63
_FAMILIES: Final = pa.array([*FAMILIES, ""])

# Which dimension the first, second and third key of each family is; one past the last where it has no such key.
_SLOTS: Final = np.array(
    [
        [DIMENSIONS.index(each) for each in names] + [len(DIMENSIONS)] * (KEYS_MAX - len(names))
        for names in FAMILIES.values()
    ]
).T


def columns(envelope: Envelope) -> Any:
    """The roll-up rows of an envelope, its marker row last; what a row does not tell is '' or 0."""
    events = counted(envelope)
    asked = _asked(events)
    row, count = _rows(events, asked)
    sample = np.empty(count, np.int64)
    sample[row] = np.arange(len(row))  # any of its events stands for a row's keys
    event, first = asked.event[sample], len(events.types)
    adding, into = asked.event[first:], row[first:]  # all but the family `type`, which only counts
    return pa.table(
        {
            "family": _FAMILIES.take(pa.array(np.append(asked.family[sample], len(FAMILIES)))),
            "minute": _with_marker(_minutes(events, asked, sample) * MINUTE_SECONDS, np.uint32),
            "subaccount_id": _with_marker(events.subaccount_ids[event], np.uint32),
            **_texts(events, asked, sample),
            "events": _with_marker(np.bincount(row, minlength=count), np.uint64),
            "delivery_ms": _with_marker(_sums(events.delivery_ms[adding], into, count), np.uint64),
            "message_bytes": _with_marker(_sums(events.message_bytes[adding], into, count), np.uint64),
            "message_ids": _message_ids(events, events.messages[adding], into, count),
            "inserts": _with_marker(np.zeros(count), np.uint64, of_marker=1),
            **marker_columns(envelope, rows=count + 1),
        }
    )


class _Asked(NamedTuple):
    """A place for each event in each family that counts it, family by family, `type` first."""

    event: Numbers
    family: Numbers
    measure: Numbers
    keys: Numbers  # the codes of the family's first, second and third dimension


def _asked(events: Counted) -> _Asked:
    every, measured = np.arange(len(events.types)), np.flatnonzero(events.measures)
    asking = dict.fromkeys(FAMILIES, measured) | {"type": every, "reason": events.failures, "link": events.clicks}
    event = np.concatenate(list(asking.values()))
    measure = events.measures[event]
    measure[: len(every)] = events.types
    keys = np.zeros((KEYS_MAX, len(event)), np.int64)
    end = 0
    for names, which in zip(FAMILIES.values(), asking.values(), strict=True):
        start, end = end, end + len(which)
        for key, name in zip(keys, names, strict=False):
            key[start:end] = events.dimensions[name][which]
    return _Asked(event, np.repeat(np.arange(len(FAMILIES)), [len(which) for which in asking.values()]), measure, keys)


def _rows(events: Counted, asked: _Asked) -> tuple[Numbers, int]:
    """Which row each place counts in, and how many rows there are."""
    places, _ = grouped((events.minutes, 2**31), (events.subaccount_ids, 2**32))
    places = places[asked.event]
    hourly = asked.family == HOUR
    by_hour, _ = grouped((events.minutes // HOUR_MINUTES, 2**31), (events.subaccount_ids, 2**32))
    places[hourly] = by_hour[asked.event[hourly]]
    texts = len(events.texts)
    return grouped(
        (asked.family, len(FAMILIES)),
        (places, len(events.types)),
        (asked.measure, texts),
        *((key, texts) for key in asked.keys),
    )


def _minutes(events: Counted, asked: _Asked, sample: Numbers) -> Numbers:
    """Of each row."""
    minutes = events.minutes[asked.event[sample]]
    return np.where(asked.family[sample] == HOUR, minutes - minutes % HOUR_MINUTES, minutes)


def grouped(*keys: tuple[Numbers, int]) -> tuple[Numbers, int]:
    """A group per combination of keys, each of which is less than its bound: the group of each place, and their count.

    The number of groups times one bound must fit 63 bits; it does by far, as an envelope's bytes are limited.
    """
    joined, bound = keys[0]
    for key, key_bound in keys[1:]:
        if bound * key_bound > _NUMBERS_MAX:  # an envelope of a great many different texts
            joined, bound = _numbered(joined)
        joined = joined * np.int64(key_bound) + key
        bound *= key_bound
    return _numbered(joined)


def _numbered(keys: Numbers) -> tuple[Numbers, int]:
    encoded = pa.array(keys).dictionary_encode()
    return encoded.indices.to_numpy(), len(encoded.dictionary)


def _texts(events: Counted, asked: _Asked, sample: Numbers) -> dict[str, Any]:
    """The columns of text, taken from the distinct ones in one call."""
    names = ("measure", *DIMENSIONS)
    rows = len(sample) + 1
    codes = np.zeros((len(names) + 1, rows), np.int64)  # the last for keys that a family has not
    codes[0, :-1] = asked.measure[sample]
    for slot, key in zip(_SLOTS, asked.keys, strict=True):
        codes[1 + slot[asked.family[sample]], np.arange(rows - 1)] = key[sample]
    texts = events.texts.take(pa.array(codes[:-1].ravel()))
    return {name: texts[place * rows : (place + 1) * rows] for place, name in enumerate(names)}


def _sums(values: Numbers, into: Numbers, count: int) -> Numbers:
    sums = np.zeros(count, np.uint64)
    np.add.at(sums, into, values)
    return sums


def _message_ids(events: Counted, messages: Numbers, into: Numbers, count: int) -> Any:
    """The ids of the messages that each row tells apart: what uniques count."""
    told = np.flatnonzero(messages)
    told = told[np.argsort(into[told], kind="stable")]
    ends = np.cumsum(np.bincount(into[told], minlength=count + 1))
    ids = pa.array(events.message_ids, pa.string()).take(pa.array(messages[told] - 1))
    return pa.ListArray.from_arrays(pa.array(np.append(0, ends).astype(np.int32)), ids)


def _with_marker(values: Numbers, kind: type[np.unsignedinteger[Any]], *, of_marker: int = 0) -> Any:
    return pa.array(np.append(values, of_marker).astype(kind))
