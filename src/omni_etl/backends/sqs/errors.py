"""What botocore and SQS say, as errors of ours: what waiting heals is `UnavailableError`, what it cannot `SettingsError`.

Only a start is refused. A running process meets expired credentials or a deleted queue as `UnavailableError` and tries
again, because a role may be renewed and a queue made anew while its spool or its leases wait.
"""

from __future__ import annotations

from typing import Final

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from omni_etl.errors import SettingsError, UnavailableError

CREDENTIALS: Final = "AWS credentials"
REGION: Final = "OMNI_SQS_REGION"
WORD_CHARACTERS_MAX: Final = 200

REFUSED: Final = frozenset(
    {
        *("InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId", "AuthFailure"),
        *("SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature", "InvalidSecurity"),
        *("MissingAuthenticationToken", "MissingAuthenticationTokenException"),
        *("ExpiredToken", "ExpiredTokenException", "OptInRequired"),
    }
)
DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException", "KmsAccessDenied", "KMS.AccessDeniedException"})
MISSING: Final = frozenset({"QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"})
# A clock that is wrong, or a loop that was blocked between signing and sending: both heal (boto/boto3#190).
SKEWED: Final = frozenset({"RequestExpired", "RequestTimeTooSkewed"})

FAILURES: Final = (boto.BotoCoreError, boto.ClientError, ResponseParserError, OSError)
"""Everything that a call of aiobotocore raises where SQS, the network or the configuration is at fault."""

_NO_CREDENTIALS: Final = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.ProfileNotFound,
    boto.ConfigParseError,
    boto.ConfigNotFound,
)
_NO_REGION: Final = (boto.NoRegionError, boto.InvalidRegionError, boto.UnknownRegionError)


class QueueMissingError(UnavailableError):
    """SQS says that there is no such queue. A start is refused then; later it counts as away, because it may come back."""


def code_of(error: Exception) -> str:
    """The code SQS answered; empty where it is no answer of SQS."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, boto.ClientError) else ""


def unavailable(error: Exception) -> UnavailableError:
    """Whatever happened, the same call may succeed later."""
    kind = QueueMissingError if code_of(error) in MISSING else UnavailableError
    return kind(f"SQS: {_word(error)}")


def refusal(error: Exception) -> SettingsError | None:
    """What a start refuses; None where waiting may heal it. Repeats no secret."""
    if isinstance(error, _NO_CREDENTIALS):
        found = f"none that can be used ({type(error).__name__})"
        fix = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or give this machine a role."
        return SettingsError(CREDENTIALS, found, fix)
    if isinstance(error, _NO_REGION):
        return SettingsError(REGION, "no region that can be used", "Name it, for example eu-west-1.")
    code = code_of(error)
    if code in REFUSED and not _is_skewed(error):
        # The message of a bad signature repeats the signed headers, and so a session token.
        return SettingsError(CREDENTIALS, f"some that SQS refuses ({code})", "Correct or renew them.")
    if code in DENIED:
        return SettingsError(
            CREDENTIALS,
            f"some that may not do this ({_word(error)})",
            "Allow what `omni queues describe` prints as policy for this role.",
        )
    return None


def _is_skewed(error: Exception) -> bool:
    """SQS answers an expired signature with the code of a wrong one; only its words differ."""
    text = str(error).lower()
    return "expired:" in text or "signature expired" in text or "not yet current" in text


def _word(error: Exception) -> str:
    code = code_of(error)
    if code in REFUSED:
        return f"{code}{': the signature is not of this time; look at the clock' if _is_skewed(error) else ''}"
    if isinstance(error, boto.ClientError):
        said = str(error.response.get("Error", {}).get("Message", ""))
        return f"{code}: {said.splitlines()[0] if said else 'no reason given'}"[:WORD_CHARACTERS_MAX]
    return f"{type(error).__name__}: {error}"[:WORD_CHARACTERS_MAX]
