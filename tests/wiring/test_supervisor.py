"""wiring.supervisor: what must stand before a parent receives, and what may be away."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.wiring.conftest import Make

from omni_etl.backends.memory_tracker import MemoryTracker
from omni_etl.clock import ManualClock
from omni_etl.errors import SettingsError, UnavailableError
from omni_etl.supervisor.limits import SupervisorLimits
from omni_etl.wiring.supervisor import Parent, build_parent, build_tracker

AWAY_STORE = "http://default:hunter2@127.0.0.1:1/omni"  # nobody listens on port 1
AWAY_TRACKER = "redis://:hunter2@127.0.0.1:1"


class GateClock(ManualClock):
    """Whoever sleeps says so, and sleeps until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.sleeps = asyncio.Event()
        self.go_on = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        """Wait for the test."""
        self.sleeps.set()
        await self.go_on.wait()


class EpochTracker(MemoryTracker):
    """Remembers what it was opened with."""

    def __init__(self) -> None:
        super().__init__(ManualClock())
        self.epochs: list[str] = []
        self.away = 0  # calls that still fail

    async def open(self, epoch: str) -> None:
        """As the real one."""
        if self.away:
            self.away -= 1
            raise UnavailableError("the tracker is away")
        self.epochs.append(epoch)
        await super().open(epoch)


def parent_of(make_settings: Make, **named: object) -> tuple[Parent, EpochTracker, GateClock]:
    """A parent whose tracker and waits are the test's."""
    named = {"store_url": AWAY_STORE, "tracker_url": AWAY_TRACKER, **named}
    clock = GateClock()
    parent = replace(build_parent(make_settings(**named)), clock=clock)
    tracker = parent.engines.tracker = EpochTracker()
    return parent, tracker, clock


async def opened_epoch(make_settings: Make, store_url: str, *, database: Path) -> str:
    """Start a parent and answer the epoch it works under, after checking that what is written down is that one."""
    parent, tracker, _ = parent_of(make_settings, store_url=store_url, database_url=f"sqlite:///{database}")
    await parent.open()
    [epoch] = tracker.epochs
    assert (await parent.engines.registry.epoch(), await parent.store.epoch()) == (epoch, epoch)
    await parent.close()
    return epoch


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("", "nothing"),
        ("memcached://:hunter2@h:11211", "the scheme 'memcached'"),
        (":hunter2@h:6379", "no URL"),
    ],
)
def test_a_tracker_that_is_none_is_refused(make_settings: Make, url: str, found: str) -> None:
    """At once and by name, before anybody waits for a database; the password is not repeated."""
    with pytest.raises(SettingsError) as refused:
        build_tracker(make_settings(tracker_url=url))
    assert (refused.value.setting, refused.value.found) == ("OMNI_TRACKER_URL", found)
    assert "redis://host:6379" in refused.value.fix
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("named", "setting"),
    [
        ({"services": ""}, "OMNI_SERVICES"),
        ({"services": "metrics,nobody"}, "OMNI_SERVICES"),
        ({"queue_url": "amqp://u:hunter2@h"}, "OMNI_QUEUE_URL"),
        ({"database_url": "mysql://u:hunter2@h"}, "OMNI_DATABASE_URL"),
        ({"store_url": ""}, "OMNI_STORE_URL"),
        ({"tracker_url": ""}, "OMNI_TRACKER_URL"),
    ],
)
def test_what_waiting_cannot_heal_is_refused_at_start(make_settings: Make, named: dict[str, str], setting: str) -> None:
    """Whichever setting it is."""
    with pytest.raises(SettingsError) as refused:
        build_parent(make_settings(**{"store_url": AWAY_STORE, "tracker_url": AWAY_TRACKER, **named}))
    assert refused.value.setting == setting
    assert "hunter2" not in str(refused.value)


def test_each_limit_of_the_parent_is_a_setting(make_settings: Make) -> None:
    """A limit without a setting could not be named when it is met."""
    mine = make_settings(store_url=AWAY_STORE, tracker_url=AWAY_TRACKER, leases_max=5, lease_seconds=11)
    assert all(hasattr(mine, name) for name in SupervisorLimits.__dataclass_fields__)
    limits = build_parent(mine).supervisor._limits
    assert (limits.leases_max, limits.lease_seconds) == (5, 11)


@pytest.mark.parametrize(
    ("engine", "place"), [("database", lambda path: path / "database"), ("queue", lambda path: path / "queue")]
)
async def test_a_database_or_queue_that_is_away_is_waited_for(
    make_settings: Make, tmp_path: Path, engine: str, place: Callable[[Path], Path]
) -> None:
    """It says so once, and goes on by itself when the engine is back."""
    blocked = place(tmp_path / "omni-data")
    blocked.parent.mkdir()
    blocked.write_text("a file where a directory should be")
    parent, tracker, clock = parent_of(make_settings)
    with capture_logs() as logs:
        opening = asyncio.create_task(parent.open())
        await clock.sleeps.wait()
        clock.sleeps.clear()
        clock.go_on.set()  # once for nothing
        await clock.sleeps.wait()
        blocked.unlink()
        await opening
    waits = [(line["event"], line["engine"]) for line in logs if line["event"] == "run_waiting"]
    assert waits == [("run_waiting", engine)]
    assert [each.name for each in parent.supervisor.registered()] == sorted(parent.services)
    assert len(tracker.epochs) == 1
    await parent.close()


