"""backends.sqs.standing: what a start may rely on."""

import pytest
from tests.backends.sqs.strict_proxy import RefusedError, StrictProxy
from tests.backends.sqs.strict_queue import StrictQueue

from omni_etl.backends.sqs import SqsClient
from omni_etl.backends.sqs.standing import Standing, check_retention, find, require
from omni_etl.errors import SettingsError, UnavailableError

DAY = 86_400


def standing(name: str, days: float) -> Standing:
    """A queue that keeps so long."""
    return Standing(name, f"https://sqs/1/omni-{name}", {"MessageRetentionPeriod": str(int(days * DAY))})


async def test_what_is_there_is_found(queue: StrictQueue, client: SqsClient) -> None:
    """With its limits as numbers."""
    found = await require(client, queue.queue_prefix, "bulk")
    assert (found.message_bytes_max, found.retention_seconds) == (1024 * 1024, 7 * DAY)
    assert found.arn.endswith(f":{queue.queue_prefix}bulk")


async def test_what_is_missing_is_nothing_and_trouble_is_not_missing(client: SqsClient, proxy: StrictProxy) -> None:
    """Else an outage would look like a queue to be made."""
    assert await find(client, "nobody-", "bulk") is None
    proxy.unkind.refuse = [RefusedError("InternalError", "", 500), RefusedError("InternalError", "", 500)]
    with pytest.raises(UnavailableError):
        await find(client, "nobody-", "bulk")


async def test_an_answer_of_something_else_is_no_queue(client: SqsClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in between may say 200 to everything; that heals, and is neither a missing queue nor a crash."""

    async def anything(*_arguments: object, **_more: object) -> dict[str, str]:
        return {"message": "<html>"}

    monkeypatch.setattr(client, "call", anything)
    with pytest.raises(UnavailableError, match="does not tell MaximumMessageSize"):
        await require(client, "omni-", "bulk")


@pytest.mark.parametrize(
    ("kept", "dead", "is_fine"), [(7, 14, True), (7, 10, True), (7, 9.99, False), (14, 14, False), (11, 14, True)]
)
def test_dead_letters_outlive_lanes_by_three_days(kept: float, dead: float, is_fine: bool) -> None:  # noqa: FBT001 the third column
    """Lanes and sidings alike."""
    standings = [standing("bulk", 1), standing("siding-metrics", kept), standing("dead-metrics", dead)]
    if is_fine:
        check_retention(standings)
    else:
        with pytest.raises(SettingsError, match=r"found omni-dead-metrics, which keeps"):
            check_retention(standings)


def test_where_one_kind_is_missing_there_is_nothing_to_compare() -> None:
    """A hose opens lanes, a redrive may open one queue."""
    check_retention([standing("bulk", 14)])
    check_retention([standing("dead-metrics", 1)])
