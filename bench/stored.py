"""Stored: a system whose tables hold ten days of events and thirty days of metrics, copied within the engine.

A part of it comes the real way, through the hose. The rest are copies of those rows, each set a day older, with message ids,
recipients and envelopes of its own: what an index and a roll-up see is as various as if all had come that way.
"""

from __future__ import annotations

import asyncio
from typing import Final

import urllib3

from bench.corpus import Corpus
from bench.processes import Helper
from bench.row import CountsError
from bench.settled import settled
from bench.system import Running

COPIES: Final = 9  # of the events; with the first ones ten days of them
METRICS_COPIES: Final = 29
OK: Final = 200

# The markers stay behind: copies are no envelopes, and nothing will ask the ledger for them.
EVENTS: Final = """
INSERT INTO message_events
SELECT * REPLACE (
    now() + toIntervalHour(1) AS insert_until,
    cut_day - {n} AS cut_day,
    concat(envelope_key, '-{n}') AS envelope_key,
    timestamp - toIntervalDay({n}) AS timestamp,
    if(message_id = '', '', concat('{n}', substring(message_id, 2))) AS message_id,
    concat('{n}.', rcpt_to) AS rcpt_to,
    replaceOne(replaceOne(raw, concat('"', message_id, '"'), concat('"{n}', substring(message_id, 2), '"')),
        concat('"', rcpt_to, '"'), concat('"{n}.', rcpt_to, '"')) AS raw
)
FROM (SELECT * FROM message_events WHERE marker_key = '' AND cut_day >= '{day}')
SETTINGS max_insert_threads = 1, max_threads = 2
"""
METRICS: Final = """
INSERT INTO metrics ({columns})
SELECT * REPLACE (
    now() + toIntervalHour(1) AS insert_until,
    cut_day - {n} AS cut_day,
    minute - toIntervalDay({n}) AS minute
)
FROM (SELECT * FROM metrics WHERE marker_key = '' AND cut_day >= '{day}')
SETTINGS max_insert_threads = 1, max_threads = 2
"""


async def fill(system: Running, load: Corpus) -> int:
    """Send the load, wait until it landed, and copy it. Events that are stored then."""
    sender = await Helper.start("bench.sender", system.places.hose_url, load.directory)
    try:
        await sender.line()
        sender.go()
        await sender.line()
    finally:
        await sender.stop()
    await settled(system, load)
    [[day]] = await system.store.query("SELECT toString(min(cut_day)) FROM message_events")
    for number in range(1, COPIES + 1):
        await asyncio.to_thread(_run, system, EVENTS.replace("{n}", str(number)).replace("{day}", day))
    columns = ", ".join(str(name) for (name,) in await system.store.query(_COLUMNS))
    for number in range(1, METRICS_COPIES + 1):
        await asyncio.to_thread(
            _run, system, METRICS.replace("{columns}", columns).replace("{n}", str(number)).replace("{day}", day)
        )
    [[stored]] = await system.store.query("SELECT count() FROM message_events WHERE marker_key = ''")
    if int(stored) != load.events * (COPIES + 1):
        raise CountsError(f"{stored} events are stored after copying, not {load.events * (COPIES + 1)}")
    return int(stored)


_COLUMNS: Final = """
SELECT name FROM system.columns
WHERE database = currentDatabase() AND table = 'metrics' AND default_kind NOT IN ('EPHEMERAL', 'ALIAS', 'MATERIALIZED')
"""


def _run(system: Running, statement: str) -> None:
    place = urllib3.util.parse_url(system.settings.store_url.get_secret_value())
    answer = urllib3.request(
        "POST",
        f"http://{place.host}:{place.port}/",
        body=statement,
        headers=urllib3.make_headers(basic_auth=place.auth),
        retries=False,
        timeout=300,
    )
    if answer.status != OK:
        raise CountsError(f"the store answered {answer.status}: {answer.data.decode()[:500]}")
