"""Queue, tracker and store as this world has them: the ones in memory, behind calls that fail, lie, repeat and come late."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tests.simulation.faults import Faults, LoopClock

from omni_etl.backends.memory import MemoryQueue
from omni_etl.backends.memory_store import MemoryStore
from omni_etl.backends.memory_tracker import MemoryTracker
from omni_etl.envelope import Header, SealedEnvelope, open_header
from omni_etl.errors import OmniError
from omni_etl.queue import Depth, Failures, Lease, check_send
from omni_etl.store import CLOCK_SKEW_SECONDS_MAX, Marker
from omni_etl.tracker import Mark, Progress

ALL_BUT_LATE: Final = ("refused", "answer lost", "never", "slow", "repeated")
ONCE: Final = ("refused", "answer lost", "never", "slow")


class TroubledQueue:
    """At least once, in any order, again before its time; what was sent is noted for whoever counts."""

    def __init__(self, faults: Faults, clock: LoopClock) -> None:
        self.kept = MemoryQueue(clock)
        self.limits = self.kept.limits
        self.headers: dict[str, set[str]] = {}  # key → checksums that were ever sent under it
        self.sent: dict[str, Header] = {}
        self.sends = 0  # of envelopes, repeated ones too
        self._faults = faults
        self._clock = clock

    async def open(self, queue_names: Sequence[str]) -> None:
        """Make sure that these queues exist."""
        await self._faults.call("queue", lambda: self.kept.open(queue_names))

    async def close(self) -> None:
        """What was sent stays."""

    async def send(self, queue_name: str, envelopes: Sequence[SealedEnvelope]) -> Failures:
        """Keep them; each may fail alone, come twice, or come late."""
        envelopes = list(envelopes)
        return await self._faults.call("queue", lambda: self._send(queue_name, envelopes))

    async def receive(self, queue_name: str, *, count_max: int, wait_seconds: float, lease_seconds: int) -> list[Lease]:
        """As the queue's; a lease that nobody heard of lapses by itself."""
        leases = await self._faults.call(
            "queue",
            lambda: self.kept.receive(
                queue_name, count_max=count_max, wait_seconds=wait_seconds, lease_seconds=lease_seconds
            ),
            may=ONCE,
        )
        for lease in leases:
            if self._faults.happens("queue redelivered"):
                await self.kept.extend([lease], lease_seconds=self._faults.rng.randrange(3))
        return leases

    async def extend(self, leases: Sequence[Lease], *, lease_seconds: int) -> Failures:
        """May come so late that it means nothing."""
        return await self._each(leases, lambda those: self.kept.extend(those, lease_seconds=lease_seconds))

    async def release(self, leases: Sequence[Lease], *, delay_seconds: int = 0) -> Failures:
        """Give back."""
        return await self._each(leases, lambda those: self.kept.release(those, delay_seconds=delay_seconds))

    async def delete(self, leases: Sequence[Lease]) -> Failures:
        """Forget; one that was deleted may come once more all the same."""
        failures = await self._each(leases, self.kept.delete)
        for position, lease in enumerate(leases):
            if position not in failures and self._faults.happens("queue deleted came again"):
                await self.kept.send(lease.queue_name, [lease.envelope])
        return failures

    async def depth(self, queue_name: str) -> Depth:
        """How full it is."""
        return await self._faults.call("queue", lambda: self.kept.depth(queue_name))

    def count(self, queue_name: str) -> int:
        """Envelopes there, leased ones too."""
        return len(self.kept._shelves[queue_name].messages)

    async def _send(self, queue_name: str, envelopes: Sequence[SealedEnvelope]) -> Failures:
        failures = check_send(envelopes, self.limits)
        for position, envelope in enumerate(envelopes):
            if position in failures:
                continue
            if self._faults.happens("queue entry refused"):
                failures[position] = "throttled"
                continue
            self._note(envelope)
            for _ in range(2 if self._faults.happens("queue sent twice") else 1):
                await self.kept.send(queue_name, [envelope])
                if self._faults.happens("queue delayed"):
                    shelf = self.kept._shelves[queue_name]
                    message = next(reversed(shelf.messages.values()))
                    shelf.make_ready(message, self._clock.now() + self._faults.rng.random() * 90)
        return failures

    def _note(self, envelope: SealedEnvelope) -> None:
        try:
            header = open_header(envelope.header)
        except OmniError:
            return
        self.sends += 1
        self.headers.setdefault(header.key, set()).add(header.checksum)
        self.sent.setdefault(header.key, header)

    async def _each(self, leases: Sequence[Lease], work: Any) -> Failures:
        failures = {at: "throttled" for at in range(len(leases)) if self._faults.happens("queue entry refused")}
        whole = [lease for at, lease in enumerate(leases) if at not in failures]
        those = [at for at in range(len(leases)) if at not in failures]
        found = await self._faults.call("queue", lambda: work(whole))
        return failures | {those[at]: reason for at, reason in found.items()}


