"""Match: which events of an envelope belong to which webhook, cut into batches; pure.

The payload is wrapped a hundred lines at a time, where they stand; an event is parsed only for its subaccount, and only
where some webhook asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final
from uuid import UUID, uuid5

import msgspec

from omni_etl.envelope import Envelope, TypeRange
from omni_etl.event import GROUP_OF
from omni_etl.outbox import BATCH_EVENTS_MAX, Batch
from omni_etl.webhook import SUBACCOUNTS_ALL, Webhook

BODY_BYTES_MAX: Final = 2 * 1024 * 1024  # Django refuses bodies above 2.5 MiB, for ever (DATA_UPLOAD_MAX_MEMORY_SIZE)
BATCH_NAMESPACE: Final = UUID("3f0c7d5c-6b0e-4c39-9a3a-1d5b8e0f7a42")  # random, fixed for ever
PRIMARY_ACCOUNT: Final = 0


class _Sender(msgspec.Struct, gc=False):
    subaccount_id: str | None = None


def cut(envelope: Envelope, webhooks: Sequence[Webhook]) -> list[Batch]:
    """The batches of an envelope, for the webhooks as they are now; paused ones get none.

    Repeated with the same webhooks the batches are the same, ids and bytes.
    """
    ranges = [each for each in envelope.header.types if each.type in GROUP_OF]
    lines: dict[str, _Lines] = {}
    batches: list[Batch] = []
    for webhook in webhooks:
        runs: list[_Run] = []
        for each in ranges:
            if webhook.active and each.type in webhook.events:
                if each.type not in lines:
                    lines[each.type] = _Lines(envelope, each)
                runs += lines[each.type].runs_for(webhook)
        for number, part in enumerate(_parts(runs)):
            batches.append(_batch(envelope.key, webhook, number=number, part=part))
    return batches


class _Lines:
    """The lines of one type: where they stand in the payload, and how each is wrapped."""

    def __init__(self, envelope: Envelope, where: TypeRange) -> None:
        self.raw = envelope.raw
        self.starts = _starts(envelope.raw, where)
        self.opening = b'{"msys":{"%b":' % GROUP_OF[where.type].encode()
        self.seam = b"}}," + self.opening
        self._type = where.type
        self._subaccounts: list[int] | None = None

    def runs_for(self, webhook: Webhook) -> list[_Run]:
        """What this webhook wants; all of it in one run, without a look inside, where it takes every subaccount."""
        if webhook.subaccount_id == SUBACCOUNTS_ALL and not webhook.exception_subaccounts:
            return [_Run(self, 0, len(self.starts) - 1)]
        if self._subaccounts is None:
            lines = (self.raw[start : end - 1] for start, end in pairwise(self.starts))
            self._subaccounts = [int(_sender.decode(line).subaccount_id or PRIMARY_ACCOUNT) for line in lines]
        wanted = {each: webhook.wants(self._type, each) for each in set(self._subaccounts)}
        return [
            _Run(self, first, last) for first, last in _stretches(bytes([wanted[each] for each in self._subaccounts]))
        ]


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


def _stretches(flags: bytes) -> Iterator[tuple[int, int]]:
    """Where ones stand side by side: from the first to before the last of each stretch."""
    last = 0
    while (first := flags.find(1, last)) >= 0:
        last = flags.find(0, first)
        if last < 0:
            last = len(flags)
        yield first, last


def _starts(raw: bytes, where: TypeRange) -> list[int]:
    """Where each line begins, and behind the last one's end."""
    start, end = where.start, where.start + where.size_bytes
    starts = [start]
    while start < end:
        start = raw.index(b"\n", start) + 1
        starts.append(start)
    return starts


def _parts(runs: Sequence[_Run]) -> Iterator[list[_Run]]:
    """At most 100 events and 2 MiB each; one event is never larger than 128 KiB."""
    part: list[_Run] = []
    count, body_bytes = 0, 1  # a bracket
    for run in runs:
        first = run.first
        while first < run.last:
            fitting = _fitting(run, first, count_max=BATCH_EVENTS_MAX - count, bytes_max=BODY_BYTES_MAX - body_bytes)
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


def _batch(key: str, webhook: Webhook, *, number: int, part: Sequence[_Run]) -> Batch:
    return Batch(
        id=str(uuid5(BATCH_NAMESPACE, f"{key}/{webhook.id}/{number}")),
        webhook_id=webhook.id,
        target=webhook.target,
        headers=dict(webhook.custom_headers),
        body=b"[%b]" % b",".join([run.elements() for run in part]),
        event_count=sum(run.last - run.first for run in part),
    )


_sender: Final = msgspec.json.Decoder(_Sender)
