"""backends.sqs.queue: what the contract's suite does not reach. The traps have their thread beside them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.backends.sqs.strict_proxy import RefusedError, StrictProxy
from tests.backends.sqs.strict_queue import StrictQueue

from omni_etl.backends.sqs import SqsClient, SqsQueue
from omni_etl.backends.sqs import queue as queue_module
from omni_etl.clock import ManualClock
from omni_etl.envelope import LANES, SealedEnvelope
from omni_etl.errors import EnvelopeError, SettingsError, UnavailableError
from omni_etl.queue import Lease, dead_letters, siding

HOURS_12 = 43_200
SIDING = siding("metrics")


def sealed(number: int = 1) -> SealedEnvelope:
    """An envelope that tells itself from others."""
    return SealedEnvelope(f'{{"number":{number}}}', b"\x00\xff payload %d" % number)


async def receive(queue: SqsQueue, name: str = "bulk", *, lease_seconds: int = 30, count_max: int = 10) -> list[Lease]:
    """What is ready now."""
    return await queue.receive(name, count_max=count_max, wait_seconds=0, lease_seconds=lease_seconds)


@pytest.fixture
async def other(queue: StrictQueue, clock: ManualClock) -> AsyncIterator[SqsQueue]:
    """A second parent on the same queues."""
    subject = SqsQueue(SqsClient(queue.access, clock), clock, prefix=queue.queue_prefix)
    await subject.open(["bulk"])
    yield subject
    await subject.close()


async def test_a_batch_is_one_call(queue: StrictQueue, proxy: StrictProxy) -> None:
    """Ten sends, ten extensions, ten releases, ten deletes: money is counted by calls."""
    proxy.calls.clear()
    await queue.send("bulk", [sealed(number) for number in range(10)])
    leases = await receive(queue)
    await queue.extend(leases, lease_seconds=40)
    await queue.release(leases)
    await queue.delete(await receive(queue))
    names = [name for name, _ in proxy.calls]
    assert names == [
        *("SendMessageBatch", "ReceiveMessage", "ChangeMessageVisibilityBatch", "ChangeMessageVisibilityBatch"),
        *("ReceiveMessage", "DeleteMessageBatch"),
    ]
    assert all(len(call.get("Entries", range(10))) == 10 for _, call in proxy.calls)


async def test_an_entry_that_fails_alone_is_told_alone(queue: StrictQueue, proxy: StrictProxy) -> None:
    """HTTP 200 with a failed entry in it (bbc/sqs-consumer#193), for each kind of batch."""
    proxy.unkind.fail_entries = 1
    assert await queue.send("bulk", [sealed(1), sealed(2)]) == {0: "InternalError: Request could not be processed."}
    [lease] = await receive(queue)
    assert lease.envelope == sealed(2)
    for change in (queue.delete, queue.release, lambda each: queue.extend(each, lease_seconds=30)):
        proxy.unkind.fail_entries = 1
        assert list(await change([lease])) == [0]
    assert await queue.delete([lease]) == {}


async def test_what_the_answer_does_not_mention_has_failed(queue: StrictQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something between us and SQS may answer 200 with anything."""

    async def nothing(*_arguments: object, **_more: object) -> dict[str, Any]:
        return {}

    monkeypatch.setattr(queue._client, "call", nothing)
    assert await queue.send("bulk", [sealed()]) == {0: "SQS says nothing about it"}
    assert await receive(queue) == []


async def test_the_same_envelope_twice_in_one_call(queue: StrictQueue, proxy: StrictProxy) -> None:
    """Entry ids are positions, so copies do not make SQS refuse the whole batch (awspring/spring-cloud-aws#1634)."""
    assert await queue.send("bulk", [sealed(), sealed()]) == {}
    leases = await receive(queue)
    assert await queue.delete([*leases, *leases]) == {}
    assert await receive(queue) == []


async def test_a_message_kept_twice_comes_twice_and_goes_copy_by_copy(queue: StrictQueue, proxy: StrictProxy) -> None:
    """A standard queue may do so; each copy has a receipt of its own."""
    proxy.unkind.duplicate = 1
    await queue.send("bulk", [sealed()])
    first, second = await receive(queue)
    assert first.envelope == second.envelope
    assert first.receipt != second.receipt
    await queue.delete([first])
    await queue.release([second])
    [again] = await receive(queue)
    assert again.envelope == sealed()


async def test_a_lost_answer_may_have_been_kept(queue: StrictQueue, proxy: StrictProxy) -> None:
    """Unavailable means that nothing is known: here both tries were kept."""
    proxy.unkind.lose_answers = 2
    with pytest.raises(UnavailableError, match="SQS: "):
        await queue.send("bulk", [sealed()])
    assert [each.envelope for each in await receive(queue)] == [sealed(), sealed()]


async def test_a_lost_answer_to_a_receive_comes_again_when_its_lease_lapses(
    queue: StrictQueue, proxy: StrictProxy, clock: ManualClock
) -> None:
    """SQS counts it as delivered, so it is nobody's until then."""
    await queue.send("bulk", [sealed()])
    proxy.unkind.lose_answers = 2
    with pytest.raises(UnavailableError):
        await receive(queue)
    assert await receive(queue) == []
    clock.advance(31)
    [lease] = await receive(queue)
    assert lease.receive_count == 2


async def test_late_and_repeated_deletes_answer_ok(queue: StrictQueue, clock: ManualClock) -> None:
    """Deleting again, and deleting what another has now, are no failures; only the latter leaves it there."""
    await queue.send("bulk", [sealed()])
    [late] = await receive(queue, lease_seconds=10)
    clock.advance(11)
    [newest] = await receive(queue)
    assert await queue.delete([late]) == {}
    clock.advance(31)
    [back] = await receive(queue)
    for _ in range(3):
        assert await queue.delete([back]) == {}
    clock.advance(HOURS_12)
    assert await receive(queue) == []
    assert newest.receipt != back.receipt


async def test_a_receipt_that_sqs_calls_invalid_is_with_somebody_else(queue: StrictQueue) -> None:
    """For SQS a deleted envelope's receipt is an invalid value, an unknown one an invalid receipt (celery/kombu#1198)."""
    await queue.send("bulk", [sealed()])
    [lease] = await receive(queue)
    await queue.delete([lease])
    unknown = Lease("bulk", "no receipt of anybody", sealed(), 1, 0.0)
    assert await queue.extend([lease, unknown], lease_seconds=30) == {}
    assert await queue.release([lease, unknown]) == {}
    assert await queue.delete([lease, unknown]) == {}


async def test_nobody_holds_a_lease_longer_than_twelve_hours(queue: StrictQueue, clock: ManualClock) -> None:
    """SQS refuses what goes beyond, counted from the receive, and that is a failure we hear of."""
    await queue.send("bulk", [sealed()])
    [lease] = await receive(queue, lease_seconds=HOURS_12)
    clock.advance(60)
    assert "beyond the limit" in (await queue.extend([lease], lease_seconds=HOURS_12))[0]
    assert await queue.extend([lease], lease_seconds=HOURS_12 - 60) == {}


async def test_changes_to_several_queues_find_their_own(queue: StrictQueue) -> None:
    """One call for each queue, positions as the caller counts them."""
    await queue.send("bulk", [sealed(1)])
    await queue.send(SIDING, [sealed(2)])
    leases = [*await receive(queue), *await receive(queue, SIDING)]
    assert await queue.delete(leases) == {}
    assert (await queue.depth("bulk")).leased == (await queue.depth(SIDING)).leased == 0


async def test_two_parents_share_nothing(queue: StrictQueue, other: SqsQueue) -> None:
    """Every envelope is with exactly one of them, and each deletes its own."""
    await queue.send("bulk", [sealed(number) for number in range(10)])
    mine, theirs = await asyncio.gather(receive(queue, count_max=5), receive(other, count_max=5))
    assert {each.envelope.header for each in [*mine, *theirs]} == {sealed(number).header for number in range(10)}
    assert await queue.delete(mine) == await other.delete(theirs) == {}
    assert (await other.depth("bulk")).leased == 0


@pytest.mark.parametrize("code", ["RequestThrottled", "InternalError", "ServiceUnavailable", "ExpiredToken", "Unheard"])
async def test_what_may_heal_is_unavailable(queue: StrictQueue, proxy: StrictProxy, code: str) -> None:
    """Throttling, trouble at SQS, credentials on their way to be renewed; the next call works again."""
    proxy.unkind.refuse = [RefusedError(code, "not now", 503 if code.startswith(("I", "S")) else 400) for _ in range(2)]
    with pytest.raises(UnavailableError, match=code):
        await queue.send("bulk", [sealed()])
    proxy.unkind.refuse.clear()
    assert await queue.send("bulk", [sealed()]) == {}


async def test_a_dropped_call_is_repeated_once(queue: StrictQueue, proxy: StrictProxy) -> None:
    """And not more: who calls has a back-off of its own."""
    proxy.unkind.refuse = [RefusedError("ServiceUnavailable", "", 503)]
    assert await queue.send("bulk", [sealed()]) == {}
    proxy.calls.clear()
    proxy.unkind.refuse = [RefusedError("ServiceUnavailable", "", 503) for _ in range(5)]
    with pytest.raises(UnavailableError):
        await queue.send("bulk", [sealed()])
    assert len(proxy.calls) == 2


async def test_a_full_flight_is_a_reason_to_wait(queue: StrictQueue, proxy: StrictProxy) -> None:
    """SQS answers OverLimit, or brings nothing where one waits for it; what is deleted makes room."""
    await queue.send("bulk", [sealed(1), sealed(2)])
    proxy._in_flight_max = 1
    [lease] = await receive(queue)
    with pytest.raises(UnavailableError, match="OverLimit"):
        await receive(queue)
    assert await queue.delete([lease]) == {}
    assert len(await receive(queue)) == 1


async def test_a_call_that_never_returns_ends(
    queue: StrictQueue, proxy: StrictProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever hangs (vectordotdev/vector#20017): the whole attempt has its time."""
    monkeypatch.setattr(queue_module, "POLL_MARGIN_SECONDS", 0.05)
    monkeypatch.setattr(queue_module, "SEND_SECONDS_MAX", 0.05)
    proxy.unkind.hang = True
    with pytest.raises(UnavailableError, match=r"no answer to receive_message in 0\.05 s"):
        await receive(queue)
    with pytest.raises(UnavailableError, match="no answer to send_message_batch"):
        await queue.send("bulk", [sealed()])
    proxy.unkind.hang = False
    assert await queue.send("bulk", [sealed()]) == {}


async def test_a_cancelled_receive_ends_at_once(queue: StrictQueue, proxy: StrictProxy) -> None:
    """A stop does not wait for a long poll (boto/boto3#3861)."""
    proxy.unkind.hang = True
    waiting = asyncio.create_task(queue.receive("bulk", count_max=10, wait_seconds=20, lease_seconds=30))
    while not proxy.hanging:
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting], timeout=5)
    assert waiting.cancelled()


async def test_a_damaged_entry_is_left_to_come_again(
    queue: StrictQueue, proxy: StrictProxy, clock: ManualClock
) -> None:
    """Nobody works on it, and it is not deleted."""
    await queue.send("bulk", [sealed()])
    proxy.unkind.damage = 1
    with capture_logs() as logs:
        assert await receive(queue) == []
    assert [(line["event"], line["queue"]) for line in logs] == [("queue_entry_damaged", "bulk")]
    clock.advance(31)
    assert [each.envelope for each in await receive(queue)] == [sealed()]


async def test_a_send_that_was_kept_otherwise_has_failed(queue: StrictQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hose lets go of an envelope only where SQS's checksums are those of what it sent."""
    monkeypatch.setattr(queue_module, "difference_kept", lambda _entry, _kept: "another payload")
    assert await queue.send("bulk", [sealed()]) == {0: "another payload"}


async def test_a_foreign_message_does_not_open(queue: StrictQueue, client: SqsClient) -> None:
    """It is handed out, so that it can be set aside as unreadable, and harms nobody."""
    from omni_etl.envelope import open_header  # noqa: PLC0415 the judge of it

    url = queue._urls["bulk"]
    for body in ("somebody else's", "two\nlines"):
        await client.call("send_message_batch", QueueUrl=url, Entries=[{"Id": "0", "MessageBody": body}])
    for lease in await receive(queue):
        with pytest.raises(EnvelopeError):
            open_header(lease.envelope.header)


async def test_both_forms_are_understood(queue: StrictQueue, clock: ManualClock) -> None:
    """A fleet may change from attribute to body while it runs."""
    writer = SqsQueue(SqsClient(queue.access, clock), clock, prefix=queue.queue_prefix, payload="body")
    await writer.open(["bulk"])
    await writer.send("bulk", [sealed(1)])
    await queue.send("bulk", [sealed(2)])
    assert {each.envelope for each in await receive(writer)} == {sealed(1), sealed(2)}
    await writer.close()


async def test_a_missing_queue_is_refused_at_start(queue: StrictQueue) -> None:
    """By name, with what to do; what never opened holds no connection."""
    stranger = SqsQueue(SqsClient(queue.access, queue._clock), queue._clock, prefix="nobody-")
    with pytest.raises(SettingsError, match=r"no queue nobody-express in us-east-1\. Run `omni queues create`"):
        await stranger.open(LANES)
    assert stranger._client._client is None


async def test_a_queue_deleted_later_is_away(queue: StrictQueue, client: SqsClient) -> None:
    """It may be made again while spool and leases wait."""
    await client.call("delete_queue", QueueUrl=queue._urls["bulk"])
    with pytest.raises(UnavailableError):
        await queue.send("bulk", [sealed()])


async def test_before_it_is_open_it_is_away(queue: StrictQueue) -> None:
    """Also a queue that `open` did not name."""
    for queue_name in ("nobody", "bulk"):
        with pytest.raises(UnavailableError, match="is not open"):
            await queue.send(queue_name, [sealed()])
        await SqsQueue.close(queue)


async def test_a_start_needs_room_for_its_envelopes(queue: StrictQueue, client: SqsClient, clock: ManualClock) -> None:
    """A queue made by an older tool takes 256 KiB; limits are those of the smallest queue."""
    attributes = {"MaximumMessageSize": str(256 * 1024)}
    await client.call("set_queue_attributes", QueueUrl=queue._urls["bulk"], Attributes=attributes)
    greedy = SqsQueue(SqsClient(queue.access, clock), clock, prefix=queue.queue_prefix, envelope_bytes=256 * 1024 + 1)
    with pytest.raises(SettingsError, match=r"^OMNI_ENVELOPE_BYTES: found 262145, while test-\w+-bulk takes 262144"):
        await greedy.open(LANES)
    await queue.open(LANES)
    assert queue.limits.entry_bytes_max == 256 * 1024
    assert set(await queue.send("bulk", [SealedEnvelope("{}", b"x" * 256 * 1024)])) == {0}


async def test_a_start_needs_dead_letters_that_outlive_lanes(queue: StrictQueue, client: SqsClient) -> None:
    """Else a person has no time to look: SQS counts from the first send."""
    url = queue._urls[dead_letters("metrics")]
    await client.call("set_queue_attributes", QueueUrl=url, Attributes={"MessageRetentionPeriod": str(9 * 86_400)})
    with pytest.raises(SettingsError, match=r"-dead-metrics, which keeps 9 days.*10 here"):
        await queue.open([*LANES, SIDING, dead_letters("metrics")])
    await queue.open(LANES)  # a hose does not care


async def test_nobody_knows_an_age_before_the_first_receive(
    queue: StrictQueue, other: SqsQueue, clock: ManualClock
) -> None:
    """SQS does not tell it, and a process that received nothing does not guess."""
    await queue.send("bulk", [sealed()])
    clock.advance(5)
    assert (await other.depth("bulk")).oldest_age_seconds is None
    await receive(other)
    clock.advance(5)
    assert (await other.depth("bulk")).oldest_age_seconds == 10.0


async def test_ages_are_judged_by_the_clock_of_sqs(queue: StrictQueue, proxy: StrictProxy, clock: ManualClock) -> None:
    """Ours may be wrong (Particular/NServiceBus.AmazonSQS#65)."""
    await queue.send("bulk", [sealed()])
    proxy.unkind.ahead_seconds = 30.0
    await receive(queue)
    assert (await queue.depth("bulk")).oldest_age_seconds == 30.0
