"""Erased: between opening an envelope and the service, what is about someone who was erased, and older, is left out.

Without an erasure this costs nothing. Else each line's time is read (half a microsecond), and only where one is older than
the newest erasure are recipients read and hashed. The envelope keeps its key, checksum and count of events, so every ledger
says of it what it would have said; what it was done with before stays done. Lines count anew among those that are left, which
does not matter: a number of a line is first told where it is stored, and that happens once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import compress
from typing import Final

import msgspec

from omni_etl.envelope import Envelope, TypeRange
from omni_etl.erasure import name_of
from omni_etl.supervisor.channel import Forget
from omni_etl.suppression_list import address_key


class _Timed(msgspec.Struct, gc=False):
    timestamp: str


class _Addressed(msgspec.Struct, gc=False):
    timestamp: str
    rcpt_to: str | None = None
    raw_rcpt_to: str | None = None


class Erased:
    """Every erasure the parent told of."""

    def __init__(self) -> None:
        self._secret = b""
        self._until_ms: dict[bytes, int] = {}
        self._newest_ms = -1

    def hear(self, told: Forget) -> None:
        """There are more."""
        self._secret = told.secret
        for name, at_ms in told.erasures:
            self._until_ms[name] = max(at_ms, self._until_ms.get(name, at_ms))
            self._newest_ms = max(self._newest_ms, at_ms)

    def sift(self, envelope: Envelope, types: Collection[str]) -> tuple[Envelope, int]:
        """The envelope without what is erased, and how much that was. Only these types are looked at.

        An event happened at its time, or when it was cut where that is earlier: one that is dated in the future is as old as
        what we know of it.
        """
        if self._newest_ms < 0:
            return envelope, 0
        kept = {
            place: flags
            for place, each in enumerate(envelope.header.types)
            if each.type in types and (flags := self._kept(envelope, each)) is not None
        }
        if not kept:
            return envelope, 0
        return _without(envelope, kept), sum(flags.count(0) for flags in kept.values())

    def _kept(self, envelope: Envelope, where: TypeRange) -> bytes | None:
        """A one for each line that stays; None where all do."""
        lines = envelope.raw[where.start : where.start + where.size_bytes]
        cut_at_ms = envelope.header.cut_at_ms
        if cut_at_ms > self._newest_ms and min(_seconds(lines)) * 1000 > self._newest_ms:
            return None
        names: dict[str | None, int] = {None: -1, "": -1}  # of a spelling: until when it is erased
        flags = bytearray(where.count)
        for place, each in enumerate(_addressed.decode_lines(lines)):
            at_ms = min(int(each.timestamp) * 1000, cut_at_ms)
            flags[place] = at_ms > self._newest_ms or at_ms > max(
                self._erased_until_ms(each.rcpt_to, names), self._erased_until_ms(each.raw_rcpt_to, names)
            )
        return None if all(flags) else bytes(flags)

    def _erased_until_ms(self, spelling: str | None, known: dict[str | None, int]) -> int:
        until_ms = known.get(spelling)
        if until_ms is None:
            assert spelling is not None
            until_ms = known[spelling] = self._until_ms.get(name_of(address_key(spelling), self._secret), -1)
        return until_ms


def _seconds(lines: bytes) -> Iterator[int]:
    return (int(each.timestamp) for each in _timed.decode_lines(lines))


def _without(envelope: Envelope, kept: dict[int, bytes]) -> Envelope:
    ranges: list[TypeRange] = []
    parts: list[bytes] = []
    start = 0
    for place, each in enumerate(envelope.header.types):
        lines = envelope.raw[each.start : each.start + each.size_bytes]
        count = each.count
        if place in kept:
            lines = b"".join(compress(lines.splitlines(keepends=True), kept[place]))
            count = sum(kept[place])
        if count:
            ranges.append(TypeRange(each.type, count, start, len(lines)))
            parts.append(lines)
            start += len(lines)
    header = msgspec.structs.replace(envelope.header, types=tuple(ranges), raw_bytes=start)
    return Envelope(header, b"".join(parts))


_timed: Final = msgspec.json.Decoder(_Timed)
_addressed: Final = msgspec.json.Decoder(_Addressed)
