"""Match: which events of an envelope belong to which webhook, cut into batches; pure.

The payload is wrapped a hundred lines at a time, where they stand; an event is parsed only for its subaccount, and only
where some webhook asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise
from typing import Final
from uuid import UUID, uuid5

import msgspec

from omni_etl.envelope import Envelope, TypeRange
from omni_etl.event import GROUP_OF
from omni_etl.outbox import Batch, Cut, Segment
from omni_etl.webhook import SUBACCOUNTS_ALL, Webhook

BODY_BYTES_MAX: Final = 2 * 1024 * 1024  # Django refuses bodies above 2.5 MiB, for ever (DATA_UPLOAD_MAX_MEMORY_SIZE)
BATCH_NAMESPACE: Final = UUID("3f0c7d5c-6b0e-4c39-9a3a-1d5b8e0f7a42")  # random, fixed for ever
PRIMARY_ACCOUNT: Final = 0


class _Sender(msgspec.Struct, gc=False):
    subaccount_id: str | None = None


def cut(envelope: Envelope, webhooks: Sequence[Webhook]) -> Cut:
    """Batches that are full, and one segment of what is left for each webhook, as they are now; paused ones get none.

    Repeated with the same webhooks they are the same, ids and bytes.
    """
    lines = [_Lines(envelope, each) for each in envelope.header.types if each.type in GROUP_OF]
    batches: list[Batch] = []
    segments: list[Segment] = []
    for webhook in webhooks:
        runs = [run for each in lines if each.are_wanted(webhook) for run in each.runs_for(webhook)]
        parts = list(_parts(runs, events_max=webhook.batch_events_max))
        if parts and _event_count(parts[-1]) < webhook.batch_events_max:
            segments.append(_segment(envelope.key, webhook, parts.pop()))
        batches += [_batch(envelope.key, webhook, number=number, part=part) for number, part in enumerate(parts)]
    return Cut(batches, segments)


class _Lines:
    """The lines of one type: where they stand in the payload, and how each is wrapped. Looked at when first wanted."""

    def __init__(self, envelope: Envelope, where: TypeRange) -> None:
        self.raw = envelope.raw
        self.opening = b'{"msys":{"%b":' % GROUP_OF[where.type].encode()
        self.seam = b"}}," + self.opening
        self._where = where

    @cached_property
    def starts(self) -> list[int]:
        """Where each line begins, and behind the last one's end."""
        return _starts(self.raw, self._where)

    def are_wanted(self, webhook: Webhook) -> bool:
        """Whether the webhook wants this type at all."""
        return webhook.active and self._where.type in webhook.events

    def runs_for(self, webhook: Webhook) -> list[_Run]:
        """What this webhook wants; all of it in one run, without a look inside, where it takes every subaccount."""
        if webhook.subaccount_id != SUBACCOUNTS_ALL:
            is_excepted = webhook.subaccount_id in webhook.exception_subaccounts
            return [] if is_excepted else self._runs_of.get(webhook.subaccount_id, [])
        if not webhook.exception_subaccounts:
            return [_Run(self, 0, len(self.starts) - 1)]
        wanted = [
            run for each, runs in self._runs_of.items() if each not in webhook.exception_subaccounts for run in runs
        ]
        return sorted(wanted, key=lambda run: run.first)

    @cached_property
    def _runs_of(self) -> dict[int, list[_Run]]:
        """Once for all webhooks: lines of the same subaccount that stand side by side."""
        lines = (self.raw[start : end - 1] for start, end in pairwise(self.starts))
        subaccounts = (int(_sender.decode(line).subaccount_id or PRIMARY_ACCOUNT) for line in lines)
        runs: dict[int, list[_Run]] = {}
        first = 0
        for subaccount, group in groupby(subaccounts):
            last = first + sum(1 for _ in group)
            runs.setdefault(subaccount, []).append(_Run(self, first, last))
            first = last
        return runs


@dataclass(frozen=True, slots=True)
class _Run:
    """Lines of one type that stand side by side, from `first` to before `last`."""

    lines: _Lines
    first: int
    last: int

    def body_bytes(self) -> int:
        """Wrapped, with a comma or a bracket after each."""
        raw_bytes = self.lines.starts[self.last] - self.lines.starts[self.first]  # with a line end after each
        return raw_bytes + (self.last - self.first) * (len(self.lines.seam) - 1)

    def elements(self) -> bytes:
        """Wrapped, with commas between them."""
        text = self.lines.raw[self.lines.starts[self.first] : self.lines.starts[self.last] - 1]
        return b"%b%b}}" % (self.lines.opening, text.replace(b"\n", self.lines.seam))


def _starts(raw: bytes, where: TypeRange) -> list[int]:
    """Where each line begins, and behind the last one's end."""
    start, end = where.start, where.start + where.size_bytes
    starts = [start]
    while start < end:
        start = raw.index(b"\n", start) + 1
        starts.append(start)
    return starts


def _parts(runs: Sequence[_Run], *, events_max: int) -> Iterator[list[_Run]]:
    """At most so many events, and 2 MiB each; one event is never larger than 128 KiB."""
    part: list[_Run] = []
    count, body_bytes = 0, 1  # a bracket
    for run in runs:
        first = run.first
        while first < run.last:
            fitting = _fitting(run, first, count_max=events_max - count, bytes_max=BODY_BYTES_MAX - body_bytes)
            if fitting.last > first:
                part.append(fitting)
                count += fitting.last - first
                body_bytes += fitting.body_bytes()
                first = fitting.last
            if first < run.last:
                yield part
                part, count, body_bytes = [], 0, 1
    if part:
        yield part


def _fitting(run: _Run, first: int, *, count_max: int, bytes_max: int) -> _Run:
    """As much of a run as fits; perhaps nothing."""
    fitting = _Run(run.lines, first, min(run.last, first + count_max))
    while fitting.body_bytes() > bytes_max:
        fitting = _Run(run.lines, first, fitting.last - 1)
    return fitting


def _event_count(part: Sequence[_Run]) -> int:
    return sum(run.last - run.first for run in part)


def _batch(key: str, webhook: Webhook, *, number: int, part: Sequence[_Run]) -> Batch:
    return Batch(
        id=str(uuid5(BATCH_NAMESPACE, f"{key}/{webhook.id}/{number}")),
        webhook_id=webhook.id,
        target=webhook.target,
        headers=dict(webhook.custom_headers),
        body=b"[%b]" % b",".join([run.elements() for run in part]),
        event_count=_event_count(part),
    )


def _segment(key: str, webhook: Webhook, part: Sequence[_Run]) -> Segment:
    elements = b",".join([run.elements() for run in part])
    return Segment(webhook.id, f"{key}/{webhook.id}", elements, _event_count(part))


_sender: Final = msgspec.json.Decoder(_Sender)
