"""One client to SQS: every call ends within its time, and fails as an error of ours.

A long poll may hang for ever without an error (awslabs/aws-sdk-rust#1094, bbc/sqs-consumer#137, aio-libs/aiobotocore#809):
a connection has its timeouts, and the whole call has one more, retries and the wait for a connection included. A call that
was given up or cancelled closes its connection; what SQS had already handed out comes again when its lease lapses.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from io import BytesIO
from typing import Any, Final

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import ClientError

from omni_etl import telemetry
from omni_etl.backends.sqs.errors import FAILURES, REGION, refusal, unavailable
from omni_etl.clock import Clock
from omni_etl.errors import SettingsError, UnavailableError

OPEN_SECONDS_MAX: Final = 10.0  # the credential chain may ask a metadata service
CALL_SECONDS_MAX: Final = 5.0  # of calls that carry no payload; renewals have a third of a lease
SEND_SECONDS_MAX: Final = 30.0  # 1.4 MB over a slow line
WAIT_SECONDS_MAX: Final = 20  # SQS's longest poll
SKEW_SECONDS_MIN: Final = 2.0  # a Date header has whole seconds, and the answer a way to go
SKEW_SECONDS_MAX: Final = 60.0  # SQS refuses signatures from 5 minutes or so

CONFIG: Final = AioConfig(
    connect_timeout=3,
    read_timeout=WAIT_SECONDS_MAX + SEND_SECONDS_MAX,  # the net under each call's own time
    max_pool_connections=64,  # a long poll holds one: lanes, sidings, and as many sends and renewals besides
    retries={"mode": "standard", "total_max_attempts": 2},  # one more for a dropped connection; back-off is ours
    tcp_keepalive=True,
)


@dataclass(frozen=True, slots=True)
class SqsAccess:
    """Where SQS is; empty means what the AWS chain (environment, profile, role) says, as always for credentials."""

    endpoint_url: str = ""
    region: str = ""


class SqsClient:
    """Before `open` succeeded every call is `UnavailableError`."""

    def __init__(self, access: SqsAccess, clock: Clock) -> None:
        self._access = access
        self._clock = clock
        self._context: AbstractAsyncContextManager[Any] | None = None
        self._client: Any = None
        self._opening = asyncio.Lock()
        self._skew_seconds = 0.0
        self._said_skewed = False

    @property
    def region(self) -> str:
        """The region in use."""
        return "" if self._client is None else str(self._client.meta.region_name)

    def now(self) -> float:
        """Seconds since the epoch by SQS's clock, as its last answer told it."""
        return self._clock.now() + self._skew_seconds

    async def open(self) -> None:
        """Find credentials and region; connects nothing yet. May be called again, also at the same time.

        Raises:
            SettingsError: there are none, or an unknown region.
            UnavailableError: the credential chain does not answer.

        """
        async with self._opening:
            if self._client is None:
                try:
                    async with asyncio.timeout(OPEN_SECONDS_MAX):
                        await self._create()
                except TimeoutError:
                    raise UnavailableError(f"no AWS credentials within {OPEN_SECONDS_MAX:g} s") from None
                except FAILURES as error:
                    raise (refusal(error) or unavailable(error)) from None
                except ValueError:  # botocore repeats the URL
                    fix = "Write http(s)://host:port, or nothing for AWS."
                    raise SettingsError("OMNI_SQS_ENDPOINT_URL", "a URL that cannot be read", fix) from None

    async def close(self) -> None:
        """Give back connections."""
        context, self._context, self._client = self._context, None, None
        if context is not None:
            await context.__aexit__(None, None, None)

    async def call(
        self, operation: str, *, seconds_max: float = CALL_SECONDS_MAX, starting: bool = False, **request: Any
    ) -> dict[str, Any]:
        """Ask SQS one thing.

        Raises:
            UnavailableError: nothing is known about the call.
            SettingsError: only where `starting`: SQS refuses our credentials, or us.

        """
        if self._client is None:
            raise UnavailableError("the queue is not open")
        try:
            async with asyncio.timeout(seconds_max):
                answer: dict[str, Any] = await getattr(self._client, operation)(**request)
        except TimeoutError:
            raise UnavailableError(f"SQS: no answer to {operation} in {seconds_max:g} s") from None
        except FAILURES as error:
            if isinstance(error, ClientError):
                self._compare_clocks(error.response)
            if starting and (refused := refusal(error)):
                raise refused from None
            raise unavailable(error) from None  # a bad signature repeats the session token
        self._compare_clocks(answer)
        return answer

    async def _create(self) -> None:
        session = get_session()
        await _check_region(session, self._access)
        context = session.create_client(
            "sqs",
            region_name=self._access.region or None,
            endpoint_url=self._access.endpoint_url or None,
            config=CONFIG,
        )
        self._client = await context.__aenter__()
        self._client.meta.events.register("before-send.sqs.SendMessageBatch", _stream)
        self._context = context

    def _compare_clocks(self, answer: dict[str, Any]) -> None:
        """Note how far SQS's clock is from ours: ages are judged by its clock, and signatures by both."""
        date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        if date is None:
            return
        try:
            skew_seconds = parsedate_to_datetime(date).timestamp() - self._clock.now()
        except ValueError:
            return
        self._skew_seconds = skew_seconds if abs(skew_seconds) >= SKEW_SECONDS_MIN else 0.0
        telemetry.queue_clock_skew_seconds.set(self._skew_seconds)
        is_skewed = abs(skew_seconds) > SKEW_SECONDS_MAX
        if is_skewed and not self._said_skewed:
            telemetry.get_logger().error("queue_clock_skewed", skew_seconds=round(skew_seconds))
        self._said_skewed = is_skewed


def _stream(request: AWSPreparedRequest, **_more: object) -> None:
    """Hand a signed body to aiohttp as a stream, so that a megabyte does not hold the loop."""
    request.body = BytesIO(request.body)


async def _check_region(session: AioSession, access: SqsAccess) -> None:
    """A mistyped region has a name that no server answers to, which would look like an outage for ever."""
    region = access.region or session.get_config_variable("region")
    if access.endpoint_url or not region:
        return
    for partition in session.get_available_partitions():
        if region in await session.get_available_regions("sqs", partition_name=partition):
            return
    fix = "Correct it; for a region newer than this program name its endpoint in OMNI_SQS_ENDPOINT_URL too."
    raise SettingsError(REGION, repr(region), fix)
