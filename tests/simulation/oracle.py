"""The oracle: what must hold after a run, counted from what the producers heard and what the engines hold, by other code."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import orjson
from tests.simulation.way import Way

from omni_etl.queue import UNREADABLE

SUPPRESSING = {"spam_complaint", "list_unsubscribe"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run ended."""

    events: int
    faults: int
    lost: int
    doubled: int
    wrong: list[str]

    @property
    def ok(self) -> bool:
        """Every promise held."""
        return not (self.lost or self.doubled or self.wrong)


def judge(way: Way) -> Verdict:
    """Every promise, on the whole of what is left."""
    rows = way.store._rows["message_events"]
    stored = Counter(row["subject"] for row in rows)
    accepted = way.producers.accepted
    return Verdict(
        events=len(accepted),
        faults=sum(way.faults.counted.values()),
        lost=len(accepted - stored.keys()),
        doubled=sum(count - 1 for count in stored.values()),
        wrong=[
            *_strangers(way, stored),
            *_metrics(way, rows),
            *_suppressions(way, rows),
            *_webhooks(way, stored),
            *_keys(way),
            *_leases(way),
            *_unreadable(way),
            *way.unexplained,
            *_said(way),
        ],
    )


def _strangers(way: Way, stored: Counter[str]) -> list[str]:
    return [f"stored and never sent: {number}" for number in stored if number not in way.producers.events]


def _metrics(way: Way, rows: list[dict[str, Any]]) -> list[str]:
    """By the minute, subaccount and type; and by the campaign."""
    found: Counter[Any] = Counter()
    campaigns: Counter[Any] = Counter()
    for row in way.store._rows["metrics"]:
        if row["family"] == "type":
            found[row["minute"], row["subaccount_id"], row["measure"]] += row["events"]
        elif row["family"] == "campaign":
            campaigns[row["campaign_id"]] += row["events"]
    events = [orjson.loads(row["raw"]) for row in rows]
    wanted = Counter((int(each["timestamp"]) // 60 * 60, int(each["subaccount_id"]), each["type"]) for each in events)
    wrong = [
        f"metrics say {found[key]} of {key}, events {wanted[key]}"
        for key in wanted | found
        if found[key] != wanted[key]
    ]
    told = Counter(each["campaign_id"] for each in events)
    return wrong + ([f"campaigns {campaigns}, events {told}"] if campaigns != told else [])


def _suppressions(way: Way, rows: list[dict[str, Any]]) -> list[str]:
    """A fold over what is stored: the greatest of (time, id) about each recipient, subaccount and kind."""
    wanted: dict[Any, tuple[int, str]] = {}
    for row in rows:
        event = orjson.loads(row["raw"])
        if event["type"] in SUPPRESSING or event.get("bounce_class") in {"10", "30"}:
            kind = "transactional" if event["transactional"] == "1" else "non_transactional"
            about = (event["rcpt_to"], int(event["subaccount_id"]), kind)
            cut_at_ms = way.queue.sent[row["envelope_key"]].cut_at_ms
            said = (min(int(event["timestamp"]) * 1000, cut_at_ms), event["event_id"])
            wanted[about] = max(said, wanted.get(about, said))
    listed = way.control.raw.execute(
        "SELECT recipient, subaccount_id, type, said_at_ms, said_id FROM suppressions WHERE suppressed"
    )
    found = {(recipient, subaccount, kind): (at, by) for recipient, subaccount, kind, at, by in listed}
    return [
        f"list says {found.get(key)} of {key}, events {wanted.get(key)}"
        for key in wanted.keys() | found.keys()
        if found.get(key) != wanted.get(key)
    ]


def _webhooks(way: Way, stored: Counter[str]) -> list[str]:
    """Every event that a webhook wants reached it, under one id of a batch; an id always with the same bytes."""
    customers = way.customers
    wrong = [f"batch {each} had two contents" for each, bodies in customers.bodies.items() if len(bodies) > 1]
    for webhook in customers.webhooks:
        wanted = {number for number in stored if way.producers.events[number]["type"] in webhook.events}
        told = {number: ids for (name, number), ids in customers.accepted.items() if name == webhook.id}
        wrong += [f"{webhook.id} never got {number}" for number in wanted - told.keys()]
        wrong += [f"{webhook.id} got {number}, which is not for it" for number in told.keys() - wanted]
        wrong += [f"{webhook.id} got {number} in {len(ids)} batches" for number, ids in told.items() if len(ids) > 1]
    return wrong


def _keys(way: Way) -> list[str]:
    """One key, one content, and numbers without gaps."""
    wrong = [f"two contents under {key}" for key, checksums in way.queue.headers.items() if len(checksums) > 1]
    lanes: dict[tuple[str, str], set[int]] = {}
    for header in way.queue.sent.values():
        lanes.setdefault((header.hose_id, header.lane), set()).add(header.seq)
    return wrong + [f"gaps in {lane}: {sorted(seqs)}" for lane, seqs in lanes.items() if len(seqs) != max(seqs)]


def _leases(way: Way) -> list[str]:
    now = way.clock.now()
    leaked = [name for name, shelf in way.queue.kept._shelves.items() if shelf.count_in_flight(now)]
    wrong = [f"leases leaked in {name}" for name in leaked]
    for host in way.parents:
        assert host.parent is not None
        supervisor = host.parent.supervisor
        for name, desk in supervisor.desks.items():
            if desk.in_flight or desk.backlog():
                wrong.append(f"{host.name}'s {name} still holds something: {desk.state()}")
        wrong += [f"{host.name} ended: {each}" for each in host.ended]
    return wrong


def _unreadable(way: Way) -> list[str]:
    """What is no envelope of ours lies where a person finds it, with a reason; and nothing else does."""
    letters = way.queue.kept._shelves[UNREADABLE].messages.values()
    lies = {message.envelope.header for message in letters}
    told = {
        key for (key,) in way.control.raw.execute("SELECT key FROM dead_letter_reasons WHERE service = 'unreadable'")
    }
    strays = {f"stray {number + 1}" for number in range(way.reaper.strays)}
    return [] if lies == strays == told else [f"strays {strays}, unreadable {lies}, with a reason {told}"]


def _said(way: Way) -> list[str]:
    """No error of our own in the logs."""
    ours = {"service_failed", "run_failed", "id_conflict", "hose_spool_damaged"}
    return [str(each) for each in way.logged if each["event"] in ours]
