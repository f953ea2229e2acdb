"""Every error of ours, as one tree. What becomes of a lease is said at each name.

OmniError
├── SettingsError            refused at start; waiting cannot heal it          stop, exit code 2
├── IntakeError              the request is refused as a whole                 HTTP answer, nothing kept
│   └── SpoolFullError       no room now; Retry-After                          HTTP 503, nothing kept
├── UnavailableError         an engine is away or full; opens the circuit      again, later
├── LeaseLapsedError         the lease's deadline passed before the effect     given back untouched
├── PoisonError              this envelope fails this service                  again, N times, then dead letter
│   └── IdConflictError      the same key came with another checksum           dead letter at once, alarm
├── EnvelopeError            a queue entry that is no envelope of ours         dead letter at once, unless too many
│   └── NewerEnvelopeError   an envelope of a newer version or codec           given back, later; alarm
└── SendError                `Hose` could not deliver events                   raised to the producer
"""

from __future__ import annotations


class OmniError(Exception):
    """The root: catch it to catch all of ours."""


class SettingsError(OmniError):
    """A setting that waiting cannot heal: names the setting, what was found and what to do."""

    def __init__(self, setting: str, found: str, fix: str) -> None:
        super().__init__(f"{setting}: found {found}. {fix}")
        self.setting = setting
        self.found = found
        self.fix = fix


class IntakeError(OmniError):
    """A request the hose refuses as a whole, with its HTTP status."""

    def __init__(self, status: int, reason: str, *, retry_after_seconds: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds


class SpoolFullError(IntakeError):
    """The spool can take no more now; nothing of the request was kept."""

    def __init__(self, reason: str, *, retry_after_seconds: int = 5) -> None:
        super().__init__(503, reason, retry_after_seconds=retry_after_seconds)


class UnavailableError(OmniError):
    """An engine is away, full or too slow. The same work may succeed later; nothing is known about this try."""


class LeaseLapsedError(OmniError):
    """The lease's deadline passed before the effect began, so someone else may hold the envelope: no effect."""


class PoisonError(OmniError):
    """An envelope that cannot be applied by this service; the message is the reason shown beside the dead letter."""


class IdConflictError(PoisonError):
    """A ledger holds this key with another checksum: two envelopes claim one name, so neither may be guessed at."""


class EnvelopeError(OmniError):
    """A queue entry that cannot be opened as an envelope; the message says what was found."""


class NewerEnvelopeError(EnvelopeError):
    """An envelope of a version or codec this program does not know yet: no damage, an upgrade is under way."""


class SendError(OmniError):
    """`Hose` gave up on a request; `status` is the last HTTP status, or None where no answer came."""

    def __init__(self, reason: str, *, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
