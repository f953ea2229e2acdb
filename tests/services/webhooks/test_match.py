"""services.webhooks.match: each webhook gets exactly its events, in batches that receivers take."""

from collections.abc import Sequence
from itertools import pairwise
from uuid import UUID

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.builders import envelope, line

from omni_etl.event import GROUP_OF, TYPES
from omni_etl.outbox import Cut, Segment
from omni_etl.services.webhooks.match import BODY_BYTES_MAX, cut
from omni_etl.webhook import BATCH_EVENTS_MAX, SUBACCOUNTS_ALL, Webhook


def webhook(
    name: str = "w",
    *types: str,
    subaccount_id: int = SUBACCOUNTS_ALL,
    without: Sequence[int] = (),
    events_max: int = 100,
) -> Webhook:
    """A webhook for these types, or all."""
    return Webhook(
        name,
        name,
        "https://x.test/",
        frozenset(types) or TYPES,
        subaccount_id=subaccount_id,
        exception_subaccounts=frozenset(without),
        batch_events_max=events_max,
    )


def bodies(pieces: Cut, webhook_id: str = "w") -> list[bytes]:
    """What its batches hold, and what a segment will, as batches of their own."""
    batches = [each.body for each in pieces.batches if each.webhook_id == webhook_id]
    return batches + [b"[%b]" % each.elements for each in pieces.segments if each.webhook_id == webhook_id]


def events_of(bodies: Sequence[bytes]) -> list[dict[str, str]]:
    """What a receiver reads, in order."""
    return [event for body in bodies for element in orjson.loads(body) for event in element["msys"].values()]


def only_segment(pieces: Cut) -> Segment:
    """Nothing else was cut."""
    assert not pieces.batches
    [segment] = pieces.segments
    return segment


def test_a_body_is_what_sparkpost_sends() -> None:
    """A JSON array of one group each, the event as it came, byte for byte."""
    lines = [line("delivery", subject="\u00fc\u2028 \\"), line("click"), line("ab_test_completed")]
    pieces = cut(envelope(lines), [webhook(events_max=3)])
    by_type = {orjson.loads(each)["type"]: each for each in lines}
    [batch] = pieces.batches
    assert (
        batch.body
        == b'[{"msys":{"ab_test_event":%b}},{"msys":{"track_event":%b}},{"msys":{"message_event":%b}}]'
        % (by_type["ab_test_completed"], by_type["click"], by_type["delivery"])
    )
    assert (batch.webhook_id, batch.target, batch.event_count, pieces.segments) == ("w", "https://x.test/", 3, [])
    segment = only_segment(cut(envelope(lines), [webhook()]))
    assert (b"[%b]" % segment.elements, segment.webhook_id, segment.event_count) == (batch.body, "w", 3)


@pytest.mark.parametrize("type_name", sorted(TYPES))
def test_each_type_goes_in_its_group(type_name: str) -> None:
    """All 27, and only to those who asked."""
    segment = only_segment(
        cut(envelope([line(type_name)]), [webhook("yes", type_name), webhook("no", *(TYPES - {type_name}))])
    )
    element = orjson.loads(segment.elements)
    assert list(element["msys"]) == [GROUP_OF[type_name]]
    assert segment.webhook_id == "yes"


