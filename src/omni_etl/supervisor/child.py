"""Inside a child: take an envelope, apply the service, answer. Ends when the parent hangs up."""

from __future__ import annotations

import asyncio
import os
import random
import select
import threading
from typing import Final

from omni_etl import telemetry
from omni_etl.backoff import Backoff
from omni_etl.clock import Clock
from omni_etl.envelope import open_header, open_payload
from omni_etl.errors import (
    EnvelopeError,
    IdConflictError,
    LeaseLapsedError,
    NewerEnvelopeError,
    OmniError,
    SettingsError,
    UnavailableError,
)
from omni_etl.service import Deadline, Service
from omni_etl.supervisor.channel import Channel, Forget, Outcome, Ping, Pong, Ready, Result, Stop, Unfit, Work
from omni_etl.supervisor.erased import Erased

ORPHAN_SECONDS_MAX: Final = 1.5  # after EOF: everything a dead parent started ends within two seconds
REASON_CHARACTERS_MAX: Final = 500


class Child:
    """One service in its own process. Applies several envelopes at the same time; the parent bounds how many."""

    def __init__(self, *, service: Service, channel: Channel, clock: Clock, rng: random.Random) -> None:
        self._service = service
        self._channel = channel
        self._clock = clock
        self._rng = rng
        self._backoff = Backoff(first_seconds=0.2, wait_seconds_max=5.0)
        self._erased = Erased()
        self._opened = asyncio.Event()
        self._why_closed = "its engine was not reached yet"
        self._log = telemetry.get_logger(service=service.name)

    async def serve(self) -> None:
        """Work until the parent says stop or hangs up."""
        await self._channel.send(Ready(tuple(sorted(self._service.types))))
        applying: set[asyncio.Task[None]] = set()
        beside = [asyncio.create_task(self._open()), asyncio.create_task(self._run_beside())]
        while (message := await self._channel.receive()) is not None and not isinstance(message, Stop):
            if isinstance(message, Work):
                task = asyncio.create_task(self._answer(message))
                applying.add(task)
                task.add_done_callback(applying.discard)
            elif isinstance(message, Forget):
                self._erased.hear(message)
            elif isinstance(message, Ping):
                await self._channel.send(Pong())
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, *applying, return_exceptions=True)
        await self._service.close()
        self._channel.close()

    async def _answer(self, work: Work) -> None:
        await self._channel.send(await self._apply(work))

    async def _apply(self, work: Work) -> Result:
        """One application, as a value: the parent decides what becomes of the lease."""
        if not self._opened.is_set():
            return Result(work.work_id, "unavailable", self._why_closed)
        try:
            envelope = open_payload(open_header(work.header), work.payload)
            envelope, erased = self._erased.sift(envelope, self._service.types)
            await self._service.apply(envelope, Deadline(self._clock, work.deadline))
        except OmniError as error:
            return Result(work.work_id, _outcome(error), str(error)[:REASON_CHARACTERS_MAX])
        except Exception as error:  # noqa: BLE001 the process meets its loop: logged whole, and the envelope is tried again
            self._log.exception("service_failed")
            return Result(work.work_id, "poison", f"{type(error).__name__}: {error}"[:REASON_CHARACTERS_MAX])
        return Result(work.work_id, "done", erased=erased)

    async def _open(self) -> None:
        """Reach the engine, however long it takes; a setting that waiting cannot heal goes to the parent."""
        tries = 0
        while True:
            try:
                await self._service.open()
            except UnavailableError as error:
                tries += 1
                self._why_closed = str(error)[:REASON_CHARACTERS_MAX]
                if tries == 1:
                    self._log.warning("service_waiting", reason=self._why_closed)
                await self._clock.sleep(self._backoff.wait_seconds(tries, self._rng))
            except SettingsError as error:
                await self._channel.send(Unfit(error.setting, error.found, error.fix))
                return
            except Exception as error:  # noqa: BLE001 the process meets its loop: logged whole, and opened again
                tries += 1
                self._why_closed = f"{type(error).__name__}: {error}"[:REASON_CHARACTERS_MAX]
                self._log.exception("service_failed")
                await self._clock.sleep(self._backoff.wait_seconds(tries, self._rng))
            else:
                self._opened.set()
                self._log.info("service_started", pid=os.getpid())
                return

    async def _run_beside(self) -> None:
        """The service's own loop, begun again after an error of ours."""
        await self._opened.wait()
        tries = 0
        while True:
            try:
                await self._service.run()
            except Exception:  # noqa: BLE001 the process meets its loop: logged whole, and the loop begins again
                tries += 1
                self._log.exception("service_failed")
                await self._clock.sleep(self._backoff.wait_seconds(tries, self._rng))
            else:
                return


def end_with_parent(descriptor: int) -> None:
    """Watch the parent's end of the pipe from a thread: once it hangs up, this process ends in time, whatever hangs."""
    # A copy, because the loop closes its own; the kernel tells of the hang-up without a byte being read.
    threading.Thread(target=_watch, args=(os.dup(descriptor),), name="parent", daemon=True).start()


def _watch(descriptor: int) -> None:
    hangup = select.poll()
    hangup.register(descriptor, 0)  # POLLHUP comes unasked
    hangup.poll()
    threading.Event().wait(ORPHAN_SECONDS_MAX)
    os._exit(1)


def _outcome(error: OmniError) -> Outcome:
    """What an error of ours means for the lease, most special first."""
    meanings: tuple[tuple[type[OmniError], Outcome], ...] = (
        (UnavailableError, "unavailable"),
        (LeaseLapsedError, "lapsed"),
        (IdConflictError, "conflict"),
        (NewerEnvelopeError, "unavailable"),  # newer than this child: it waits for the upgrade
        (EnvelopeError, "unreadable"),
    )
    return next((outcome for kind, outcome in meanings if isinstance(error, kind)), "poison")
