"""Spans: which numbers there must be, by what the headers say; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from omni_etl.audit import HEARD_SECONDS, HoseSaid, LaneSaid, Span, Window
from omni_etl.envelope import LANES, Lane


def spans_of(hoses: Iterable[HoseSaid], window: Window, *, empty: Collection[Lane]) -> list[Span]:
    """Of every hose and lane in which something was cut. `empty`: the lanes that were seen with nothing in them."""
    return [
        Span(hose.hose_id, lane, said.before + 1, _settled(hose, said, window, is_empty=lane in empty), said.high)
        for hose in hoses
        for lane, said in _lanes(hose)
        if said.high > said.before
    ]


def _lanes(hose: HoseSaid) -> Iterator[tuple[Lane, LaneSaid]]:
    return ((lane, hose.lanes[lane]) for lane in LANES)


def _settled(hose: HoseSaid, said: LaneSaid, window: Window, *, is_empty: bool) -> int:
    """Up to which number nothing can be under way any more.

    What is not in an empty lane may still be with its hose, unless that goes on sending, or has said its last word.
    """
    is_heard = said.closed or hose.newest_ms >= window.now_ms - HEARD_SECONDS * 1000
    number = said.quiet if is_empty and is_heard else said.settled
    return max(said.before, number)
