"""queue: names, sizes and limits, as every backend counts them. The contract's suite is in `contracts/`."""

from dataclasses import replace

import pytest

from omni_etl.backends.memory import AWS_LIMITS
from omni_etl.envelope import SealedEnvelope
from omni_etl.queue import (
    UNREADABLE,
    Lease,
    batches,
    check_leases,
    check_send,
    dead_letters,
    entry_bytes,
    queue_names,
    retention_seconds,
    siding,
)

LIMITS = replace(AWS_LIMITS, entry_bytes_max=100, batch_bytes_max=150, batch_count_max=3, lease_seconds_max=60)


def test_every_queue_has_a_name_of_its_own() -> None:
    """Lanes first; per service a siding and dead letters; one for what is no envelope."""
    names = queue_names(["metrics", "webhooks"])
    assert names[:2] == ["express", "bulk"]
    assert len(set(names)) == 7
    assert {siding("metrics"), dead_letters("webhooks"), UNREADABLE} < set(names)


def test_dead_letters_are_kept_twice_as_long() -> None:
    """A person has to find them; those of no service, too."""
    assert retention_seconds("bulk") == retention_seconds(siding("metrics")) == 7 * 86_400
    assert retention_seconds(dead_letters("metrics")) == retention_seconds(UNREADABLE) == 14 * 86_400


def test_an_entry_is_counted_as_aws_does() -> None:
    """Body in UTF-8, the attribute's name and type, and the raw value."""
    assert entry_bytes(SealedEnvelope("ü", b"\0" * 10)) == 2 + len("payload") + len("Binary") + 10


def test_batches_lose_nothing() -> None:
    """In order, none larger than asked, none empty."""
    assert batches([1, 2, 3, 4, 5], 2) == [[1, 2], [3, 4], [5]]
    assert batches([], 2) == []


@pytest.mark.parametrize(
    ("envelope", "reason"),
    [
        (SealedEnvelope("a\0b", b"x"), "U\\+0000"),
        (SealedEnvelope("a\ud800", b"x"), "U\\+D800"),
        (SealedEnvelope("", b"x"), "empty"),
        (SealedEnvelope("a", b""), "empty"),
        (SealedEnvelope("a", b"x" * 100), "114 bytes; 100"),
    ],
)
def test_one_entry_that_no_queue_may_take_stops_no_other(envelope: SealedEnvelope, reason: str) -> None:
    """It is named by its place, with a reason."""
    good = SealedEnvelope("a", b"x" * 10)
    failures = check_send([good, envelope, good], LIMITS)
    assert list(failures) == [1]
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(failures[1])


def test_a_call_that_is_too_large_is_a_fault_of_the_caller() -> None:
    """SQS refuses it as a whole; bytes of refused entries do not count."""
    with pytest.raises(ValueError, match="4 entries"):
        check_send([SealedEnvelope("a", b"x")] * 4, LIMITS)
    with pytest.raises(ValueError, match="192 bytes"):
        check_send([SealedEnvelope("a", b"x" * 50)] * 3, LIMITS)
    check_send([SealedEnvelope("a", b"x" * 50)] * 2 + [SealedEnvelope("", b"x" * 50)], LIMITS)


@pytest.mark.parametrize("lease_seconds", [-1, 61])
def test_a_lease_has_a_longest_time(lease_seconds: int) -> None:
    """And none less than nothing."""
    lease = Lease("bulk", "1", SealedEnvelope("a", b"x"), receive_count=1, sent_at=0.0)
    check_leases([lease], LIMITS, lease_seconds=60)
    with pytest.raises(ValueError, match="a lease of"):
        check_leases([lease], LIMITS, lease_seconds=lease_seconds)
    with pytest.raises(ValueError, match="4 entries"):
        check_leases([lease] * 4, LIMITS)
