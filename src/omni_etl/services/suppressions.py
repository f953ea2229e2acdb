"""Suppressions: which events say that an address may not be mailed, and what exactly they say.

The table is SparkPost's (support article "Automatic suppression"): bounces of the Hard category, complaints and both
kinds of unsubscribing. An entry goes to the list of the subaccount that sent, and follows the kind of the message.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from omni_etl.envelope import Envelope, select
from omni_etl.event import BOUNCE_TYPES, SUPPRESSING_TYPES, suppresses
from omni_etl.service import Deadline
from omni_etl.suppression_list import Saying, SuppressionList, SuppressionType, address_key

SOURCES: Final = {
    "bounce": "Bounce Rule",
    "out_of_band": "Bounce Rule",
    "spam_complaint": "Spam Complaint",
    "list_unsubscribe": "List Unsubscribe",
    "link_unsubscribe": "Unsubscribe Link",
}
DESCRIPTIONS: Final = {"list_unsubscribe": "Unsubscribed using list unsubscribe header"}  # SparkPost's own words
DESCRIPTION_CHARACTERS_MAX: Final = 1_000
PRIMARY_ACCOUNT: Final = 0


class _Heard(msgspec.Struct, gc=False):
    """The fields that decide, with the types `event.check` allowed."""

    timestamp: str
    event_id: str
    rcpt_to: str | None = None
    raw_rcpt_to: str | None = None
    subaccount_id: str | None = None
    transactional: str | None = None
    bounce_class: str | None = None
    error_code: str | None = None
    raw_reason: str | None = None
    reason: str | None = None


class Suppressions:
    """The service. Most bulk envelopes say nothing; then the list only compares the ledger's checksum."""

    name = "suppressions"
    types = SUPPRESSING_TYPES | BOUNCE_TYPES

    def __init__(self, suppression_list: SuppressionList) -> None:
        self._list = suppression_list

    async def open(self) -> None:
        """Reach the list."""
        await self._list.open()

    async def apply(self, envelope: Envelope, deadline: Deadline) -> None:
        """Bring what the envelope says into the list, once."""
        sayings = list(sayings_of(envelope))
        deadline.check()
        await self._list.apply(envelope, sayings)

    async def run(self) -> None:
        """Nothing of its own."""

    async def close(self) -> None:
        """Give back connections."""
        await self._list.close()


def sayings_of(envelope: Envelope) -> Iterator[Saying]:
    """What the suppressing events of an envelope say; an event without a recipient says nothing."""
    for type_name, lines in select(envelope, Suppressions.types):
        for heard in map(_heard.decode, lines):
            recipient = address_key(heard.rcpt_to or "") or address_key(heard.raw_rcpt_to or "")
            if recipient and suppresses(type_name, heard.bounce_class):
                yield _saying(type_name, heard, recipient, envelope.header.cut_at_ms)


def _saying(type_name: str, heard: _Heard, recipient: str, cut_at_ms: int) -> Saying:
    kind: SuppressionType = "transactional" if heard.transactional == "1" else "non_transactional"
    return Saying(
        subaccount_id=int(heard.subaccount_id or PRIMARY_ACCOUNT),
        recipient=recipient,
        type=kind,
        suppressed=True,
        # Never after the cut: an event dated in the future would otherwise win over every DELETE until then.
        said_at_ms=min(int(heard.timestamp) * 1000, cut_at_ms),
        said_id=heard.event_id,
        source=SOURCES[type_name],
        description=_description(type_name, heard),
    )


def _description(type_name: str, heard: _Heard) -> str:
    """Bounces: `<error_code>: <reply>`, as far as known; cut, because a remote server wrote it."""
    if type_name not in BOUNCE_TYPES:
        return DESCRIPTIONS.get(type_name, "")
    known = (heard.error_code, heard.raw_reason or heard.reason)
    return ": ".join(part for part in known if part)[:DESCRIPTION_CHARACTERS_MAX]


_heard: Final = msgspec.json.Decoder(_Heard)
