"""Opening: read the header of what was received. What does not open waits, or goes where a person finds it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from omni_etl import telemetry
from omni_etl.clock import Clock
from omni_etl.envelope import Header, SealedEnvelope, open_header
from omni_etl.errors import EnvelopeError, NewerEnvelopeError, UnavailableError
from omni_etl.queue import Lease
from omni_etl.supervisor.aside import set_unreadable_aside
from omni_etl.supervisor.circuit import DeadShare
from omni_etl.supervisor.engines import Engines

NEWER_SECONDS: Final = 300  # until one of a newer version is looked at again: SQS's 1,000 receives are three days
TOO_MANY_SECONDS: Final = 60  # until one too many that does not open is looked at again
SEALED_BYTES_MAX: Final = 8 * 1024 * 1024  # no queue of ours takes so much; half of what fits the pipe to a child


class Opening:
    """Opens headers for all receivers of a parent; says each trouble once, not once an envelope."""

    def __init__(self, *, engines: Engines, clock: Clock, dead_share: DeadShare) -> None:
        self._engines = engines
        self._clock = clock
        self._dead_share = dead_share
        self._newer_said = False
        self._too_many_said = False
        self._log = telemetry.get_logger()

    async def open(self, leases: Sequence[Lease]) -> list[tuple[Lease, Header]]:
        """Those that open; the others' leases are ended here."""
        opened: list[tuple[Lease, Header]] = []
        for lease in leases:
            try:
                opened.append((lease, _opened(lease.envelope)))
            except NewerEnvelopeError as error:
                await self._leave_newer(lease, str(error))
            except EnvelopeError as error:
                await self._set_aside(lease, str(error))
            else:
                self._dead_share.done(self._clock.monotonic())
        return opened

    async def _leave_newer(self, lease: Lease, reason: str) -> None:
        """Nothing is wrong with it: a parent that was upgraded takes it, perhaps this one after its restart."""
        telemetry.supervisor_newer.inc()
        if not self._newer_said:
            self._newer_said = True
            self._log.error("envelope_newer", queue=lease.queue_name, reason=reason)
        await self._engines.give_back([lease], delay_seconds=NEWER_SECONDS)

    async def _set_aside(self, lease: Lease, reason: str) -> None:
        """A few are damage; many are a broken deploy, here or at the hoses, and must not end in the bin."""
        if not self._dead_share.may_bury(self._clock.monotonic()):
            if not self._too_many_said:
                self._too_many_said = True
                self._log.critical("envelopes_unreadable", queue=lease.queue_name, reason=reason)
            await self._engines.give_back([lease], delay_seconds=TOO_MANY_SECONDS)
            return
        self._too_many_said = False
        try:
            await set_unreadable_aside(self._engines.queue, self._engines.registry, lease, reason)
        except UnavailableError:
            return  # it lapses and comes again


def _opened(sealed: SealedEnvelope) -> Header:
    size_bytes = len(sealed.header) + len(sealed.payload)
    if size_bytes > SEALED_BYTES_MAX:
        raise EnvelopeError(f"{size_bytes} bytes in one entry; {SEALED_BYTES_MAX} are allowed")
    return open_header(sealed.header)
