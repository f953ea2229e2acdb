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
from omni_etl.outbox import BATCH_EVENTS_MAX, Batch
from omni_etl.services.webhooks.match import BODY_BYTES_MAX, cut
from omni_etl.webhook import SUBACCOUNTS_ALL, Webhook


def webhook(name: str = "w", *types: str, subaccount_id: int = SUBACCOUNTS_ALL, without: Sequence[int] = ()) -> Webhook:
    """A webhook for these types, or all."""
    events = frozenset(types) or TYPES
    return Webhook(
        name, name, "https://x.test/", events, subaccount_id=subaccount_id, exception_subaccounts=frozenset(without)
    )


def events_of(batches: Sequence[Batch]) -> list[dict[str, str]]:
    """What a receiver reads, in order."""
    return [event for batch in batches for element in orjson.loads(batch.body) for event in element["msys"].values()]


def test_a_body_is_what_sparkpost_sends() -> None:
    """A JSON array of one group each, the event as it came, byte for byte."""
    lines = [line("delivery", subject="\u00fc\u2028 \\"), line("click"), line("ab_test_completed")]
    [batch] = cut(envelope(lines), [webhook()])
    by_type = {orjson.loads(each)["type"]: each for each in lines}
    assert (
        batch.body
        == b'[{"msys":{"ab_test_event":%b}},{"msys":{"track_event":%b}},{"msys":{"message_event":%b}}]'
        % (
            by_type["ab_test_completed"],
            by_type["click"],
            by_type["delivery"],
        )
    )
    assert batch.event_count == 3
    assert (batch.webhook_id, batch.target) == ("w", "https://x.test/")


@pytest.mark.parametrize("type_name", sorted(TYPES))
def test_each_type_goes_in_its_group(type_name: str) -> None:
    """All 27, and only to those who asked."""
    [batch] = cut(envelope([line(type_name)]), [webhook("yes", type_name), webhook("no", *(TYPES - {type_name}))])
    [element] = orjson.loads(batch.body)
    assert list(element["msys"]) == [GROUP_OF[type_name]]
    assert batch.webhook_id == "yes"


@given(st.data())
def test_matching_is_what_the_webhook_says(data: st.DataObject) -> None:
    """For any events and webhooks: what is in the batches is what `Webhook.wants` says of each event."""
    types, subaccounts = ["open", "click", "bounce", "delay"], [None, 0, 1, 2]
    pairs = data.draw(
        st.lists(st.tuples(st.sampled_from(types), st.sampled_from(subaccounts)), min_size=1, max_size=30)
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
        )
        for n in range(3)
    ]
    batches = cut(envelope(lines), hooks)
    for hook in hooks:
        wanted = {n for n, (name, each) in enumerate(pairs) if hook.wants(name, each or 0)}
        received = [int(event["n"]) for event in events_of([each for each in batches if each.webhook_id == hook.id])]
        assert len(received) == len(set(received))
        assert set(received) == wanted


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (100, [100]), (101, [100, 1]), (250, [100, 100, 50])])
def test_a_batch_holds_a_hundred_at_most(count: int, sizes: list[int]) -> None:
    """Nothing is lost or doubled at the cuts, across types."""
    lines = [line("open" if n % 3 else "click", n=n) for n in range(count)]
    batches = cut(envelope(lines), [webhook()])
    assert [each.event_count for each in batches] == [len(events_of([each])) for each in batches] == sizes
    assert sorted(int(each["n"]) for each in events_of(batches)) == list(range(count))
    assert max(sizes) <= BATCH_EVENTS_MAX


@example([100_000] * 60)
@example([BODY_BYTES_MAX // 20] * 60)
@given(st.lists(st.integers(min_value=0, max_value=130_000), min_size=1, max_size=60))
def test_a_batch_fits_the_receiver(sizes: list[int]) -> None:
    """No body above 2 MiB (Django refuses 2.5), and no batch smaller than it must be."""
    batches = cut(envelope([line("open", n=n, x="x" * size) for n, size in enumerate(sizes)]), [webhook()])
    assert all(len(each.body) <= BODY_BYTES_MAX for each in batches)
    assert [int(each["n"]) for each in events_of(batches)] == list(range(len(sizes)))
    for each, following in pairwise(batches):
        first = following.body.index(b'},{"msys"') if following.event_count > 1 else len(following.body) - 2
        assert len(each.body) + first > BODY_BYTES_MAX


def test_a_redo_cuts_the_same() -> None:
    """Same webhooks, same ids and bytes; another envelope, webhook or number, another id."""
    lines, hooks = [line("open", n=n) for n in range(150)], [webhook("a"), webhook("b")]
    batches = cut(envelope(lines, seq=1), hooks)
    assert batches == cut(envelope(lines, seq=1), hooks)
    ids = [each.id for each in (*batches, *cut(envelope(lines, seq=2), hooks))]
    assert len(set(ids)) == len(ids) == 8
    assert all(str(UUID(each)) == each for each in ids)


def test_a_batch_keeps_the_webhook_of_its_cut() -> None:
    """Target and custom headers travel with the batch; the secret does not."""
    hook = Webhook("w", "", "https://x.test/", TYPES, custom_headers={"X-One": "1"}, auth_header="Basic secret")
    [batch] = cut(envelope([line()]), [hook])
    assert batch.headers == {"X-One": "1"}
    assert "secret" not in repr(batch)


def test_nothing_wanted_nothing_cut() -> None:
    """No webhooks, no matching ones, an empty envelope."""
    assert (
        cut(envelope([line()]), [])
        == cut(envelope([line()]), [webhook("w", "open")])
        == cut(envelope([]), [webhook()])
        == []
    )
