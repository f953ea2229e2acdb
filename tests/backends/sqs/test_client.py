"""backends.sqs.client: opening, clocks, and who is let in."""

import asyncio

import pytest
from structlog.testing import capture_logs
from tests.backends.sqs.strict_proxy import RefusedError, StrictProxy
from tests.backends.sqs.strict_queue import StrictQueue

from omni_etl.backends.sqs import SqsAccess, SqsClient
from omni_etl.clock import ManualClock
from omni_etl.embedded.ports import free_ports
from omni_etl.errors import SettingsError, UnavailableError

LIST = "list_queues"


async def opened(access: SqsAccess) -> SqsClient:
    """Open, and closed again; nothing connects yet."""
    client = SqsClient(access, ManualClock())
    await client.open()
    await client.close()
    return client


@pytest.mark.parametrize("region", ["eu-west-1", "us-gov-west-1", "cn-north-1"])
async def test_every_region_of_aws_is_known(region: str) -> None:
    """In each of its partitions."""
    client = SqsClient(SqsAccess(region=region), ManualClock())
    await client.open()
    assert client.region == region
    await client.close()


async def test_a_mistyped_region_is_refused() -> None:
    """Its name would lead to no server, which looks like an outage for ever; elsewhere than at AWS any will do."""
    with pytest.raises(SettingsError, match=r"^OMNI_SQS_REGION: found 'eu-wset-1'\."):
        await opened(SqsAccess(region="eu-wset-1"))
    await opened(SqsAccess("http://127.0.0.1:1", "my-rack"))


async def test_the_environment_may_name_the_region(monkeypatch: pytest.MonkeyPatch) -> None:
    """As every AWS tool reads it; where nobody names one, we ask for it."""
    with pytest.raises(SettingsError, match=r"^OMNI_SQS_REGION: found no region"):
        await opened(SqsAccess())
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-wset-1")
    with pytest.raises(SettingsError, match="eu-wset-1"):
        await opened(SqsAccess())
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    await opened(SqsAccess())


async def test_an_endpoint_that_is_none_is_refused_without_repeating_it() -> None:
    """It may hold a password."""
    with pytest.raises(SettingsError, match=r"^OMNI_SQS_ENDPOINT_URL: ") as refused:
        await opened(SqsAccess("hunter2 is no URL", "eu-west-1"))
    assert "hunter2" not in str(refused.value)


async def test_a_start_without_credentials_is_refused(queue: StrictQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """In words, at the first call that needs them."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    client = SqsClient(queue.access, ManualClock())
    await client.open()
    with pytest.raises(SettingsError, match=r"^AWS credentials: found none that can be used"):
        await client.call(LIST, starting=True)
    with pytest.raises(UnavailableError):  # a role that vanished under a running process may come back
        await client.call(LIST)
    await client.close()


async def test_a_start_with_wrong_credentials_is_refused(client: SqsClient, proxy: StrictProxy) -> None:
    """A running process waits for better ones."""
    wrong = RefusedError("InvalidClientTokenId", "The security token included in the request is invalid.", 403)
    proxy.unkind.refuse = [wrong, wrong]
    with pytest.raises(SettingsError, match=r"^AWS credentials: found some that SQS refuses \(InvalidClientTokenId\)"):
        await client.call(LIST, starting=True)
    with pytest.raises(UnavailableError):
        await client.call(LIST)


async def test_opening_at_the_same_time_makes_one_client(queue: StrictQueue) -> None:
    """A hose's sends may all find it closed."""
    client = SqsClient(queue.access, ManualClock())
    await asyncio.gather(*(client.open() for _ in range(5)))
    await client.call(LIST)
    await client.close()
    await client.close()
    with pytest.raises(UnavailableError, match="not open"):
        await client.call(LIST)


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    """Nobody listens."""
    [port] = free_ports(1)
    client = SqsClient(SqsAccess(f"http://127.0.0.1:{port}", "us-east-1"), ManualClock())
    await client.open()
    with pytest.raises(UnavailableError, match="EndpointConnectionError"):
        await client.call(LIST, starting=True)
    await client.close()


async def test_a_clock_far_from_that_of_sqs_is_told_once(client: SqsClient, proxy: StrictProxy) -> None:
    """Signatures stop working at five minutes or so: somebody should hear of it before."""
    with capture_logs() as logs:
        for ahead_seconds in (1.0, 61.0, 61.0, 0.0):
            proxy.unkind.ahead_seconds = ahead_seconds
            await client.call(LIST)
    assert [(line["event"], line["skew_seconds"]) for line in logs] == [("queue_clock_skewed", 61)]


async def test_a_refusal_tells_the_time_too(client: SqsClient, proxy: StrictProxy, clock: ManualClock) -> None:
    """An expired signature is answered with an error, and its Date says why."""
    proxy.unkind.ahead_seconds = 1000.0
    proxy.unkind.refuse = [RefusedError("RequestExpired", "Request has expired.", 400)]
    with capture_logs() as logs, pytest.raises(UnavailableError):
        await client.call(LIST, starting=True)
    assert [line["event"] for line in logs] == ["queue_clock_skewed"]
    assert client.now() == clock.now() + 1000
