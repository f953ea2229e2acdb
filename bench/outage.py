"""Ten minutes without the queue, at full rate: posts go on until the spool is full and 503s are answered; then it comes back.

`python -m bench.outage --seconds 20 [--json]`. What is watched is the hose's memory; everything accepted must arrive.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Final

from bench.corpus import Corpus, corpus
from bench.hose_alone import CLOCK, hose_alone, sender, sent
from bench.processes import Costs
from bench.row import CountsError, Row
from bench.show import alone, row_of
from omni_etl.demo.usage import usage
from omni_etl.settings import MIB

EVENTS: Final = 300_000  # sent again and again, each time in new requests
SECONDS: Final = 600.0
SPOOL_BYTES_PER_SECOND: Final = 2048 * MIB / SECONDS  # full well before the end, also on a slow machine
SPOOL_BYTES_MIN: Final = 64 * MIB
DISK_SHARE_MAX: Final = 0.2  # of what is free; the queue takes as much again
HOSE: Final = "hose"
RESIDENT: Final = "hose_rss_mib_max"


async def run(load: Corpus, *, seconds: float = SECONDS) -> Row:
    """One outage of so many seconds.

    Raises:
        CountsError: something accepted did not arrive, the spool was never full, or the disk is too small.

    """
    with tempfile.TemporaryDirectory(prefix="omni-bench-", ignore_cleanup_errors=True) as directory:
        spool_bytes = _spool_bytes(directory, seconds)
        async with hose_alone(Path(directory), spool_bytes_max=spool_bytes) as hose:
            place = hose.queue_path.parent
            away = place.with_name("away")
            before = usage(hose.pid)
            async with sender(hose.url, load.directory, "--seconds", str(seconds)) as helper:
                costs = Costs({HOSE: hose.pid})
                place.rename(away)  # whoever has the file open is told that it is not the queue any more
                helper.go()
                told = await sent(helper)
                away.rename(place)
                back_at = CLOCK.monotonic()
                await hose.until_queue_has(told.accepted)
                arrived_seconds = CLOCK.monotonic() - back_at
                usages = costs.so_far()
    if not told.answers_full:
        raise CountsError(f"the spool of {spool_bytes // MIB} MiB was never full: make the outage longer")
    return row_of(
        name=f"queue away for {seconds:g} s",
        events=told.accepted,
        seconds=told.seconds,
        usages={**usages, "sender": told.usage},
        notes=f"{before.resident_mib if before else 0:.0f} MiB resident before; spool of {spool_bytes // MIB} MiB; "
        f"{told.answers_full} answers of 503; all arrived {arrived_seconds:.0f} s after the queue came back",
        figures={RESIDENT: usages[HOSE].resident_mib_max},
    )


def _spool_bytes(directory: str, seconds: float) -> int:
    allowed = int(shutil.disk_usage(directory).free * DISK_SHARE_MAX)
    if allowed < SPOOL_BYTES_MIN:
        raise CountsError(f"the disk under {directory} has no room for a spool of {SPOOL_BYTES_MIN // MIB} MiB")
    return min(allowed, max(SPOOL_BYTES_MIN, int(SPOOL_BYTES_PER_SECOND * seconds)))


def main() -> None:
    """One run, shown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of the table")
    wish = parser.parse_args()
    alone(lambda: run(corpus(EVENTS), seconds=wish.seconds), as_json=wish.json)


if __name__ == "__main__":
    main()
