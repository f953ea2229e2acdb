"""Which queue settings name: a database, or SQS.

Each kind is imported only where it is named: SQLAlchemy is 35 MiB and botocore 25 in a hose beside a mail server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from omni_etl.clock import Clock
from omni_etl.errors import SettingsError
from omni_etl.queue import Queue, queue_names
from omni_etl.settings import Settings

if TYPE_CHECKING:
    from omni_etl.backends.sqs import Provisioner, SqsClient

SQS_URL: Final = "sqs://"


def build_queue(settings: Settings, clock: Clock) -> Queue:
    """The queue that settings name.

    Raises:
        SettingsError: an unknown scheme.

    """
    if not settings.queue_url.get_secret_value().startswith(SQS_URL):
        from omni_etl.wiring.databases import build_database_queue  # noqa: PLC0415 see above

        return build_database_queue(settings, clock)
    from omni_etl.backends.sqs import SqsQueue  # noqa: PLC0415 see above

    return SqsQueue(
        _client(settings, clock),
        clock,
        prefix=settings.sqs_queue_prefix,
        payload=settings.sqs_payload,
        envelope_bytes=settings.envelope_bytes,
    )


def build_provisioner(settings: Settings, clock: Clock) -> Provisioner:
    """What makes the SQS queues of all services named.

    Raises:
        SettingsError: the queue is not SQS; databases make theirs by themselves.

    """
    url = settings.queue_url.get_secret_value()
    if not url.startswith(SQS_URL):
        found = f"the scheme {url.partition(':')[0]!r}" if url else "nothing"
        raise SettingsError("OMNI_QUEUE_URL", found, "Only SQS queues need making: set it to sqs://.")
    from omni_etl.backends.sqs import Provisioner  # noqa: PLC0415 see above

    return Provisioner(
        _client(settings, clock), prefix=settings.sqs_queue_prefix, queue_names=queue_names(settings.service_names)
    )


def _client(settings: Settings, clock: Clock) -> SqsClient:
    from omni_etl.backends.sqs import SqsAccess, SqsClient  # noqa: PLC0415 see above

    if settings.queue_url.get_secret_value() != SQS_URL:
        fix = "Write sqs:// alone: OMNI_SQS_REGION, OMNI_SQS_ENDPOINT_URL and OMNI_SQS_QUEUE_PREFIX say the rest."
        raise SettingsError("OMNI_QUEUE_URL", "more after sqs://", fix)
    return SqsClient(SqsAccess(settings.sqs_endpoint_url.get_secret_value(), settings.sqs_region), clock)