async def test_a_tracker_that_is_away_is_not_waited_for(make_settings: Make) -> None:
    """Nobody listens at its port: the parent goes on by the ledgers alone, and alarms without the password."""
    parent = replace(build_parent(make_settings(store_url=AWAY_STORE, tracker_url=AWAY_TRACKER)), clock=GateClock())
    with capture_logs() as logs:
        await parent.open()
        assert [(each.marks, each.settled) for each in await parent.engines.ask(["key"])] == [({}, False)]
    await parent.close()
    assert [line["event"] for line in logs] == ["tracker_away"]
    assert "hunter2" not in str(logs)


async def test_a_store_that_is_away_costs_a_fresh_epoch(make_settings: Make) -> None:
    """Two starts without it have different epochs, and neither is written down: it would claim what no ledger backs."""
    seen = []
    for _ in range(2):
        parent, tracker, _clock = parent_of(make_settings)
        await parent.open()
        assert await parent.engines.registry.epoch() is None
        await parent.close()
        seen += tracker.epochs
    assert len(set(seen)) == 2


async def test_the_epoch_is_kept_while_database_and_store_agree(
    make_settings: Make, tmp_path: Path, store_url: str
) -> None:
    """Missing in one, or different, is a new one in both: a restored engine has forgotten what the marks still claim."""
    database = tmp_path / "database"
    first = await opened_epoch(make_settings, store_url, database=database)
    assert await opened_epoch(make_settings, store_url, database=database) == first
    restored = tmp_path / "restored"
    second = await opened_epoch(make_settings, store_url, database=restored)  # the database has none
    assert second != first
    third = await opened_epoch(make_settings, store_url, database=database)  # the database has an older one
    assert third not in (first, second)


async def test_a_store_without_an_epoch_is_given_a_new_one(
    make_settings: Make, tmp_path: Path, store_url: str, next_database: Callable[[], str]
) -> None:
    """The other half: the store was restored to before the first start."""
    first = await opened_epoch(make_settings, store_url, database=tmp_path / "database")
    emptied = store_url.rpartition("/")[0] + "/" + next_database()
    assert await opened_epoch(make_settings, emptied, database=tmp_path / "database") != first


async def test_an_epoch_that_reached_only_the_database_is_not_believed(
    make_settings: Make, tmp_path: Path, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store went away between the two writes; the next start makes another."""
    parent, tracker, _ = parent_of(make_settings, store_url=store_url, database_url=f"sqlite:///{tmp_path / 'd'}")

    async def away(_epoch: str) -> None:
        raise UnavailableError("the store is away")

    monkeypatch.setattr(parent.store, "set_epoch", away)
    await parent.open()
    assert await parent.engines.registry.epoch() == tracker.epochs[0]
    await parent.close()
    monkeypatch.undo()
    assert await opened_epoch(make_settings, store_url, database=tmp_path / "d") != tracker.epochs[0]


async def test_a_store_that_rejects_us_stops_the_start(make_settings: Make, store_url: str) -> None:
    """A wrong password is no outage."""
    rejected = store_url.replace("a%20p%40ssword%2Fwith%3Aall", "hunter2")
    assert rejected != store_url
    parent, _tracker, _clock = parent_of(make_settings, store_url=rejected)
    with pytest.raises(SettingsError, match=r"^OMNI_STORE_URL") as refused:
        await parent.open()
    assert "hunter2" not in str(refused.value)
    await parent.close()


async def test_a_tracker_that_comes_later_is_used(make_settings: Make) -> None:
    """It is asked for again and again while the parent works; then marks are believed."""
    parent, tracker, clock = parent_of(make_settings)
    epoch = await parent.open()
    tracker.away = 2
    with capture_logs() as logs:
        clock.go_on.set()
        await parent.keep_tracker(epoch)
    await parent.close()
    assert tracker.epochs == [epoch, epoch]
    assert [line["event"] for line in logs] == ["tracker_away", "tracker_back"]


async def test_a_parent_knows_who_was_erased_before_it_receives(make_settings: Make, store_url: str) -> None:
    """Its children hear of it before their first work."""
    parent, _, _ = parent_of(make_settings, store_url=store_url)
    await parent.forgetting.erasures.open()
    await parent.forgetting.erasures.begin("a@x.test", with_suppressions=False)
    await parent.open()
    [told] = parent.children._to_forget
    assert len(told.erasures) == 1
    assert parent.forgetting.through() == 1
    await parent.close()
