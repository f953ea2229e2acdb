"""erased: what is about someone who was erased, and older, is left out; the rest stays as it was."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import CUT_AT_MS, envelope, line

from omni_etl.envelope import Envelope
from omni_etl.erasure import name_of
from omni_etl.event import TYPES
from omni_etl.services.message_events import columns
from omni_etl.services.metrics import families
from omni_etl.supervisor.channel import Forget
from omni_etl.supervisor.erased import Erased
from omni_etl.suppression_list import address_key

SECRET = b"s" * 32
CUT_AT = CUT_AT_MS // 1000


def erased(**until: int) -> Erased:
    """So many seconds beside the cut, by local part."""
    subject = Erased()
    subject.hear(
        Forget(SECRET, [(name_of(f"{who}@x.test", SECRET), (CUT_AT + at) * 1000) for who, at in until.items()])
    )
    return subject


def event(who: str, at: int, type_name: str = "delivery", **fields: str) -> bytes:
    """Of this second beside the cut."""
    return line(type_name, timestamp=str(CUT_AT + at), rcpt_to=f"{who}@x.test", **fields)


def lines(found: Envelope) -> list[bytes]:
    """As they stand."""
    return found.raw.splitlines()


def test_older_events_go_and_younger_ones_stay() -> None:
    """To the second; of others nothing goes. The ledger's words on the envelope stay what they were."""
    kept = [event("a", -4), event("b", -90)]
    whole = envelope([event("a", -5), *kept, event("a", -60)])
    found, count = erased(a=-5).sift(whole, TYPES)
    assert (lines(found), count) == (kept, 2)
    for name in ("key", "checksum", "event_count", "cut_at_ms"):
        assert getattr(found.header, name) == getattr(whole.header, name)


@pytest.mark.parametrize(
    "fields",
    [
        {"rcpt_to": "a@x.test"},
        {"rcpt_to": " A@X.Test "},
        {"raw_rcpt_to": "a@X.test"},
        {"rcpt_to": "other@x.test", "raw_rcpt_to": "a@x.test"},
    ],
)
def test_every_spelling_is_the_same_person(fields: dict[str, str]) -> None:
    """In either field, as the suppression list reads them."""
    found, count = erased(a=0).sift(envelope([line(**fields), line(rcpt_to="b@x.test"), line()]), TYPES)
    assert (len(lines(found)), count) == (2, 1)


def test_an_event_dated_in_the_future_is_as_old_as_its_envelope() -> None:
    """It was known before the erasure, whatever it says."""
    future = [event("a", 100), event("b", 100)]
    assert erased(a=0).sift(envelope(future), TYPES)[1] == 1
    assert erased(a=-1).sift(envelope(future), TYPES)[1] == 0


def test_without_erasures_an_envelope_is_not_even_read() -> None:
    """The way of nearly every envelope of nearly everybody."""
    broken = Envelope(envelope([line()]).header, b"no lines")
    assert Erased().sift(broken, TYPES) == (broken, 0)


def test_young_envelopes_are_handed_on_as_they_are() -> None:
    """The same bytes, without a copy."""
    whole = envelope([event("a", -1), event("b", -1)])
    found, count = erased(a=-2).sift(whole, TYPES)
    assert (found is whole, count) == (True, 0)


def test_only_types_that_the_service_reads_are_looked_at() -> None:
    """The others are nobody's business in this child."""
    whole = envelope([event("a", -1, "bounce"), event("a", -1, "open"), event("b", -1, "open")])
    found, count = erased(a=0).sift(whole, {"open"})
    assert (count, found.lines("open")) == (1, [event("b", -1, "open")])
    assert len(found.lines("bounce")) == 1


def test_more_erasures_add_to_those_before() -> None:
    """Whoever was erased twice is erased until the later time."""
    subject = erased(a=-5)
    for who, at in (("b", -5), ("a", -9), ("c", 0), ("b", -2)):
        subject.hear(Forget(SECRET, [(name_of(f"{who}@x.test", SECRET), (CUT_AT + at) * 1000)]))
    times = {"a": -5, "b": -2, "c": 0}
    whole = envelope([event(who, at + more) for who, at in times.items() for more in (0, -1)])
    assert subject.sift(whole, TYPES)[1] == 6
    younger = envelope([event(who, at + 1) for who, at in times.items() if at], cut_at_ms=CUT_AT_MS + 10_000)
    assert subject.sift(younger, TYPES)[1] == 0


EVENTS = st.tuples(
    st.sampled_from(["a", "b", "c", "É"]), st.integers(-5, 5), st.sampled_from(["delivery", "open", "bounce", "click"])
)


@given(st.lists(EVENTS, max_size=20), st.dictionaries(st.sampled_from(["a", "b", "c", "é"]), st.integers(-5, 5)))
def test_exactly_what_is_erased_is_left_out(found: list[tuple[str, int, str]], until: dict[str, int]) -> None:
    """Of any mix; and what is left is an envelope that services read like any other."""
    made = [event(who, at, name, subject=str(number)) for number, (who, at, name) in enumerate(found)]
    whole = envelope(made)
    left, count = erased(**until).sift(whole, TYPES)

    def stays(each: bytes) -> bool:
        members = orjson.loads(each)
        at = min(int(members["timestamp"]), CUT_AT)
        return at > CUT_AT + until.get(address_key(members["rcpt_to"]).partition("@")[0], -99)

    assert lines(left) == [each for each in lines(whole) if stays(each)]
    assert count == len(made) - len(lines(left))
    types = {each.type: left.lines(each.type) for each in left.header.types}
    assert [each for name in types for each in types[name]] == lines(left)
    assert columns(left).column("raw").to_pylist() == [*lines(left), b""]
    assert columns(left).column("row_count").to_pylist()[-1] == len(made)
    assert families.columns(left).column("row_count").to_pylist()[-1] == len(made)
