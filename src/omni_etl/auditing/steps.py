"""The steps of an audit: ask queues, then the database what it knows, then ledgers, and add up.

In this order an envelope that moves while we look is seen at least once: from its lane into a siding, dead letters or a ledger.
What a service lacks is late while it is young, perhaps sided while its siding holds anything, and then missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from omni_etl.audit import (
    DAY_MS,
    LATE_SECONDS,
    QUIET_SECONDS,
    Account,
    DatabaseLedgers,
    HoseAccount,
    HoseSaid,
    LaneAccount,
    Ledger,
    Report,
    Span,
    StoreLedgers,
    Tally,
    Window,
)
from omni_etl.auditing.accounts import Absent, buried_in, named
from omni_etl.auditing.findings import Findings
from omni_etl.auditing.sayings import SERVICE as SUPPRESSIONS
from omni_etl.auditing.sayings import SayingLedger
from omni_etl.auditing.spans import spans_of
from omni_etl.clock import Clock
from omni_etl.dead_letters import Burial, DeadLetters
from omni_etl.envelope import LANES, Lane
from omni_etl.queue import UNREADABLE, Depth, Queue, dead_letters, siding
from omni_etl.registry import RegisteredService, Registry
from omni_etl.store import LEDGER_DAYS

GAPS_MAX: Final = 1_000  # of one service, hose and lane, that are named
LOST_MAX: Final = 10_000  # numbers of one gap that are looked for in the others
NOBODY: Final = UNREADABLE.removeprefix(dead_letters(""))
HEADERS: Final = "message_events"  # whose rows say which envelopes suppress


@dataclass(frozen=True, slots=True)
class AuditParts:
    """What is asked, each opened and closed by whoever has it."""

    queue: Queue
    registry: Registry
    dead_letters: DeadLetters
    store: StoreLedgers
    database: DatabaseLedgers
    kept_days: Mapping[str, int]  # of ledgers that keep less than others


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was read before any ledger."""

    window: Window
    services: Sequence[RegisteredService]
    empty: frozenset[Lane]
    sided: frozenset[str]  # services whose siding holds something
    burials: Sequence[Burial]
    oldest_seconds: float | None


@dataclass(slots=True)
class _Accounted:
    """What was found in ledgers, by service and prefix."""

    accounts: dict[str, dict[str, Account]] = field(default_factory=dict)
    tallies: dict[str, Mapping[str, Tally]] = field(default_factory=dict)
    lost: dict[str, dict[str, frozenset[int]]] = field(default_factory=dict)


