"""Verdicts: what an error of ClickHouse means for the envelope whose call met it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
from clickhouse_connect.driver.exceptions import ClickHouseError

from omni_etl.errors import LeaseLapsedError, OmniError, PoisonError, SettingsError, UnavailableError

SETTING: Final = "OMNI_STORE_URL"
REASON_CHARACTERS_MAX: Final = 500

# ClickHouse/src/Common/ErrorCodes.cpp. What stands in neither set may heal by itself or by someone's hand: we wait.
REJECTED_CODES: Final = frozenset({192, 193, 194, 497, 516})  # no such user, wrong password, no right to do it
UNKNOWN_SETTING: Final = 115
STANDS_ALREADY: Final = 389  # as the store host answers `omni_absent`
VIOLATED_CONSTRAINT: Final = 469  # `in_time`, the only one that our tables have
DATA_CODES: Final = frozenset(
    {6, 26, 27, 33, 38, 41, 43, 53, 69, 70, 72, 117, 128, 130, 131, 321, 349, 407, 467}
)  # cannot parse, convert or hold these rows; the same rows fail for ever


class StandsAlreadyError(OmniError):
    """At least one of the envelopes of an insert has its marker."""


@asynccontextmanager
async def judged(timeout_seconds: float, *, opening: bool = False, inserting: bool = False) -> AsyncIterator[None]:
    """Limit the time of a call, and say what becomes of an envelope whose call failed."""
    try:
        async with asyncio.timeout(timeout_seconds):
            yield
    except TimeoutError:
        raise UnavailableError(f"the store did not answer within {timeout_seconds:g} s") from None
    except ClickHouseError as error:
        raise _verdict(error, opening=opening, inserting=inserting) from error
    except (aiohttp.ClientError, OSError) as error:
        raise UnavailableError(f"the store is away: {error}") from error


def _verdict(error: ClickHouseError, *, opening: bool, inserting: bool) -> OmniError:
    code = getattr(error, "code", None)
    reason = str(error)[:REASON_CHARACTERS_MAX]
    if code in REJECTED_CODES and opening:
        return SettingsError(SETTING, f"a store that rejects us ({reason})", "Correct user, password and rights.")
    if code == STANDS_ALREADY and inserting:
        return StandsAlreadyError(reason)
    if code == VIOLATED_CONSTRAINT and inserting:
        return LeaseLapsedError(f"the store refuses an insert after its lease: {reason}")
    if code in DATA_CODES and inserting:
        return PoisonError(f"the store refuses these rows: {reason}")
    return UnavailableError(f"the store is away: {reason}" if code is None else f"the store failed: {reason}")
