"""backends.sqs.provisioning: made once, mended where it differs, never made worse."""

import json

import pytest
from tests.backends.sqs.strict_proxy import StrictProxy
from tests.backends.sqs.strict_queue import SERVICES, StrictQueue

from omni_etl.backends.sqs import Provisioner, SqsClient
from omni_etl.queue import UNREADABLE, dead_letters, queue_names

NAMES = queue_names(SERVICES)
DAY = 86_400
WRITES = {"CreateQueue", "SetQueueAttributes", "DeleteQueue"}


@pytest.fixture
def provisioner(queue: StrictQueue, client: SqsClient) -> Provisioner:
    """For the queues that are there already."""
    return Provisioner(client, prefix=queue.queue_prefix, queue_names=NAMES)


async def set_attributes(client: SqsClient, queue: StrictQueue, name: str, **attributes: str) -> None:
    """Somebody changed a queue."""
    await client.call("set_queue_attributes", QueueUrl=queue._urls[name], Attributes=attributes)


async def attributes(provisioner: Provisioner, name: str) -> dict[str, str]:
    """What a queue has."""
    found = (await provisioner.describe())[name]
    assert found is not None
    return found.attributes


async def test_every_queue_is_made_as_designed(provisioner: Provisioner) -> None:
    """Lanes and sidings keep a week, dead letters two; encrypted, long polls, redrive only as a net."""
    found = await provisioner.describe()
    assert list(found) == NAMES
    for name, each in found.items():
        assert each is not None
        is_dead = name.startswith(dead_letters(""))
        assert each.retention_seconds == (14 if is_dead else 7) * DAY
        assert each.message_bytes_max == 1024 * 1024
        assert each.attributes["ReceiveMessageWaitTimeSeconds"] == "20"
        assert each.attributes["SqsManagedSseEnabled"].lower() == "true"
        assert ("RedrivePolicy" in each.attributes) == (not is_dead)
        if not is_dead:
            policy = json.loads(each.attributes["RedrivePolicy"])
            unreadable = found[UNREADABLE]
            assert unreadable is not None
            assert (policy["deadLetterTargetArn"], int(policy["maxReceiveCount"])) == (unreadable.arn, 1000)


async def test_making_them_again_changes_nothing(provisioner: Provisioner, proxy: StrictProxy) -> None:
    """Not a single call that writes."""
    proxy.calls.clear()
    assert [each.name for each in await provisioner.create()] == NAMES
    assert not WRITES & {name for name, _ in proxy.calls}


async def test_what_differs_is_mended_and_what_is_missing_made(
    provisioner: Provisioner, client: SqsClient, queue: StrictQueue
) -> None:
    """Whatever happened in the middle of an earlier try."""
    await set_attributes(client, queue, "bulk", MaximumMessageSize="262144", MessageRetentionPeriod="345600")
    await set_attributes(client, queue, "express", SqsManagedSseEnabled="false", RedrivePolicy="")
    await client.call("delete_queue", QueueUrl=queue._urls["dead-metrics"])
    await provisioner.create()
    bulk, express = await attributes(provisioner, "bulk"), await attributes(provisioner, "express")
    assert (bulk["MaximumMessageSize"], bulk["MessageRetentionPeriod"]) == ("1048576", str(7 * DAY))
    assert express["SqsManagedSseEnabled"].lower() == "true"
    assert "RedrivePolicy" in express
    assert await attributes(provisioner, "dead-metrics")


async def test_nothing_is_made_worse(provisioner: Provisioner, client: SqsClient, queue: StrictQueue) -> None:
    """A shorter retention would delete; a key of one's own is better than ours."""
    await set_attributes(client, queue, "bulk", MessageRetentionPeriod=str(10 * DAY))
    await set_attributes(client, queue, "express", SqsManagedSseEnabled="false", KmsMasterKeyId="alias/mine")
    await provisioner.create()
    assert (await attributes(provisioner, "bulk"))["MessageRetentionPeriod"] == str(10 * DAY)
    assert (await attributes(provisioner, "express"))["KmsMasterKeyId"] == "alias/mine"
    assert (await attributes(provisioner, "express"))["SqsManagedSseEnabled"].lower() == "false"


async def test_deleting_may_be_repeated(provisioner: Provisioner) -> None:
    """It answers what was there."""
    assert await provisioner.delete() == NAMES
    assert await provisioner.delete() == []
    assert set((await provisioner.describe()).values()) == {None}
