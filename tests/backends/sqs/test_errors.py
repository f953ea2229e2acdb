"""backends.sqs.errors: stop, or wait; and nothing secret is repeated."""

import pytest
from botocore import exceptions as boto

from omni_etl.backends.sqs.errors import QueueMissingError, refusal, unavailable

SECRET = "hunter2"


def said(code: str, message: str = "") -> boto.ClientError:
    """An answer of SQS."""
    return boto.ClientError({"Error": {"Code": code, "Message": message}}, "SendMessageBatch")


@pytest.mark.parametrize(
    ("error", "setting"),
    [
        (boto.NoCredentialsError(), "AWS credentials"),
        (boto.PartialCredentialsError(provider="env", cred_var="x"), "AWS credentials"),
        (boto.ProfileNotFound(profile="x"), "AWS credentials"),
        (boto.NoRegionError(), "OMNI_SQS_REGION"),
        (said("InvalidClientTokenId"), "AWS credentials"),
        (said("ExpiredToken"), "AWS credentials"),
        (said("SignatureDoesNotMatch", f"The Canonical String … x-amz-security-token:{SECRET}"), "AWS credentials"),
        (said("AccessDenied", "User: u is not authorized to perform: sqs:getqueueurl"), "AWS credentials"),
    ],
)
def test_what_waiting_cannot_heal_is_refused(error: Exception, setting: str) -> None:
    """By name; the canonical string of a bad signature holds the session token, so it is not repeated."""
    refused = refusal(error)
    assert refused is not None
    assert refused.setting == setting
    assert SECRET not in str(refused)
    assert SECRET not in str(unavailable(error))


@pytest.mark.parametrize(
    "error",
    [
        said("RequestThrottled"),
        said("OverLimit"),
        said("InternalError"),
        said("RequestExpired"),
        said("SignatureDoesNotMatch", "Signature expired: 20261125T000000Z is now earlier than …"),
        said("SignatureDoesNotMatch", "Signature not yet current: 20261125T000000Z is still later than …"),
        said("AWS.SimpleQueueService.NonExistentQueue"),
        boto.EndpointConnectionError(endpoint_url="x"),
        boto.CredentialRetrievalError(provider="x", error_msg="metadata service away"),
        boto.ReadTimeoutError(endpoint_url="x"),
        OSError("no route to host"),
    ],
)
def test_what_may_heal_is_not_refused(error: Exception) -> None:
    """Also a clock that is wrong, and a metadata service that is slow."""
    assert refusal(error) is None
    assert str(unavailable(error)).startswith("SQS: ")


def test_a_missing_queue_is_known_as_such() -> None:
    """By both of its codes; a denied action names itself."""
    for code in ("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"):
        assert isinstance(unavailable(said(code)), QueueMissingError)
    assert not isinstance(unavailable(said("InternalError")), QueueMissingError)
    assert "sqs:getqueueurl" in str(refusal(said("AccessDenied", "may not perform: sqs:getqueueurl")))


def test_a_skewed_clock_is_named() -> None:
    """Whoever reads it looks at the clock and not at the keys."""
    assert "look at the clock" in str(unavailable(said("SignatureDoesNotMatch", "Signature expired: 2026")))
