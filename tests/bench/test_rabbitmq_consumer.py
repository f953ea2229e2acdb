"""A consumer's batch: when it is due, and that a service can take it."""

from __future__ import annotations

from bench.rabbitmq_consumer import BATCH_EVENTS, BATCH_SECONDS, Batch, envelope_of
from tests.builders import line

from omni_etl.envelope import select
from omni_etl.services import message_events

DELIVERY = b"message_event.delivery"


def test_a_batch_is_due_when_large_old_or_idle_and_never_when_empty() -> None:
    """By count, by age, or because nothing more comes; the end of a run is so not waited for."""
    batch = Batch()
    assert not batch.is_due(100.0, is_idle=True)

    batch.add([(DELIVERY, b"{}")], 10.0)
    assert not batch.is_due(10.0, is_idle=False)
    assert batch.is_due(10.0, is_idle=True)
    assert batch.is_due(10.0 + BATCH_SECONDS, is_idle=False)

    batch.add([(DELIVERY, b"{}")] * BATCH_EVENTS, 10.1)
    assert batch.is_due(10.1, is_idle=False)


def test_a_batch_is_an_envelope_to_a_service() -> None:
    """Lines come by the type that their routing key names, and the real service makes rows of them."""
    batch = Batch()
    delivery, click = line("delivery"), line("click")
    batch.add([(DELIVERY, delivery), (b"track_event.click", click), (DELIVERY, delivery)], 0.0)

    envelope = batch.as_envelope(7)

    assert select(envelope, ["click", "delivery"]) == [("delivery", [delivery, delivery]), ("click", [click])]
    assert message_events.columns(envelope).num_rows == 3 + 1  # and its marker
    assert envelope.key.endswith("-7")
    assert envelope_of({}, seq=1, cut_at_ms=0).raw == b""