@given(st.data())
def test_matching_is_what_the_webhook_says(data: st.DataObject) -> None:
    """For any events and webhooks, each gets what `Webhook.wants` says of each event, once, and no more in a batch than it takes."""
    types, subaccounts = ["open", "click", "bounce", "delay"], [None, 0, 1, 2, 77]
    pairs = data.draw(
        st.lists(st.tuples(st.sampled_from(types), st.sampled_from(subaccounts)), min_size=1, max_size=60)
    )
    lines = [
        line(name, n=n, **({} if each is None else {"subaccount_id": str(each)}))
        for n, (name, each) in enumerate(pairs)
    ]
    hooks = [
        Webhook(
            f"w{n}",
            "",
            "",
            frozenset(data.draw(st.sets(st.sampled_from(types)))),
            subaccount_id=data.draw(st.sampled_from([SUBACCOUNTS_ALL, 0, 1, 3])),
            exception_subaccounts=frozenset(data.draw(st.sets(st.sampled_from([0, 1, 2])))),
            active=data.draw(st.booleans()),
            batch_events_max=data.draw(st.integers(1, 12)),
        )
        for n in range(4)
    ]
    pieces = cut(envelope(lines), hooks)
    for hook in hooks:
        wanted = {n for n, (name, each) in enumerate(pairs) if hook.wants(name, each or 0)}
        received = [int(event["n"]) for event in events_of(bodies(pieces, hook.id))]
        assert len(received) == len(set(received))
        assert set(received) == wanted
        full = [each.event_count for each in pieces.batches if each.webhook_id == hook.id]
        assert full == [hook.batch_events_max] * (len(wanted) // hook.batch_events_max)
        left = [each.event_count for each in pieces.segments if each.webhook_id == hook.id]
        assert left == [each for each in [len(wanted) % hook.batch_events_max] if each]


@pytest.mark.parametrize(
    ("count", "events_max", "full", "left"),
    [(1, 100, 0, 1), (100, 100, 1, 0), (101, 100, 1, 1), (250, 100, 2, 50), (250, 7, 35, 5), (250, 1, 250, 0),
     (250, 1000, 0, 250)],
)  # fmt: skip
def test_a_segment_is_what_is_left_of_full_batches(count: int, events_max: int, full: int, left: int) -> None:
    """A hundred at most, or what the webhook says; nothing is lost or doubled at the cuts, across types."""
    lines = [line("open" if n % 3 else "click", n=n) for n in range(count)]
    pieces = cut(envelope(lines), [webhook(events_max=events_max)])
    assert [each.event_count for each in pieces.batches] == [events_max] * full
    assert [each.event_count for each in pieces.segments] == [left] * bool(left)
    assert [len(events_of([each])) for each in bodies(pieces)] == [events_max] * full + [left] * bool(left)
    assert sorted(int(each["n"]) for each in events_of(bodies(pieces))) == list(range(count))
    assert webhook().batch_events_max == BATCH_EVENTS_MAX == 100


@example([100_000] * 60)
@example([BODY_BYTES_MAX // 20] * 60)
@given(st.lists(st.integers(min_value=0, max_value=130_000), min_size=1, max_size=60))
def test_a_batch_fits_the_receiver(sizes: list[int]) -> None:
    """No body above 2 MiB (Django refuses 2.5), and no batch smaller than it must be."""
    pieces = cut(envelope([line("open", n=n, x="x" * size) for n, size in enumerate(sizes)]), [webhook()])
    cuts = bodies(pieces)
    assert all(len(each) <= BODY_BYTES_MAX for each in cuts)
    assert [int(each["n"]) for each in events_of(cuts)] == list(range(len(sizes)))
    for each, following in pairwise(cuts):
        first = following.find(b'},{"msys"')
        assert len(each) + (first if first > 0 else len(following) - 2) > BODY_BYTES_MAX


def test_a_redo_cuts_the_same() -> None:
    """Same webhooks, same ids, names and bytes; another envelope, webhook or number, another id or name."""
    lines, hooks = [line("open", n=n) for n in range(250)], [webhook("a"), webhook("b")]
    first, second = cut(envelope(lines, seq=1), hooks), cut(envelope(lines, seq=2), hooks)
    assert first == cut(envelope(lines, seq=1), hooks)
    ids = [each.id for each in (*first.batches, *second.batches)]
    assert len(set(ids)) == len(ids) == 8
    assert all(str(UUID(each)) == each for each in ids)
    assert len({each.name for each in (*first.segments, *second.segments)}) == 4


def test_a_batch_keeps_the_webhook_of_its_cut() -> None:
    """Target and custom headers travel with the batch; the secret does not."""
    hook = Webhook(
        "w", "", "https://x.test/", TYPES, custom_headers={"X-One": "1"}, auth_header="Basic secret", batch_events_max=1
    )
    [batch] = cut(envelope([line()]), [hook]).batches
    assert batch.headers == {"X-One": "1"}
    assert "secret" not in repr(batch)


def test_nothing_wanted_nothing_cut() -> None:
    """No webhooks, no matching ones, an empty envelope."""
    assert (
        cut(envelope([line()]), [])
        == cut(envelope([line()]), [webhook("w", "open")])
        == cut(envelope([]), [webhook()])
        == Cut([], [])
    )
