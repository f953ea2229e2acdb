"""The strict proxy itself: what moto lets pass and AWS does not is refused, or the suites behind it prove nothing."""

from typing import Any

import pytest
from tests.backends.sqs.strict_proxy import StrictProxy
from tests.backends.sqs.strict_queue import StrictQueue

from omni_etl.backends.sqs import SqsClient
from omni_etl.errors import UnavailableError

KIB_512 = 512 * 1024


def entry(body: str = "{}", attributes: dict[str, dict[str, Any]] | None = None) -> dict[str, Any]:
    """One message as a careless sender would send it."""
    return {"Id": "0", "MessageBody": body, "MessageAttributes": attributes or {}}


def binary(value: bytes) -> dict[str, Any]:
    """An attribute."""
    return {"DataType": "Binary", "BinaryValue": value}


async def send(queue: StrictQueue, client: SqsClient, *entries: dict[str, Any]) -> list[str]:
    """Past our own checks; answers the codes of what failed."""
    numbered = [{**each, "Id": str(number)} for number, each in enumerate(entries)]
    answer = await client.call("send_message_batch", QueueUrl=queue._urls["bulk"], Entries=numbered)
    return [each["Code"] for each in answer.get("Failed", [])]


@pytest.mark.parametrize(
    ("refused", "code"),
    [
        (entry("é" * (KIB_512 + 1)), None),
        (entry("x" * (2 * KIB_512 - 5), {"payload": binary(b"x")}), None),
        (entry("\x0b"), "InvalidMessageContents"),
        (entry("{}", {"note": {"DataType": "String", "StringValue": "\x01"}}), "InvalidMessageContents"),
        (entry("{}", {f"a{number}": binary(b"x") for number in range(11)}), "InvalidParameterValue"),
        (entry("{}", {"AWS.x": binary(b"x")}), "InvalidParameterValue"),
    ],
    ids=["bytes, not characters", "attributes count", "body", "string value", "eleven attributes", "reserved name"],
)
async def test_what_aws_refuses_is_refused(
    queue: StrictQueue, client: SqsClient, refused: dict[str, Any], code: str | None
) -> None:
    """Alone where a batch can hold it, else as a whole."""
    if code is None:
        with pytest.raises(UnavailableError, match="BatchRequestTooLong"):
            await send(queue, client, refused)
    else:
        assert await send(queue, client, refused, entry()) == [code]


async def test_an_entry_larger_than_its_queue_takes_is_refused_alone(queue: StrictQueue, client: SqsClient) -> None:
    """The batch's own limit does not ask what the queue takes."""
    url = queue._urls["bulk"]
    await client.call("set_queue_attributes", QueueUrl=url, Attributes={"MaximumMessageSize": "1024"})
    assert await send(queue, client, entry("x" * 1025), entry("x" * 1024)) == ["InvalidParameterValue"]


async def test_a_batch_has_distinct_ids_and_ten_entries(queue: StrictQueue, client: SqsClient) -> None:
    """Or it is refused as a whole."""
    url = queue._urls["bulk"]
    with pytest.raises(UnavailableError, match="BatchEntryIdsNotDistinct"):
        await client.call("send_message_batch", QueueUrl=url, Entries=[entry(), entry()])
    with pytest.raises(UnavailableError, match="TooManyEntriesInBatchRequest"):
        await send(queue, client, *[entry()] * 11)


async def test_a_poll_that_waits_gets_nothing_from_a_full_flight(
    queue: StrictQueue, client: SqsClient, proxy: StrictProxy
) -> None:
    """Where a short one gets OverLimit."""
    await send(queue, client, entry())
    proxy._in_flight_max = 0
    with pytest.raises(UnavailableError, match="OverLimit"):
        await client.call("receive_message", QueueUrl=queue._urls["bulk"], VisibilityTimeout=30)
