"""services.store_service: envelopes that wait share an insert, each is written once, and each one's trouble is its own."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pyarrow as pa
import pytest
from structlog.testing import capture_logs
from tests import builders

from omni_etl import sql
from omni_etl.backends.memory_store import MemoryStore
from omni_etl.clock import ManualClock, SystemClock
from omni_etl.envelope import Envelope
from omni_etl.errors import IdConflictError, LeaseLapsedError, PoisonError, UnavailableError
from omni_etl.service import Deadline
from omni_etl.services.message_events import columns
from omni_etl.services.store_service import GATHERED_BYTES, GROUP_BYTES_MAX, INSERTS_AT_ONCE, Keeping, StoreService
from omni_etl.store import Marker, Store

TABLE = "message_events"
DAY_MS = 86_400_000
CLOCK = SystemClock()
POISON = "poison"


class WatchedStore:
    """A memory store that can be held, notes what was inserted together, and refuses rows with the subject POISON."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.inserts_absent = True
        self.groups: list[list[str]] = []
        self.going = asyncio.Event()
        self.going.set()
        self.away = False
        self.markers = self.store.markers

    async def insert_absent(self, table: str, columns: pa.Table, *, keys: Sequence[str]) -> bool:
        """As the memory store's."""
        self.groups.append(list(keys))
        await self.going.wait()
        if self.away:
            raise UnavailableError("away")
        if POISON in columns.column("subject").to_pylist():
            raise PoisonError("these rows")
        return await self.store.insert_absent(table, columns, keys=keys)

    async def insert(self, table: str, columns: Any, *, token: str, until: float) -> None:
        """As a server's."""
        self.groups.append([token])
        await self.store.insert(table, columns, token=token, until=until)

    async def count(self) -> int:
        """Events stored."""
        [(found,)] = await self.store.query(sql.query("message_events_count"))
        return int(found)


@pytest.fixture
def store() -> WatchedStore:
    """Empty, and going."""
    return WatchedStore()


@pytest.fixture
def service(store: WatchedStore) -> StoreService:
    """What is tested."""
    return StoreService(TABLE, cast("Store", store), columns, keeping=Keeping(), clock=CLOCK)


def envelope(seq: int, *, events: int = 1, subject: str = "", cut_at_ms: int = builders.CUT_AT_MS) -> Envelope:
    """An envelope of a few events."""
    lines = [builders.line(subject=subject or str(each)) for each in range(events)]
    return builders.envelope(lines, seq=seq, cut_at_ms=cut_at_ms)


def deadline(seconds: float = 600) -> Deadline:
    """Of a lease."""
    return Deadline(CLOCK, CLOCK.monotonic() + seconds)


async def apply_held(
    store: WatchedStore,
    service: StoreService,
    envelopes: Sequence[Envelope],
    *,
    lapsed: Mapping[int, float] | None = None,
) -> list[BaseException | None]:
    """Apply while the first inserts are held, so that the others wait together; answers each one's error."""
    store.going.clear()
    leading = [asyncio.create_task(service.apply(envelope(900 + each), deadline())) for each in range(INSERTS_AT_ONCE)]
    while len(store.groups) < INSERTS_AT_ONCE:
        await asyncio.sleep(0)
    seconds = lapsed or {}
    following = [
        asyncio.create_task(service.apply(each, deadline(seconds.get(each.header.seq, 600)))) for each in envelopes
    ]
    await asyncio.sleep(0)  # each of them is in line
    store.going.set()
    await asyncio.gather(*leading)
    return list(await asyncio.gather(*following, return_exceptions=True))


@pytest.fixture
async def gathering(store: WatchedStore) -> tuple[StoreService, ManualClock]:
    """One that waits a second for company, by a clock of ours."""
    clock = ManualClock()
    return StoreService(TABLE, cast("Store", store), columns, keeping=Keeping(gather_seconds=1), clock=clock), clock


