"""services.suppressions: which events suppress whom, and once."""

from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from omni_etl.backends.database import DatabaseSuppressionList, open_database
from omni_etl.clock import ManualClock
from omni_etl.envelope import Envelope, Stamp, open_header, open_payload, pack
from omni_etl.errors import IdConflictError, LeaseLapsedError
from omni_etl.event import TYPES, suppresses
from omni_etl.service import Deadline
from omni_etl.services.suppressions import DESCRIPTION_CHARACTERS_MAX, SOURCES, Suppressions, sayings_of
from omni_etl.suppression_list import Saying

CLOCK = ManualClock()
TIME = 1_460_989_507


def event(type_name: str = "spam_complaint", **fields: str) -> bytes:
    """A canonical line."""
    basic = {"type": type_name, "event_id": "e1", "timestamp": str(TIME), "rcpt_to": "a@example.com"}
    return orjson.dumps({**basic, **fields})


CUT_AT_MS = (TIME + 3600) * 1000


def envelope(*lines: bytes, seq: int = 1) -> Envelope:
    """These lines as an opened envelope."""
    by_type: dict[str, list[bytes]] = {}
    for line in lines:
        by_type.setdefault(orjson.loads(line)["type"], []).append(line)
    sealed = pack(by_type, Stamp("hose", "express", seq, CUT_AT_MS, {"express": seq, "bulk": 0}, len(lines)))
    return open_payload(open_header(sealed.header), sealed.payload)


def saying(*lines: bytes) -> Saying:
    """The one thing that these lines say."""
    [said] = sayings_of(envelope(*lines))
    return said


def deadline(seconds: float = 60.0) -> Deadline:
    """A lease of that many seconds."""
    return Deadline(CLOCK, CLOCK.monotonic() + seconds)


@pytest.fixture
async def suppression_list(tmp_path: Path) -> AsyncIterator[DatabaseSuppressionList]:
    """The real list on SQLite, not yet open."""
    opened = DatabaseSuppressionList(open_database(f"sqlite:///{tmp_path}", "control", CLOCK), CLOCK)
    yield opened
    await opened.close()


@pytest.fixture
async def service(suppression_list: DatabaseSuppressionList) -> Suppressions:
    """The service on it."""
    opened = Suppressions(suppression_list)
    await opened.open()
    return opened


@pytest.mark.parametrize("type_name", sorted(TYPES))
@pytest.mark.parametrize("bounce_class", ["1", "10", "20", "25", "30", "40", "50", "90", "100", None])
def test_exactly_the_suppressing_events_speak(type_name: str, bounce_class: str | None) -> None:
    """The table of reference 5.3: Hard bounces, complaints, unsubscribes; the same that travel express."""
    fields = {} if bounce_class is None else {"bounce_class": bounce_class}
    said = list(sayings_of(envelope(event(type_name, **fields))))
    is_hard = type_name in {"bounce", "out_of_band"} and bounce_class in {"10", "30", "90"}
    speaks = is_hard or type_name in {"spam_complaint", "list_unsubscribe", "link_unsubscribe"}
    assert bool(said) == speaks == suppresses(type_name, bounce_class)
    assert all(each.source == SOURCES[type_name] for each in said)


def test_a_bounce_says_everything_it_knows() -> None:
    """Address as the list spells it, subaccount, kind of message, time in ms, id, source, reply."""
    line = event(
        "bounce", rcpt_to=" A@Example.com", subaccount_id="12", transactional="1", bounce_class="10", error_code="550",
        raw_reason="550-5.1.1 no\r\n550 such user", reason="masked",
    )  # fmt: skip
    assert saying(line) == Saying(
        subaccount_id=12,
        recipient="a@example.com",
        type="transactional",
        suppressed=True,
        said_at_ms=TIME * 1000,
        said_id="e1",
        source="Bounce Rule",
        description="550: 550-5.1.1 no\r\n550 such user",
    )


@pytest.mark.parametrize(
    ("fields", "recipient"),
    [
        ({"rcpt_to": "b@example.com", "raw_rcpt_to": "C@example.com"}, ["b@example.com"]),
        ({"rcpt_to": "", "raw_rcpt_to": "C@example.com"}, ["c@example.com"]),
        ({"rcpt_to": " ", "raw_rcpt_to": "C@example.com"}, ["c@example.com"]),
        ({"rcpt_to": " "}, []),
    ],
)
def test_the_recipient(fields: dict[str, str], recipient: list[str]) -> None:
    """The envelope recipient, else the one as given; without either nothing is said."""
    assert [each.recipient for each in sayings_of(envelope(event(**fields)))] == recipient


def test_nulls_and_absent_fields_are_the_primary_account_and_non_transactional() -> None:
    """What an event does not say has its default; "0" is no transactional mail."""
    bare = orjson.dumps({"type": "out_of_band", "event_id": "e", "timestamp": "1", "raw_rcpt_to": "a@b", "bounce_class": "30",
                         "rcpt_to": None, "subaccount_id": None, "transactional": None})  # fmt: skip
    assert (saying(bare).subaccount_id, saying(bare).type, saying(bare).description) == (0, "non_transactional", "")
    assert saying(event(transactional="0", subaccount_id="0")).type == "non_transactional"


def test_a_remote_server_cannot_write_a_novel() -> None:
    """The description is bounded."""
    line = event("bounce", bounce_class="10", raw_reason="x" * 100_000)
    assert len(saying(line).description) == DESCRIPTION_CHARACTERS_MAX


async def test_an_envelope_suppresses_once(service: Suppressions, suppression_list: DatabaseSuppressionList) -> None:
    """Applied twice there is one entry; deleted by hand in between, the redo does not bring it back."""
    applied = envelope(event(), event("bounce", rcpt_to="b@example.com", bounce_class="1"))
    await service.apply(applied, deadline())
    assert [each.source for each in await suppression_list.check("A@example.com")] == ["Spam Complaint"]
    assert await suppression_list.check("b@example.com") == []
    said = saying(event())
    await suppression_list.say(
        [Saying(said.subaccount_id, said.recipient, said.type, False, said.said_at_ms + 1, "x", "Manually Added", "")]
    )
    await service.apply(applied, deadline())
    assert await suppression_list.count() == 0


async def test_order_of_arrival_does_not_matter(
    service: Suppressions, suppression_list: DatabaseSuppressionList
) -> None:
    """An older event that comes later changes nothing."""
    await service.apply(envelope(event(timestamp=str(TIME + 5)), seq=1), deadline())
    await service.apply(envelope(event("list_unsubscribe", timestamp=str(TIME)), seq=2), deadline())
    [entry] = await suppression_list.check("a@example.com")
    assert (entry.source, entry.updated_at_ms) == ("Spam Complaint", (TIME + 5) * 1000)


async def test_a_lapsed_lease_has_no_effect(service: Suppressions, suppression_list: DatabaseSuppressionList) -> None:
    """The deadline is asked directly before the effect."""
    with pytest.raises(LeaseLapsedError):
        await service.apply(envelope(event()), deadline(0.0))
    assert await suppression_list.count() == 0


async def test_another_envelope_under_the_same_key_is_a_conflict(service: Suppressions) -> None:
    """Also where the other says nothing."""
    await service.apply(envelope(event()), deadline())
    with pytest.raises(IdConflictError):
        await service.apply(envelope(event("bounce", bounce_class="1")), deadline())


async def test_an_event_dated_in_the_future_speaks_as_of_its_cut() -> None:
    """A wrong clock somewhere must not win over every DELETE until its date."""
    assert saying(event(timestamp="4000000000")).said_at_ms == CUT_AT_MS