class Auditing:
    """One audit after another."""

    def __init__(self, parts: AuditParts, *, clock: Clock) -> None:
        self._parts = parts
        self._clock = clock

    async def audit(self, since_ms: int, *, late_seconds: int = LATE_SECONDS) -> Report:
        """Raises `UnavailableError` when an engine is away: what cannot be read is not vouched for."""
        seen = await self._look(self._window(since_ms, late_seconds))
        report = Report(since_ms, seen.window.now_ms, oldest_owed_seconds=seen.oldest_seconds)
        findings, accounted = Findings(report), _Accounted()
        hoses = await self._parts.store.hoses(seen.window)
        # Suppressions last: what the others lack says what it lacks.
        for service in sorted(seen.services, key=lambda each: each.name == SUPPRESSIONS):
            window = self._window_of(service, seen.window)
            said = hoses
            if window != seen.window:
                report.since_ms_of[service.name] = window.since_ms
                said = await self._parts.store.hoses(window)
            spans = spans_of(said, window, empty=seen.empty)
            ledger = self._ledger(service.name, window, accounted)
            if ledger is None:
                report.not_audited.append(service.name)
            else:
                await self._account(service.name, ledger, spans, seen, accounted, findings)
        report.hoses = _hoses(hoses, spans_of(hoses, seen.window, empty=seen.empty), accounted)
        report.services = {name: _sum(accounts.values()) for name, accounts in accounted.accounts.items()}
        repeated = {name for name, account in report.services.items() if account.repeated}
        for wound in await self._parts.store.wounds(seen.window, repeated=repeated):
            findings.wound(wound)
        _compare_accepted(report.hoses, hoses, accounted, findings)
        return report

    def _window(self, since_ms: int, late_seconds: int) -> Window:
        now_ms = int(self._clock.now() * 1000)
        return Window(
            since_ms=since_ms,
            settled_ms=now_ms - late_seconds * 1000,
            quiet_ms=now_ms - min(QUIET_SECONDS, late_seconds) * 1000,
            now_ms=now_ms,
        )

    def _window_of(self, service: RegisteredService, window: Window) -> Window:
        """What was cut before it was registered a service does not owe, and what was cut long ago its ledger may have let go."""
        kept_days = min(self._parts.kept_days.get(service.name, LEDGER_DAYS), LEDGER_DAYS) - 1  # the first day is going
        since_ms = max(window.since_ms, service.registered_at_ms, window.now_ms - kept_days * DAY_MS)
        return replace(window, since_ms=since_ms)

    async def _look(self, window: Window) -> _Seen:
        queue = self._parts.queue
        services = [each for each in await self._parts.registry.services() if not each.retired]
        lanes: dict[Lane, Depth] = {lane: await queue.depth(lane) for lane in LANES}
        sidings = {each.name: await queue.depth(siding(each.name)) for each in services}
        return _Seen(
            window=window,
            services=services,
            empty=frozenset(lane for lane, depth in lanes.items() if not _count(depth)),
            sided=frozenset(name for name, depth in sidings.items() if _count(depth)),
            burials=await self._parts.dead_letters.since(window.since_ms),
            oldest_seconds=_oldest_seconds([*lanes.values(), *sidings.values()]),
        )

    def _ledger(self, service: str, window: Window, accounted: _Accounted) -> Ledger | None:
        if service != SUPPRESSIONS:
            return self._parts.store.ledger(service, window) or self._parts.database.ledger(service)
        if HEADERS not in accounted.tallies:
            return None
        beyond = {prefix: tally.beyond for prefix, tally in accounted.tallies[HEADERS].items()}
        lost = _lost_to_all(accounted.lost)
        return SayingLedger(self._parts.store, self._parts.database, window, beyond=beyond, lost=lost)

    async def _account(
        self,
        service: str,
        ledger: Ledger,
        spans: Sequence[Span],
        seen: _Seen,
        accounted: _Accounted,
        findings: Findings,
    ) -> None:
        tallies = accounted.tallies[service] = await ledger.tallies(spans)
        burials = await self._absent_burials(service, ledger, seen.burials)
        accounts = accounted.accounts[service] = {}
        lost = accounted.lost[service] = {}
        for span in spans:
            absent = Absent(span, tallies.get(span.prefix, Tally()), buried_in(span, burials))
            account = accounts[span.prefix] = absent.account(is_sided=service in seen.sided)
            if account.missing:
                gaps = absent.missing(await ledger.gaps(span, count_max=GAPS_MAX))
                lost[span.prefix] = frozenset(
                    seq for first, last in gaps for seq in range(first, min(last, first + LOST_MAX) + 1)
                )
                findings.missing(service, [named(span, gap) for gap in gaps], account.missing)

    async def _absent_burials(self, service: str, ledger: Ledger, burials: Sequence[Burial]) -> list[Burial]:
        """Dead letters of this service, or of nobody, that its ledger does not hold after all.

        One that was put back long ago and is in no ledger is no explanation.
        """
        mine = [each for each in burials if each.service in (service, NOBODY) and not self._is_long_gone(each)]
        held = await ledger.held([each.key for each in mine])
        return [each for each in mine if each.key not in held]

    def _is_long_gone(self, burial: Burial) -> bool:
        redriven_at_ms = burial.left_at_ms if burial.left_how == "redriven" else None
        return redriven_at_ms is not None and redriven_at_ms < (self._clock.now() - LATE_SECONDS) * 1000


def _count(depth: Depth) -> int:
    return depth.ready + depth.leased


def _oldest_seconds(depths: Sequence[Depth]) -> float | None:
    """None where a queue that holds something does not tell."""
    ages = [each.oldest_age_seconds for each in depths if _count(each)]
    told = [each for each in ages if each is not None]
    return max(told, default=0.0) if len(told) == len(ages) else None


def _lost_to_all(lost: Mapping[str, Mapping[str, frozenset[int]]]) -> dict[str, frozenset[int]]:
    """Numbers, by prefix, that every service lacks."""
    services = list(lost.values())
    if not services:
        return {}
    return {
        prefix: frozenset.intersection(numbers, *(each.get(prefix, frozenset()) for each in services[1:]))
        for prefix, numbers in services[0].items()
    }


def _sum(accounts: Iterable[Account]) -> Account:
    total = Account()
    for each in accounts:
        total.add(each)
    return total


def _hoses(hoses: Sequence[HoseSaid], spans: Sequence[Span], accounted: _Accounted) -> list[HoseAccount]:
    return [
        HoseAccount(
            hose.hose_id,
            hose.accepted - hose.accepted_before,
            hose.newest_ms,
            [
                LaneAccount(span.lane, span.low, span.high, hose.lanes[span.lane].closed, _by_service(span, accounted))
                for span in spans
                if span.hose_id == hose.hose_id
            ],
        )
        for hose in hoses
    ]


def _by_service(span: Span, accounted: _Accounted) -> dict[str, Account]:
    return {name: accounts[span.prefix] for name, accounts in accounted.accounts.items() if span.prefix in accounts}


def _compare_accepted(
    accounts: Sequence[HoseAccount], hoses: Sequence[HoseSaid], accounted: _Accounted, findings: Findings
) -> None:
    """Of hoses whose whole life lies in the window and whose every envelope is in the ledger that knows events."""
    tallies = accounted.tallies.get(HEADERS, {})
    for account, said in zip(accounts, hoses, strict=True):
        if not all(each.closed and not each.before for each in said.lanes.values()):
            continue
        mine = [each.services.get(HEADERS) for each in account.lanes]
        prefixes = [f"{account.hose_id}-{each.lane}-" for each in account.lanes]
        if all(each is not None and each.done == lane.last for each, lane in zip(mine, account.lanes, strict=True)):
            findings.accepted(account, sum(tallies[prefix].events for prefix in prefixes))
