"""The judge: after a run, whether everything that was accepted is everywhere, once; asked of the engines and the customer."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from tests.chaos.expected import Expected, Key, digest
from tests.chaos.receiver import Receipt
from tests.chaos.world import World

NAMED_MAX: Final = 5
OURS: Final = re.compile(rb'"event": "(service_failed|run_failed|id_conflict|hose_spool_damaged)"')
LINE_DIGEST: Final = "reinterpretAsUInt64(substring(MD5(raw), 1, 8))"
ROLLUPS: Final[dict[str, Sequence[str]]] = {
    "type": ("toUnixTimestamp(minute)", "subaccount_id", "measure"),
    "hour": ("toUnixTimestamp(minute)", "subaccount_id", "measure"),
    "domain": ("measure", "domain", "mailbox_provider", "mailbox_provider_region"),
    "campaign": ("measure", "campaign_id", "template_id"),
    "sender": ("measure", "sending_domain", "ip_pool", "sending_ip"),
    "reason": ("measure", "domain", "bounce_class", "reason"),
    "link": ("measure", "link_name"),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One comparison: what was wanted, what was found."""

    what: str
    wanted: int
    found: int

    @property
    def ok(self) -> bool:
        """They are the same."""
        return self.wanted == self.found


@dataclass(slots=True)
class Verdict:
    """How a run ended."""

    lost: int = 0
    doubled: int = 0
    lines: list[Line] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    webhook_batches: int = 0
    webhook_repeats: int = 0  # whole batches that the customer had already
    webhook_refused: int = 0  # requests it did not keep
    dead_letters: int = 0  # put back by hand before the end, each with its reason

    @property
    def ok(self) -> bool:
        """Nothing differs anywhere."""
        return not (self.lost or self.doubled or self.wrong) and all(each.ok for each in self.lines)


def judge(world: World, expected: Expected, accepted: int, *, with_audit: bool = True) -> Verdict:
    """Ask everybody; `omni audit` last, which is another judge."""
    verdict = Verdict()
    verdict.lines.append(Line("accepted by the hose, of what was sent", len(expected.lines), accepted))
    _rows(world, expected, verdict)
    _metrics(world, expected, verdict)
    _suppressions(world, expected, verdict)
    _webhooks(world, expected, verdict)
    _owed(world, verdict)
    if with_audit:
        _audit(world, verdict)
    said = sum(len(OURS.findall(path.read_bytes())) for path in (world.home / "logs").iterdir())
    verdict.lines.append(Line("errors of our own in the logs", 0, said))
    return verdict


def _rows(world: World, expected: Expected, verdict: Verdict) -> None:
    """Every line byte for byte, and no place in an envelope twice."""
    stored = np.array(
        [int(text) for (text,) in world.system.rows(f"SELECT {LINE_DIGEST} FROM message_events WHERE marker_key = ''")],
        np.uint64,
    )
    _multiset("rows in message_events, byte for byte", expected.lines, stored, verdict)
    [[places]] = world.system.rows(
        "SELECT uniqExact(envelope_key, line_number) FROM message_events WHERE marker_key = ''"
    )
    verdict.lines.append(Line("places (hose, lane, number, line) taken by one row", len(stored), int(places)))


def _multiset(what: str, wanted: Any, found: Any, verdict: Verdict) -> None:
    wanted_each, wanted_counts = np.unique(np.array(wanted, np.uint64), return_counts=True)
    found_each, found_counts = np.unique(np.array(found, np.uint64), return_counts=True)
    lost = int(np.setdiff1d(wanted_each, found_each, assume_unique=True).size)
    strangers = int(np.setdiff1d(found_each, wanted_each, assume_unique=True).size)
    doubled = int((found_counts - 1).sum())
    assert (wanted_counts == 1).all(), "the producers sent an event twice"
    verdict.lost += lost
    verdict.doubled += doubled
    verdict.lines.append(Line(what, len(wanted), len(found)))
    if strangers:
        verdict.wrong.append(f"{what}: {strangers} that nobody sent")


def _metrics(world: World, expected: Expected, verdict: Verdict) -> None:
    """Every roll-up, key by key."""
    sums = {name: getattr(expected, name) for name in ("rollups", "delivery_ms", "message_bytes")}
    for family, columns in ROLLUPS.items():
        found = _found(world, family, columns)
        for place, (name, counted) in enumerate(sums.items()):
            wanted = Counter({key: count for key, count in counted.items() if key[0] == family})
            there = Counter({key: each[place] for key, each in found.items() if each[place]})
            if wanted != there:
                odd = [key for key in wanted | there if wanted[key] != there[key]]
                said = [f"{key}: {there[key]} of {wanted[key]}" for key in odd[:NAMED_MAX]]
                verdict.wrong.append(f"metrics by {family}, {name}: {len(odd)} keys differ, {said}")
            if name == "rollups":
                verdict.lines.append(Line(f"metrics by {family}, events", wanted.total(), there.total()))


