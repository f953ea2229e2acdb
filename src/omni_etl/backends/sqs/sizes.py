"""How much fits, given what a queue takes and how payloads travel."""

from __future__ import annotations

from typing import Final

from omni_etl.backends.sqs.entries import Payload
from omni_etl.queue import QueueLimits

MIB: Final = 1024 * 1024
BATCH_BYTES_MAX: Final = MIB  # of one send, whatever a queue's own limit is (botocore, SendMessageBatch)
BATCH_COUNT_MAX: Final = 10
LEASE_SECONDS_MAX: Final = 43_200


def limits(message_bytes_max: int, payload: Payload) -> QueueLimits:
    """Limits in bytes as `queue.entry_bytes` counts them: the payload raw, as AWS counts a Binary attribute.

    In the body it is base64. An entry of E bytes then takes at most 4/3·(E-13) + 4 there, because attribute name and type
    (13 bytes) are not sent: three quarters of the room are always enough.
    """
    share = 1.0 if payload == "attribute" else 0.75
    return QueueLimits(
        entry_bytes_max=int(message_bytes_max * share),
        batch_count_max=BATCH_COUNT_MAX,
        batch_bytes_max=int(BATCH_BYTES_MAX * share),
        receive_count_max=10,
        lease_seconds_max=LEASE_SECONDS_MAX,
    )
