"""An open queue behind the strict proxy."""

from collections.abc import AsyncIterator

import pytest
from botocore.retries.standard import ExponentialBackoff
from tests.backends.sqs.strict_proxy import StrictProxy
from tests.backends.sqs.strict_queue import SERVICES, StrictQueue

from omni_etl.backends.sqs import SqsClient
from omni_etl.clock import ManualClock
from omni_etl.queue import queue_names


@pytest.fixture
def clock() -> ManualClock:
    """Time by hand."""
    return ManualClock()


@pytest.fixture(autouse=True)
def _retry_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one repetition that botocore makes does not wait here."""
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda _self, _context: 0)


@pytest.fixture
async def queue(clock: ManualClock) -> AsyncIterator[StrictQueue]:
    """Every queue of two services, made and open."""
    subject = StrictQueue(clock)
    await subject.open(queue_names(SERVICES))
    yield subject
    await subject.close()


@pytest.fixture
def proxy(queue: StrictQueue) -> StrictProxy:
    """What stands before moto, to be made unkind."""
    return queue.proxy


@pytest.fixture
async def client(queue: StrictQueue, clock: ManualClock) -> AsyncIterator[SqsClient]:
    """A second client to the same server."""
    subject = SqsClient(queue.access, clock)
    await subject.open()
    yield subject
    await subject.close()
