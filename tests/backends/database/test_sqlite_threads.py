"""backends.database.sqlite_threads: a transaction runs whole in a thread, and is over when its caller hears of it."""

import asyncio
import threading

import pytest
from sqlalchemy import Connection, create_engine, text

from omni_etl.backends.database.sqlite_threads import Threaded


@pytest.fixture
def threaded() -> Threaded:
    """On a database in memory, with one thread."""
    return Threaded(create_engine("sqlite://"), threads_max=1)


async def test_a_transaction_runs_beside_the_loop(threaded: Threaded) -> None:
    """In another thread, from beginning to end, always the same one."""
    names = {await threaded.transact(lambda _: threading.current_thread().name) for _ in range(3)}
    assert len(names) == 1
    assert names != {threading.current_thread().name}


async def test_who_is_cancelled_hears_of_it_when_the_transaction_is_over(threaded: Threaded) -> None:
    """However often it is told: whoever comes next finds either all of it or nothing."""
    begun, may_end = threading.Event(), threading.Event()
    over = False

    def work(connection: Connection) -> None:
        nonlocal over
        begun.set()
        may_end.wait(10)
        connection.execute(text("SELECT 1"))
        over = True

    task = asyncio.create_task(threaded.transact(work))
    await asyncio.to_thread(begun.wait, 10)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert over


async def test_it_serves_again_after_it_was_disposed_of(threaded: Threaded) -> None:
    """Connections are made anew."""
    await threaded.dispose()
    assert await threaded.transact(lambda connection: connection.execute(text("SELECT 1")).scalar()) == 1
    await threaded.dispose()
