"""Make, describe and delete every queue of ours; each may be repeated."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from omni_etl.backends.sqs.client import WAIT_SECONDS_MAX, SqsClient
from omni_etl.backends.sqs.errors import QueueMissingError
from omni_etl.backends.sqs.sizes import MIB
from omni_etl.backends.sqs.standing import Standing, find, look
from omni_etl.queue import UNREADABLE, dead_letters, retention_seconds

REDRIVE_RECEIVES: Final = 1000  # the most SQS allows: releases and restarts count too, so it is only a net
AT_LEAST: Final = frozenset({"MaximumMessageSize", "MessageRetentionPeriod"})  # more is fine, and less may delete


class Provisioner:
    """The queues of one prefix. Nothing that lies in a queue is touched by `create`."""

    def __init__(self, client: SqsClient, *, prefix: str, queue_names: Sequence[str]) -> None:
        self._client = client
        self._prefix = prefix
        self._queue_names = queue_names

    async def create(self) -> list[Standing]:
        """Make what is missing, mend what differs. Retention is never shortened, encryption with a key of yours stays.

        Raises:
            SettingsError: our credentials, or we, are refused.

        """
        await self._client.open()
        unreadable = await self._made(UNREADABLE, {})
        net = json.dumps({"deadLetterTargetArn": unreadable.arn, "maxReceiveCount": str(REDRIVE_RECEIVES)})
        made = {UNREADABLE: unreadable}
        for name in self._queue_names:
            if name != UNREADABLE:
                made[name] = await self._made(name, {} if name.startswith(dead_letters("")) else {"RedrivePolicy": net})
        return [made[name] for name in self._queue_names]

    async def describe(self) -> dict[str, Standing | None]:
        """Every queue as it stands; None where there is none."""
        await self._client.open()
        return {name: await find(self._client, self._prefix, name) for name in self._queue_names}

    async def delete(self) -> list[str]:
        """Delete every queue with all that lies in it; SQS takes a minute to forget a name. Answers what was there."""
        gone = []
        for name, found in (await self.describe()).items():
            if found is not None:
                try:
                    await self._client.call("delete_queue", starting=True, QueueUrl=found.url)
                except QueueMissingError:
                    continue
                gone.append(name)
        return gone

    async def close(self) -> None:
        """Give back connections."""
        await self._client.close()

    async def _made(self, name: str, more: Mapping[str, str]) -> Standing:
        wanted = {**_attributes(name), **more}
        found = await find(self._client, self._prefix, name)
        if found is None:
            made = await self._client.call(
                "create_queue", starting=True, QueueName=self._prefix + name, Attributes=wanted
            )
            return await look(self._client, name, made["QueueUrl"])
        differing = _differing(wanted, found.attributes)
        if differing:
            await self._client.call("set_queue_attributes", starting=True, QueueUrl=found.url, Attributes=differing)
            return await look(self._client, name, found.url)
        return found


def _attributes(name: str) -> dict[str, str]:
    return {
        "MaximumMessageSize": str(MIB),
        "MessageRetentionPeriod": str(retention_seconds(name)),
        "ReceiveMessageWaitTimeSeconds": str(WAIT_SECONDS_MAX),
        "SqsManagedSseEnabled": "true",
    }


def _differing(wanted: Mapping[str, str], found: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in wanted.items() if not _is_good(name, value, found)}


def _is_good(name: str, wanted: str, found: Mapping[str, str]) -> bool:
    value = found.get(name, "")
    if name == "SqsManagedSseEnabled":
        return value.lower() == wanted or bool(found.get("KmsMasterKeyId"))
    if name in AT_LEAST:
        return value.isdigit() and int(value) >= int(wanted)
    if name == "RedrivePolicy":
        return bool(value) and json.loads(value).get("deadLetterTargetArn") == json.loads(wanted)["deadLetterTargetArn"]
    return value == wanted
