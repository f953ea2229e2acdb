"""An empty database and an empty queue of each kind, for the suites of the contracts that live in one."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.backends.sqs.strict_queue import StrictQueue

from omni_etl.backends.database import DatabaseQueue, open_database
from omni_etl.backends.memory import MemoryQueue
from omni_etl.clock import ManualClock
from omni_etl.queue import Queue, queue_names


@pytest.fixture
def clock() -> ManualClock:
    """Time by hand."""
    return ManualClock()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty database is; another kind is one more entry here."""
    return f"sqlite:///{tmp_path}" if request.param == "sqlite" else str(request.getfixturevalue("postgresql_url"))


@pytest.fixture(params=["memory", "sqlite", "postgresql", "sqs", "sqs-body"])
async def queue(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Queue]:
    """An empty, open queue of each kind; another kind is one more entry here."""

    def database(url: str) -> Queue:
        return DatabaseQueue(open_database(url, "queue", clock), clock)

    kinds: dict[str, Callable[[], Queue]] = {
        "memory": lambda: MemoryQueue(clock),
        "sqlite": lambda: database(f"sqlite:///{tmp_path}/queue.sqlite"),
        "postgresql": lambda: database(request.getfixturevalue("postgresql_url")),
        "sqs": lambda: StrictQueue(clock),
        "sqs-body": lambda: StrictQueue(clock, payload="body"),
    }
    subject = kinds[request.param]()
    await subject.open(queue_names(["metrics"]))
    yield subject
    await subject.close()
