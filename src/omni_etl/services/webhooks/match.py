"""Match: which events of an envelope belong to which webhook, cut into batches; pure.

Lines are wrapped once per type and joined as bytes; an event is parsed only for its subaccount, and only where some
webhook asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final
from uuid import UUID, uuid5

import msgspec

from omni_etl.envelope import Envelope
from omni_etl.event import GROUP_OF
from omni_etl.outbox import BATCH_EVENTS_MAX, Batch
from omni_etl.webhook import SUBACCOUNTS_ALL, Webhook

BODY_BYTES_MAX: Final = 2 * 1024 * 1024  # Django refuses bodies above 2.5 MiB, for ever (DATA_UPLOAD_MAX_MEMORY_SIZE)
BATCH_NAMESPACE: Final = UUID("3f0c7d5c-6b0e-4c39-9a3a-1d5b8e0f7a42")  # random, fixed for ever
PRIMARY_ACCOUNT: Final = 0


class _Sender(msgspec.Struct, gc=False):
    subaccount_id: str | None = None


class _Slice:
    """The events of one type as they are sent, made when first asked for."""

    def __init__(self, envelope: Envelope, type_name: str) -> None:
        self._lines = envelope.lines(type_name)
        start = b'{"msys":{"%b":' % GROUP_OF[type_name].encode()
        self.elements = [b"%b%b}}" % (start, line) for line in self._lines]
        self._subaccounts: list[int] | None = None

    def elements_for(self, webhook: Webhook, type_name: str) -> list[bytes]:
        """The elements that this webhook wants; all of them without a look inside where it takes every subaccount."""
        if webhook.subaccount_id == SUBACCOUNTS_ALL and not webhook.exception_subaccounts:
            return self.elements
        if self._subaccounts is None:
            self._subaccounts = [int(_sender.decode(line).subaccount_id or PRIMARY_ACCOUNT) for line in self._lines]
        wanted = {each: webhook.wants(type_name, each) for each in set(self._subaccounts)}
        return [element for element, each in zip(self.elements, self._subaccounts, strict=True) if wanted[each]]


def cut(envelope: Envelope, webhooks: Sequence[Webhook]) -> list[Batch]:
    """The batches of an envelope, for the webhooks as they are now; paused ones get none.

    Repeated with the same webhooks the batches are the same, ids and bytes.
    """
    types = [each.type for each in envelope.header.types if each.type in GROUP_OF]
    slices: dict[str, _Slice] = {}
    batches: list[Batch] = []
    for webhook in webhooks:
        elements: list[bytes] = []
        for type_name in types:
            if webhook.active and type_name in webhook.events:
                if type_name not in slices:
                    slices[type_name] = _Slice(envelope, type_name)
                elements += slices[type_name].elements_for(webhook, type_name)
        for number, part in enumerate(_parts(elements)):
            batches.append(_batch(envelope.key, webhook, number=number, elements=part))
    return batches


def _parts(elements: list[bytes]) -> Iterator[list[bytes]]:
    """At most 100 events and 2 MiB each; one event is never larger than 128 KiB."""
    start = size = 0
    for end, element in enumerate(elements):
        size_with = size + len(element) + 1  # the comma, or a bracket
        if end - start == BATCH_EVENTS_MAX or (size_with >= BODY_BYTES_MAX and end > start):
            yield elements[start:end]
            start, size_with = end, len(element) + 1
        size = size_with
    if start < len(elements):
        yield elements[start:]


def _batch(key: str, webhook: Webhook, *, number: int, elements: Sequence[bytes]) -> Batch:
    return Batch(
        id=str(uuid5(BATCH_NAMESPACE, f"{key}/{webhook.id}/{number}")),
        webhook_id=webhook.id,
        target=webhook.target,
        headers=dict(webhook.custom_headers),
        body=b"[%b]" % b",".join(elements),
        event_count=len(elements),
    )


_sender: Final = msgspec.json.Decoder(_Sender)