async def turns() -> None:
    """Let everybody go as far as they can without the clock."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_one_that_comes_alone_is_inserted(store: WatchedStore, service: StoreService) -> None:
    """At once, where nobody shall wait for company."""
    await service.apply(envelope(1, events=3), deadline())
    assert store.groups == [[envelope(1).key]]
    assert await store.count() == 3


async def test_a_moment_brings_company(store: WatchedStore, gathering: tuple[StoreService, ManualClock]) -> None:
    """What comes within it goes along; when it is over, nobody waits any longer."""
    service, clock = gathering
    found = [envelope(seq) for seq in range(1, 4)]
    applying = [asyncio.create_task(service.apply(each, deadline())) for each in found[:2]]
    await turns()
    clock.advance(0.9)
    await turns()
    assert store.groups == []
    applying.append(asyncio.create_task(service.apply(found[2], deadline())))
    await turns()
    clock.advance(0.1)
    await asyncio.gather(*applying)
    assert store.groups == [[each.key for each in found]]


async def test_enough_company_ends_the_wait(store: WatchedStore, gathering: tuple[StoreService, ManualClock]) -> None:
    """The clock stands still, and what fills an insert goes all the same."""
    service, _ = gathering
    found = [envelope(seq, subject="x" * (GATHERED_BYTES // 512), events=256) for seq in range(1, 3)]
    await asyncio.gather(*(service.apply(each, deadline()) for each in found))
    assert store.groups == [[each.key for each in found]]


async def test_those_that_wait_share_an_insert(store: WatchedStore, service: StoreService) -> None:
    """Whatever came while inserts were running goes with the next one, and each has its marker."""
    found = [envelope(seq, events=2) for seq in range(1, 6)]
    assert await apply_held(store, service, found) == [None] * 5
    assert store.groups[INSERTS_AT_ONCE:] == [[each.key for each in found]]
    markers = await store.markers(TABLE, [each.key for each in found])
    assert markers == {each.key: Marker(each.header.checksum, 2) for each in found}


async def test_an_insert_has_a_limit(store: WatchedStore, service: StoreService) -> None:
    """In bytes of lines; what does not fit goes with the next."""
    found = [envelope(seq, subject="x" * (GROUP_BYTES_MAX // 640), events=300) for seq in range(1, 4)]
    assert await apply_held(store, service, found) == [None] * 3
    assert sorted(map(len, store.groups[INSERTS_AT_ONCE:])) == [1, 2]


async def test_an_insert_is_of_one_partition(store: WatchedStore, service: StoreService) -> None:
    """Two days of the cut would be two parts, of which one may stand without the other."""
    found = [envelope(seq, cut_at_ms=builders.CUT_AT_MS + seq % 2 * DAY_MS) for seq in range(1, 5)]
    assert await apply_held(store, service, found) == [None] * 4
    assert sorted(map(len, store.groups[INSERTS_AT_ONCE:])) == [2, 2]


async def test_a_key_is_never_twice_in_an_insert(store: WatchedStore, service: StoreService) -> None:
    """The same envelope received twice: one insert writes it, the other finds it."""
    found = [envelope(1), envelope(1), envelope(2)]
    assert await apply_held(store, service, found) == [None] * 3
    assert await store.count() == INSERTS_AT_ONCE + 2
    assert all(len(set(each)) == len(each) for each in store.groups)


async def test_what_stands_already_is_done_and_the_others_are_written(
    store: WatchedStore, service: StoreService
) -> None:
    """A redo among fresh ones costs one more try."""
    await service.apply(envelope(2), deadline())
    assert await apply_held(store, service, [envelope(seq) for seq in range(1, 4)]) == [None] * 3
    assert await store.count() == INSERTS_AT_ONCE + 3


async def test_a_conflict_is_its_own(store: WatchedStore, service: StoreService) -> None:
    """Another content under a key that stands fails alone."""
    await service.apply(envelope(2), deadline())
    errors = await apply_held(store, service, [envelope(1), envelope(2, events=5), envelope(3)])
    assert [type(each) for each in errors] == [type(None), IdConflictError, type(None)]
    assert await store.count() == INSERTS_AT_ONCE + 3


async def test_poison_is_its_own(store: WatchedStore, service: StoreService) -> None:
    """Rows that the engine refuses are looked for one by one, and the others are written."""
    errors = await apply_held(store, service, [envelope(1), envelope(2, subject=POISON), envelope(3)])
    assert [type(each) for each in errors] == [type(None), PoisonError, type(None)]
    assert await store.count() == INSERTS_AT_ONCE + 2


async def test_rows_that_cannot_be_made_are_their_own(store: WatchedStore) -> None:
    """An error of ours in the columns of one envelope reaches whoever awaits that one."""

    def columns_but_for_two(found: Envelope) -> Any:
        if found.header.seq == 2:
            raise ZeroDivisionError
        return columns(found)

    service = StoreService(TABLE, cast("Store", store), columns_but_for_two, keeping=Keeping(), clock=CLOCK)
    errors = await apply_held(store, service, [envelope(seq) for seq in range(1, 4)])
    assert [type(each) for each in errors] == [type(None), ZeroDivisionError, type(None)]


async def test_a_lapsed_lease_is_its_own(store: WatchedStore, service: StoreService) -> None:
    """What waited too long is given back unwritten; the others go on."""
    errors = await apply_held(store, service, [envelope(seq) for seq in range(1, 4)], lapsed={2: -1})
    assert [type(each) for each in errors] == [type(None), LeaseLapsedError, type(None)]
    assert await store.count() == INSERTS_AT_ONCE + 2


async def test_an_engine_that_is_away_fails_all(store: WatchedStore, service: StoreService) -> None:
    """Nothing is known of any of them; afterwards each is written once."""
    store.away = True
    found = [envelope(seq) for seq in range(1, 4)]
    for each in found:
        with pytest.raises(UnavailableError):
            await service.apply(each, deadline())
    store.away = False
    assert await apply_held(store, service, found) == [None] * 3
    assert await store.count() == INSERTS_AT_ONCE + 3


async def test_a_server_is_given_one_envelope_an_insert(store: WatchedStore, service: StoreService) -> None:
    """Where asking and inserting are two steps, a token names the one envelope."""
    store.inserts_absent = False
    found = [envelope(seq) for seq in range(1, 6)]
    await asyncio.gather(*(service.apply(each, deadline()) for each in [*found, *found]))
    assert store.groups[:5] == [[f"{each.key}-{TABLE}-0"] for each in found]
    assert await store.count() == 5


@pytest.mark.parametrize(("days", "is_stored"), [(0, True), (10, True), (11, False), (400, False)])
async def test_an_envelope_that_comes_too_late_is_done_without_its_rows(
    store: WatchedStore, days: int, *, is_stored: bool
) -> None:
    """They would go at once; and where its marker went before them, they might stand already. It is said."""
    clock = ManualClock(builders.CUT_AT_MS / 1000 + days * DAY_MS / 1000)
    service = StoreService(TABLE, cast("Store", store), columns, keeping=Keeping(kept_days=10), clock=clock)
    found = envelope(1)
    with capture_logs() as lines:
        await asyncio.gather(service.apply(found, deadline()), service.apply(found, deadline()))
    assert await store.count() == int(is_stored)
    assert bool(await store.markers(TABLE, [found.key])) is is_stored
    assert {each["event"] for each in lines} == (set() if is_stored else {"envelope_expired"})


async def test_an_envelope_whose_rows_expired_is_not_brought_back(store: WatchedStore) -> None:
    """A dead letter may be put back after weeks: what was applied then, and dropped since, is not applied again."""
    clock = ManualClock(builders.CUT_AT_MS / 1000)
    service = StoreService(TABLE, cast("Store", store), columns, keeping=Keeping(kept_days=10), clock=clock)
    await service.apply(envelope(1), deadline())
    store.store = MemoryStore()  # as if the engine had dropped the day, markers and rows
    store.markers = store.store.markers
    clock.advance(11 * DAY_MS / 1000)
    await service.apply(envelope(1), deadline())
    assert await store.count() == 0
