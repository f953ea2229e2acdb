"""Suppression list: who may not be mailed; the contract.

An entry is the maximum of everything that was said about (subaccount, recipient, type, list), whatever the order of
arrival: see `Saying.rank`. A DELETE is a saying too and leaves a tombstone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol
from unicodedata import normalize

import idna

from omni_etl.envelope import Envelope

SuppressionType = Literal["transactional", "non_transactional"]
Removal = Literal["removed", "unknown", "compliance"]

TYPES: Final[tuple[SuppressionType, ...]] = ("transactional", "non_transactional")
COMPLIANCE: Final = "Compliance"
MANUAL: Final = "Manually Added"
SOURCES: Final = (COMPLIANCE, MANUAL, "Unsubscribe Link", "Bounce Rule", "List Unsubscribe", "Spam Complaint")
ADDRESS_BYTES_MAX: Final = 320  # 64 + @ + 255 (RFC 5321 4.5.3.1)
_DOMAIN_CHARACTERS_MAX: Final = 255

_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_ADDRESS: Final = re.compile(
    r"""(?:[^\s@"(),:;<>\[\]\\\x00-\x1f\x7f]+|"(?:[^"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])+")@"""
    rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-z.:]+\])"
)


@dataclass(frozen=True, slots=True)
class Saying:
    """One statement about one recipient."""

    subaccount_id: int  # 0 = the primary account
    recipient: str  # as `address_key` spells it
    type: SuppressionType
    suppressed: bool  # False: a deletion
    said_at_ms: int  # the event's time, or the server's for manual entries
    said_id: str  # the event's id; breaks ties
    source: str  # one of SOURCES
    description: str
    list_id: str = ""  # a mailing list of the account's; empty: all its mail

    @property
    def rank(self) -> tuple[bool, int, str]:
        """The greatest stands. What was said for compliance yields to nothing else."""
        return self.source == COMPLIANCE, self.said_at_ms, self.said_id


@dataclass(frozen=True, slots=True)
class Wish:
    """A manual saying, as of now."""

    subaccount_id: int
    recipient: str  # as `address_key` spells it
    type: SuppressionType
    description: str = ""
    list_id: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """What holds now."""

    subaccount_id: int
    recipient: str
    type: SuppressionType
    source: str
    description: str
    created_at_ms: int
    updated_at_ms: int
    list_id: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """Which entries are looked for; what is not said does not matter."""

    subaccount_id: int | None = None
    recipient: str | None = None  # as `address_key` spells it
    types: tuple[SuppressionType, ...] = ()
    sources: tuple[str, ...] = ()
    domain: str | None = None  # as `address_key` spells it
    description: str | None = None
    description_strict: bool = False  # the whole of it; else a part, without regard to the case of ASCII letters
    list_id: str | None = None  # empty: those of no list
    from_ms: int | None = None  # updated then or later
    until_ms: int | None = None  # updated before
    newest_first: bool = True


EVERYTHING: Final = Question()


@dataclass(frozen=True, slots=True)
class Place:
    """How far a walk came: through the entries that did not change since it began, then through those that did."""

    began_at: int  # the number of the last change then
    updated_at_ms: int | None = None  # with the four below, the last entry seen of those that stayed
    recipient: str = ""
    subaccount_id: int = 0
    type: str = ""
    list_id: str = ""
    change: int | None = None  # the last change seen of those that came; the rest is done


@dataclass(frozen=True, slots=True)
class Walked:
    """Some entries of a walk; `place` is where to go on, None at its end."""

    entries: Sequence[Entry]
    place: Place | None


@dataclass(frozen=True, slots=True)
class Change:
    """A saying that won, and stands; `number` grows in the order in which they became true."""

    number: int
    saying: Saying
    created_at_ms: int


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed up to a number; `is_all` where nothing more had changed when it was asked."""

    changes: Sequence[Change]
    up_to: int
    is_all: bool


class SuppressionList(Protocol):
    """Every method raises `UnavailableError` when the database is away."""

    async def open(self) -> None:
        """Connect."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...

    async def apply(self, envelope: Envelope, sayings: Sequence[Saying]) -> bool:
        """Ledger row and entries in one transaction; False where the ledger knew the envelope.

        Raises:
            IdConflictError: known with another checksum.

        """
        ...

    async def say(self, sayings: Sequence[Saying]) -> None:
        """Sayings of any time, in one transaction."""
        ...

    async def put(self, wishes: Sequence[Wish]) -> None:
        """Suppress as of now, in one transaction: later than what stands, be its time in the future. Compliance stays."""
        ...

    async def remove(
        self,
        recipient: str,
        *,
        subaccount_id: int,
        types: Sequence[SuppressionType] = TYPES,
        list_id: str | None = None,
    ) -> Removal:
        """Delete as of now, in one transaction: of one list (empty: of none) or, with None, of all.

        One that is there for compliance keeps all of them.
        """
        ...

    async def withdraw(self, recipient: str) -> int:
        """For an erasure: end every entry of the recipient, also those for compliance, and tell of it; how many."""
        ...

    async def forget(self, recipient: str) -> None:
        """For an erasure: drop the tombstones. Whoever does not follow changes at this moment has to begin anew."""
        ...

    async def check(self, recipient: str, subaccount_id: int | None = None) -> list[Entry]:
        """The entries that hold for this address; of all subaccounts where None."""
        ...

    async def count(self, question: Question = EVERYTHING) -> int:
        """Entries that hold."""
        ...

    async def search(self, question: Question, *, count_max: int, offset: int = 0) -> list[Entry]:
        """By the time of their update; then by recipient, subaccount, type and list."""
        ...

    async def walk(self, question: Question, place: Place | None = None, *, count_max: int) -> Walked:
        """All of them, some at a time, in the same order; changed ones come last.

        What holds from beginning to end of the walk, and answers the question, is seen once, and again only if it changed
        after it was seen. A page that is not the last one is full.
        """
        ...

    async def summary(self, subaccount_id: int | None = None) -> dict[str, int]:
        """How many entries hold, by source; sources without any are left out."""
        ...

    async def changes(self, since: int, *, count_max: int, subaccount_id: int | None = None) -> Changes:
        """What changed after `since`, in order.

        Of several changes of one entry only the last is there, so from 0 on it is a whole copy.
        """
        ...

    async def can_resume(self, since: int) -> bool:
        """Whether everything that changed after `since` is still known, deletions too; always true of 0, the beginning.

        False too of a number that has not come yet: it was another database that told of it.
        """
        ...

    async def last_change(self) -> int:
        """The greatest number so far. Nothing that is committed later has a smaller one."""
        ...


def address_key(address: str) -> str:
    """How an address is spelled in the list: one key for all spellings that reach one mailbox, as far as we can know it.

    Trimmed. The local part in lower case, as SparkPost spells `rcpt_to`, and in Unicode's form C (RFC 6532 3.1); tags,
    dots and quotes stay, because only its server knows what they mean. The domain in lower case, with international
    labels as A-labels (`bücher.example` is `xn--bcher-kva.example`), because that is how mail servers report them.
    A domain that IDNA refuses stays as it is, in lower case: an event is never refused for it.
    """
    text = address.strip()
    if text.isascii():
        return text.lower()
    local, at, domain = text.rpartition("@")
    return f"{_lower(local)}@{_domain_key(domain)}" if at else _lower(text)


def is_address(key: str) -> bool:
    """Whether an `address_key` is one that mail can be sent to: local part and domain, no white space outside quotes."""
    return len(key.encode()) <= ADDRESS_BYTES_MAX and _ADDRESS.fullmatch(key) is not None


def _domain_key(domain: str) -> str:
    if domain.isascii() or len(domain) > _DOMAIN_CHARACTERS_MAX:
        return _lower(domain)
    try:
        labels = idna.uts46_remap(domain, std3_rules=False).split(".")
        known = [each if each.isascii() else idna.alabel(each).decode() for each in labels]
    except idna.IDNAError:
        return _lower(domain)
    return ".".join(known) if all(re.fullmatch(_LABEL, each) for each in known) else _lower(domain)


def _lower(text: str) -> str:
    return normalize("NFC", text.lower())
