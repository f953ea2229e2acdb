"""Erasing: forget one recipient, step by step, so that it can be cut off anywhere and taken up by the same command.

First the erasure is noted: from then on whatever is older is left out as it comes. Then it is waited for every parent, until
nothing is under way that was handed out before that parent heard. Only then what is stored is deleted, because nothing older
can come behind the deletion. What comes about the recipient while that runs may go with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from omni_etl.clock import Clock
from omni_etl.erasure import Erasures, OutboxEraser, Progress, Receipt, Rewritten, StoreEraser, SuppressionEraser
from omni_etl.registry import ERASURES, Registry, RoleReport

HEARD_SECONDS_MIN: Final = 3.0  # a parent that started while the erasure was noted has said a word by then
SILENT_SECONDS_MAX: Final = 30.0  # a parent speaks every two
FOLLOWED_SECONDS: Final = 3.0  # for those who follow the suppression list to hear of the end of its entries
LOOK_SECONDS: Final = 0.5
BATCHES_AT_ONCE: Final = 50
# By which machines' clocks may differ, and a verdict be written later than it was made.
NOTED_LATE_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class ErasingParts:
    """What is erased from, each opened and closed by whoever has it."""

    erasures: Erasures
    registry: Registry
    store: StoreEraser
    outbox: OutboxEraser
    suppressions: SuppressionEraser


@dataclass(frozen=True, slots=True)
class Erased:
    """The receipt, and the parents that were not waited for because they have been silent for long."""

    receipt: Receipt
    silent: tuple[str, ...]


class Erasing:
    """One erasure after another; `progress` hears of each step."""

    def __init__(self, parts: ErasingParts, *, clock: Clock, progress: Progress) -> None:
        self._parts = parts
        self._clock = clock
        self._progress = progress

    async def erase(self, recipient: str, *, with_suppressions: bool) -> Erased:
        """Keep nothing about a recipient (as `address_key` spells it) of what happened until now.

        Raises:
            UnavailableError: an engine is away; what was done stays done, and the same again goes on.

        """
        parts = self._parts
        receipt = await parts.erasures.begin(recipient, with_suppressions=with_suppressions)
        if receipt.with_suppressions:
            withdrawn = await parts.suppressions.withdraw(recipient)
            receipt = await self._noted(replace(receipt, suppressions=receipt.suppressions + withdrawn))
        silent = await self._until_heard()
        receipt = await self._erase_stored(receipt, recipient)
        receipt = await self._rewrite_batches(receipt, recipient)
        if receipt.with_suppressions:
            await self._clock.sleep(FOLLOWED_SECONDS)
            await parts.suppressions.forget(recipient)
        receipt = await self._noted(replace(receipt, finished_at_ms=int(self._clock.now() * 1000)))
        return Erased(receipt, silent)

    async def _until_heard(self) -> tuple[str, ...]:
        """Return when all parents that live work on nothing older than their hearing; the silent ones."""
        known = await self._parts.erasures.known()
        assert known is not None, "one was just begun"
        await self._clock.sleep(HEARD_SECONDS_MIN)
        while True:
            parents = [each for each in await self._parts.registry.reports() if each.role == "run"]
            behind = [each for each in parents if each.state.get(ERASURES, 0) < len(known.erasures)]
            waited_for = [each for each in behind if not self._is_silent(each)]
            self._progress("processes that have heard of it", len(parents) - len(behind), len(parents))
            if not waited_for:
                return tuple(each.instance for each in behind)
            await self._clock.sleep(LOOK_SECONDS)

    def _is_silent(self, parent: RoleReport) -> bool:
        return self._clock.now() - parent.seen_at_ms / 1000 > SILENT_SECONDS_MAX

    async def _erase_stored(self, receipt: Receipt, recipient: str) -> Receipt:
        days = await self._parts.store.days()
        for number, day in enumerate(days):
            self._progress("days of stored events", number, len(days))
            events = await self._parts.store.erase_events(recipient, day)
            receipt = await self._noted(replace(receipt, events=receipt.events + events))
        reasons = await self._parts.store.erase_reasons(recipient)
        return await self._noted(replace(receipt, reasons=receipt.reasons + reasons))

    async def _rewrite_batches(self, receipt: Receipt, recipient: str) -> Receipt:
        """Everything in the outbox, again and again until nothing is found.

        A batch that is split goes on under other ids, which a walk may have passed: so they are looked at by their names.
        """
        await self._parts.outbox.recall_replays()
        since_ms = int(self._clock.now() * 1000) - NOTED_LATE_MS
        found = await self._parts.outbox.rewrite_segments(recipient)
        receipt = await self._noted(_with(receipt, found)) if found.events else receipt
        while True:
            before, claimed = receipt, list[str]()
            receipt = await self._walk(receipt, recipient, claimed)
            receipt = await self._rewrite_halves(receipt, recipient, claimed, since_ms=since_ms)
            if receipt == before and not claimed:
                return receipt
            while claimed:
                self._progress("attempts that have not ended", 0, len(claimed))
                await self._clock.sleep(LOOK_SECONDS)
                ids, claimed = claimed, []
                receipt = await self._rewrite(receipt, ids, recipient, claimed)

    async def _rewrite_halves(self, receipt: Receipt, recipient: str, claimed: list[str], *, since_ms: int) -> Receipt:
        """Until no batch was split that was not looked at: what is split after that was looked at before."""
        seen: set[str] = set()
        while new := [each for each in await self._parts.outbox.halves_since(since_ms) if each not in seen]:
            seen.update(new)
            for start in range(0, len(new), BATCHES_AT_ONCE):
                receipt = await self._rewrite(receipt, new[start : start + BATCHES_AT_ONCE], recipient, claimed)
        return receipt

    async def _walk(self, receipt: Receipt, recipient: str, claimed: list[str]) -> Receipt:
        """Every batch; `claimed` hears of those that are being tried."""
        looked_at, after = 0, ""
        while ids := await self._parts.outbox.batch_ids(after, count_max=BATCHES_AT_ONCE):
            receipt = await self._rewrite(receipt, ids, recipient, claimed)
            looked_at, after = looked_at + len(ids), ids[-1]
            self._progress("batches that wait for customers", looked_at, 0)
        return receipt

    async def _rewrite(self, receipt: Receipt, ids: Sequence[str], recipient: str, claimed: list[str]) -> Receipt:
        found = await self._parts.outbox.rewrite(ids, recipient)
        claimed += found.claimed
        return await self._noted(_with(receipt, found)) if found.events else receipt

    async def _noted(self, receipt: Receipt) -> Receipt:
        await self._parts.erasures.note(receipt)
        return receipt


def _with(receipt: Receipt, found: Rewritten) -> Receipt:
    return replace(
        receipt,
        batches_rewritten=receipt.batches_rewritten + found.rewritten,
        batches_dropped=receipt.batches_dropped + found.dropped,
        batch_events=receipt.batch_events + found.events,
    )
