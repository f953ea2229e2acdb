"""Customers with bad manners, as real servers: nobody loses an event, and nobody pays for another's manners."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.hostile import MANNERS, Hostile, hostile
from tests.e2e.system import Load, System, up, wait_until

from omni_etl.event import TYPES

EVENTS = 3_000
GOOD = ["good1", "good2"]


@pytest.fixture(scope="module")
def customers() -> Iterator[Hostile]:
    """All of them."""
    with hostile() as server:
        yield server


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """With attempts that end soon."""
    directory: Path = tmp_path_factory.mktemp("hostile")
    with up(directory, OMNI_WEBHOOKS_TIMEOUT_SECONDS="1") as started:
        yield started


@pytest.mark.e2e
def test_bad_manners_lose_nothing_and_hold_up_nobody(system: System, customers: Hostile) -> None:
    """Good ones have everything while the bad ones have nothing; those get all when they behave, with the same bytes."""
    ids = {manner: made(system, customers, manner) for manner in [*GOOD, *MANNERS]}
    load = Load(system.places["hose_url"], EVENTS).start()
    load.join()
    for manner in [*GOOD, "huge"]:  # an answer that is too long is an answer
        wait_until(lambda: len(customers.taken[manner].events) == EVENTS, f"{manner} has everything")  # noqa: B023 now
    assert not customers.taken["hang"].events
    wait_until(lambda: delivery(system, ids["gone"])["state"] == "stopped", "410 stops a webhook")

    customers.heal(*MANNERS)
    for manner, webhook_id in ids.items():

        def has_everything(manner: str = manner) -> bool:
            system.try_again()
            return len(customers.taken[manner].events) == EVENTS

        wait_until(has_everything, f"{manner} has everything", lambda: delivery(system, webhook_id))  # noqa: B023 now
    for manner, webhook_id in ids.items():
        taken = customers.taken[manner]
        assert {len(digests) for digests in taken.digests.values()} == {1}, f"{manner}: a batch changed its bytes"
        assert taken.largest <= 100
        assert taken.at_once_max <= 32
        wait_until(lambda: delivery(system, webhook_id)["waiting"]["events"] == 0, f"{manner} waits for nothing")  # noqa: B023 now
        told = delivery(system, webhook_id)
        assert told["delivered"]["events"] == EVENTS, (manner, told)
        assert told["dropped"]["events"] == told["given_up"]["events"] == 0


@pytest.mark.e2e
def test_every_attempt_is_noted(system: System, customers: Hostile) -> None:
    """With its answer, and when the next one is due."""
    webhook_id = made(system, customers, "redirect1")
    Load(system.places["hose_url"], 200, seed=7).start().join()
    wait_until(lambda: customers.taken["redirect1"].requests >= 1, "an attempt was made")

    def notes() -> list[dict[str, object]]:
        found: list[dict[str, object]] = system.api("GET", f"/api/v1/webhooks/{webhook_id}/attempts")["results"]
        return found

    wait_until(lambda: bool(notes()), "it is noted")
    first = notes()[-1]
    assert (first["response_code"], first["outcome"], first["attempt"]) == ("307", "retry", 1)
    assert first["next_attempt"]


def made(system: System, customers: Hostile, manner: str) -> str:
    """A webhook for everything, whose customer has this manner."""
    created = system.api("POST", "/api/v1/webhooks", name=manner, target=customers.target(manner), events=sorted(TYPES))
    webhook_id: str = created["results"]["id"]
    return webhook_id


def delivery(system: System, webhook_id: str) -> dict[str, Any]:
    """How it goes."""
    found: dict[str, Any] = system.api("GET", f"/api/v1/webhooks/{webhook_id}/delivery")["results"]
    return found
