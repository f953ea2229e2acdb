"""Batches, segments, verdicts and claims, as tests of the outbox need them."""

from collections.abc import Sequence

from omni_etl.outbox import Batch, Closing, DueBatch, Outbox, Segment, Verdict, Wanted

TARGET = "https://x.test/"


def batch(name: str, webhook_id: str = "w", *, event_count: int = 1, body: bytes = b"[]") -> Batch:
    """A batch that tells itself from others by its id."""
    return Batch(name, webhook_id, TARGET, {"X-One": "1"}, body, event_count)


def segment(name: str, *events: object, webhook_id: str = "w") -> Segment:
    """Of these events, each as it is written."""
    return Segment(webhook_id, name, ",".join(map(str, events)).encode(), len(events))


def closing(
    webhook_id: str = "w", *, events_max: int = 100, is_everything: bool = True, is_claimed: bool = False
) -> Closing:
    """Of a webhook that goes to `TARGET`."""
    return Closing(
        webhook_id,
        TARGET,
        {"X-One": "1"},
        events_max=events_max,
        is_everything=is_everything,
        is_claimed=is_claimed,
    )


def delivered(answer: str = "200", *, latency_ms: int = 0) -> Verdict:
    """The customer has it."""
    return Verdict(kind="delivered", answer=answer, latency_ms=latency_ms)


def retry(seconds: float, answer: str = "503", *, latency_ms: int = 0, hold_seconds: float = 0.0) -> Verdict:
    """Another attempt, then."""
    return Verdict(
        kind="retry", answer=answer, latency_ms=latency_ms, retry_in_seconds=seconds, hold_seconds=hold_seconds
    )


def given_up(answer: str = "410", *, latency_ms: int = 0, stop_reason: str | None = None) -> Verdict:
    """No more attempts."""
    return Verdict(kind="given_up", answer=answer, latency_ms=latency_ms, stop_reason=stop_reason)


def split(*halves: Batch) -> Verdict:
    """These in its place."""
    return Verdict(kind="split", answer="413", halves=halves)


async def claim(outbox: Outbox, *webhook_ids: str, count_max: int = 1_000) -> list[DueBatch]:
    """What is due now, fresh and again; of `w` where nobody is named."""
    wanted = dict.fromkeys(webhook_ids or ("w",), Wanted(fresh=count_max, retries=count_max))
    return await outbox.claim(wanted, claim_seconds=30)


def ids(due: Sequence[DueBatch]) -> list[str]:
    """Of the batches, in their order."""
    return [each.batch.id for each in due]