def _found(world: World, family: str, columns: Sequence[str]) -> dict[Key, tuple[int, int, int]]:
    asked = ", ".join(columns)
    rows = world.store_rows(
        f"SELECT {asked}, sum(events), sum(delivery_ms), sum(message_bytes) FROM metrics "
        f"WHERE marker_key = '' AND family = '{family}' GROUP BY {asked}",
    )
    return {(family, *row[:-3]): (row[-3], row[-2], row[-1]) for row in rows}


def _suppressions(world: World, expected: Expected, verdict: Verdict) -> None:
    """Each entry, with the event that won."""
    path = world.home / "database" / "control.sqlite"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        rows = connection.execute(
            "SELECT recipient, subaccount_id, type, said_at_ms, said_id FROM suppressions WHERE suppressed"
        ).fetchall()
    found = {(recipient, account, kind): (at, by) for recipient, account, kind, at, by in rows}
    verdict.lines.append(Line("entries of the suppression list", len(expected.suppressed), len(found)))
    odd = [key for key in found.keys() | expected.suppressed.keys() if found.get(key) != expected.suppressed.get(key)]
    if odd:
        verdict.wrong.append(f"suppressions: {len(odd)} differ from the fold over what was sent")


def _webhooks(world: World, expected: Expected, verdict: Verdict) -> None:
    """At least once each, and under one batch id; an id always with the same bytes."""
    digests: dict[str, str] = {}
    taken: dict[str, list[str]] = {}
    changed = 0
    for receipt in receipts(world.receipts):
        changed += digests.setdefault(receipt.batch, receipt.digest) != receipt.digest
        if not receipt.taken:
            verdict.webhook_refused += 1
        elif receipt.batch in taken:
            verdict.webhook_repeats += 1
        else:
            taken[receipt.batch] = receipt.events
    verdict.webhook_batches = len(taken)
    received = [digest(each.encode()) for events in taken.values() for each in events]
    _multiset("webhook events received, each batch id counted once", expected.ids, received, verdict)
    verdict.lines.append(Line("batch ids that came with two contents", 0, changed))


def receipts(path: Path) -> Iterator[Receipt]:
    """What the customer wrote down; a line that a killed one left open counts for nothing, as it was never answered."""
    for line in path.read_bytes().splitlines():
        if line:
            try:
                yield _receipt.decode(line)
            except msgspec.DecodeError:
                continue


def _owed(world: World, verdict: Verdict) -> None:
    """Queues, sidings, leases and the outbox."""
    owed = owed_now(world.system.status())
    verdict.lines += [Line(what, 0, count) for what, count in owed.items()]


def owed_now(status: dict[str, Any]) -> dict[str, int]:
    """What is still somewhere on its way."""
    queues, fleet = status["queues"], status["fleet"]
    lanes = {name: each for name, each in queues.items() if isinstance(each, dict)}
    sidings = {name: each for name, each in lanes.items() if "siding" in name}
    return {
        "messages ready in lanes": sum(each["ready"] for name, each in lanes.items() if name not in sidings),
        "messages ready in sidings": sum(each["ready"] for each in sidings.values()),
        "leases that somebody holds": sum(each["leased"] for each in lanes.values()),
        "webhook batches that wait": status["outbox"]["waiting_batches"],
        "webhook batches given up": status["outbox"]["given_up_batches"],
        "webhook events dropped": status["outbox"]["dropped_events"],
        "dead letters": len(fleet["dead_letters"]),
    }


def _audit(world: World, verdict: Verdict) -> None:
    """What the product says of itself."""
    code, said = world.command("audit", "--json", "--late-seconds", "0")
    try:
        report = json.loads(said)
    except ValueError:
        verdict.wrong.append(f"omni audit ended with {code}: {said[-500:]}")
        return
    verdict.lines.append(Line("`omni audit`: envelopes missing", 0, report["missing_envelopes"]))
    verdict.lines.append(Line("`omni audit`: events doubled", 0, report["doubled_events"]))
    if report["findings"] or report["not_audited"] or code:
        verdict.wrong.append(f"omni audit ended with {code}, and found {report['findings'][:NAMED_MAX]}")


_receipt: Final = msgspec.json.Decoder(Receipt)