class TroubledTracker:
    """One parent's connection to the tracker that all share."""

    def __init__(self, shared: MemoryTracker, faults: Faults) -> None:
        self._shared = shared
        self._faults = faults

    async def open(self, epoch: str) -> None:
        """See only marks of this epoch."""
        await self._faults.call("tracker", lambda: self._shared.open(epoch))

    async def close(self) -> None:
        """Nothing to give back."""

    async def ask(self, keys: Sequence[str]) -> list[Progress]:
        """What is remembered; perhaps nothing any more."""
        if self._faults.happens("tracker forgot"):
            self._shared.forget()
        return await self._faults.call("tracker", lambda: self._shared.ask(keys))

    async def mark(self, key: str, service: str, mark: Mark, owed: frozenset[str]) -> frozenset[str]:
        """Note one mark."""
        return await self._faults.call("tracker", lambda: self._shared.mark(key, service, mark, owed))

    async def bury(self, keys: Sequence[str]) -> None:
        """Leave tombstones."""
        await self._faults.call("tracker", lambda: self._shared.bury(keys))


class GhostlyStore(MemoryStore):
    """The engine: after a fault it may know a token whose block it never kept; it forgets tokens that nobody may use any more."""

    def __init__(self, faults: Faults, clock: LoopClock, *, lease_seconds: int) -> None:
        super().__init__(clock=clock)
        self._faults = faults
        self._token_seconds = lease_seconds + 2 * CLOCK_SKEW_SECONDS_MAX
        self._inserted_at: dict[tuple[str, str], float] = {}
        self.epoch_word: str | None = None

    async def insert(self, table: str, columns: Any, *, token: str, until: float) -> None:
        """As the engine's."""
        self._forget_tokens()
        self._inserted_at.setdefault((table, token), self._faults.loop.elapsed)
        await super().insert(table, columns, token=token, until=until)

    def haunt(self, table: str, token: str) -> None:
        """Killed between its two notes: the token stands, the block does not."""
        if (table, token) not in self._tokens:
            self._tokens.add((table, token))
            self._inserted_at[table, token] = self._faults.loop.elapsed

    def _forget_tokens(self) -> None:
        """Those that are older than the latest moment at which another one may come with them."""
        now = self._faults.loop.elapsed
        old = [each for each, at in self._inserted_at.items() if now - at > self._token_seconds]
        for each in old:
            del self._inserted_at[each]
            self._tokens.discard(each)


class TroubledStore:
    """One process's connection to the store; with `inserts_absent` it is the store host, without a ClickHouse server."""

    def __init__(self, engine: GhostlyStore, faults: Faults, *, inserts_absent: bool) -> None:
        self._engine = engine
        self._faults = faults
        self.inserts_absent = inserts_absent

    async def open(self) -> None:
        """Reach it."""
        await self._faults.call("store", self._engine.open)

    async def close(self) -> None:
        """What is stored stays."""

    async def epoch(self) -> str | None:
        """The word that makes the tracker's marks believable."""
        return await self._faults.call("store", self._epoch)

    async def set_epoch(self, epoch: str) -> None:
        """Keep another one."""

        async def work() -> None:
            self._engine.epoch_word = epoch

        await self._faults.call("store", work, may=ONCE)

    async def markers(self, table: str, keys: Sequence[str]) -> Mapping[str, Marker]:
        """What stands."""
        return await self._faults.call("store", lambda: self._engine.markers(table, keys))

    async def insert_absent(self, table: str, columns: Any, *, keys: Sequence[str]) -> bool:
        """Exact, whoever comes when."""
        return await self._faults.call(
            "store", lambda: self._engine.insert_absent(table, columns.combine_chunks(), keys=keys)
        )

    async def insert(self, table: str, columns: Any, *, token: str, until: float) -> None:
        """A token closes the race; after a fault it may be a ghost's."""
        if self._faults.happens("store ghost"):
            self._engine.haunt(table, token)
        await self._faults.call(
            "store", lambda: self._engine.insert(table, columns.combine_chunks(), token=token, until=until)
        )

    async def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Sequence[Sequence[Any]]:
        """Nobody's, in this world."""
        raise AssertionError(sql)

    async def _epoch(self) -> str | None:
        return self._engine.epoch_word
