"""The queue on Amazon SQS, or on any server that speaks its protocol."""

from __future__ import annotations

from omni_etl.backends.sqs.client import SqsAccess, SqsClient
from omni_etl.backends.sqs.entries import Payload
from omni_etl.backends.sqs.provisioning import Provisioner
from omni_etl.backends.sqs.queue import SqsQueue

__all__ = ["Payload", "Provisioner", "SqsAccess", "SqsClient", "SqsQueue"]
