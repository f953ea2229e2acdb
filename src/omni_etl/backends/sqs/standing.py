"""How a queue stands at SQS: what it takes, how long it keeps, and whether a start may rely on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from omni_etl.backends.sqs.client import SqsClient
from omni_etl.backends.sqs.errors import QueueMissingError
from omni_etl.errors import SettingsError, UnavailableError
from omni_etl.queue import dead_letters

DAY_SECONDS: Final = 86_400
OUTLIVES_SECONDS_MIN: Final = 3 * DAY_SECONDS
NEEDED: Final = frozenset({"QueueArn", "MaximumMessageSize", "MessageRetentionPeriod"})
PREFIX: Final = "OMNI_SQS_QUEUE_PREFIX"


@dataclass(frozen=True, slots=True)
class Standing:
    """One queue: our name for it, its URL, and its attributes as SQS spells them."""

    name: str
    url: str
    attributes: dict[str, str]

    @property
    def arn(self) -> str:
        """Its name in policies."""
        return self.attributes["QueueArn"]

    @property
    def message_bytes_max(self) -> int:
        """What it takes; queues made by older tools still say 262,144."""
        return int(self.attributes["MaximumMessageSize"])

    @property
    def retention_seconds(self) -> int:
        """How long it keeps, from the first send on: a dead letter does not start anew."""
        return int(self.attributes["MessageRetentionPeriod"])


async def find(client: SqsClient, prefix: str, name: str) -> Standing | None:
    """Look a queue up; None where there is none.

    Raises:
        SettingsError: our credentials, or we, are refused.
        UnavailableError: SQS is away, or something else answers in its place.

    """
    try:
        answer = await client.call("get_queue_url", starting=True, QueueName=prefix + name)
        return await look(client, name, answer.get("QueueUrl", f"{prefix}{name}"))
    except QueueMissingError:
        return None


async def look(client: SqsClient, name: str, url: str) -> Standing:
    """Read the attributes of a queue whose URL is known."""
    answer = await client.call("get_queue_attributes", starting=True, QueueUrl=url, AttributeNames=["All"])
    attributes = {attribute: str(value) for attribute, value in answer.get("Attributes", {}).items()}
    if not attributes.keys() >= NEEDED:
        raise UnavailableError(f"the server does not tell {', '.join(sorted(NEEDED - attributes.keys()))} of {url}")
    return Standing(name, url, attributes)


async def require(client: SqsClient, prefix: str, name: str) -> Standing:
    """Look up a queue that must be there.

    Raises:
        SettingsError: it is not, or we are refused.

    """
    found = await find(client, prefix, name)
    if found is None:
        where = f"no queue {prefix}{name} in {client.region or 'this region'}"
        raise SettingsError(PREFIX, where, "Run `omni queues create`, or correct prefix, region or account.")
    return found


def check_retention(standings: Sequence[Standing]) -> None:
    """Refuse dead letters that would be gone soon after they died: SQS counts their age from the first send.

    Raises:
        SettingsError: names the shortest one.

    """
    kept_seconds = [each.retention_seconds for each in standings if not _is_dead(each)]
    dead = min((each for each in standings if _is_dead(each)), key=lambda each: each.retention_seconds, default=None)
    if dead is None or not kept_seconds:
        return
    least_seconds = max(kept_seconds) + OUTLIVES_SECONDS_MIN
    if dead.retention_seconds < least_seconds:
        raise SettingsError(
            PREFIX,
            f"{dead.url.rpartition('/')[2]}, which keeps {dead.retention_seconds / DAY_SECONDS:g} days",
            f"Dead letters must outlive lanes and sidings by three days: {least_seconds / DAY_SECONDS:g} here. "
            "`omni queues create` sets both.",
        )


def _is_dead(standing: Standing) -> bool:
    return standing.name.startswith(dead_letters(""))
