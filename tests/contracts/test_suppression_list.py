"""The suppression list's contract: the greatest saying stands, and an envelope speaks once."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.builders import envelope, line

from omni_etl.backends.database import DatabaseSuppressionList, open_database
from omni_etl.clock import ManualClock
from omni_etl.envelope import Envelope
from omni_etl.errors import IdConflictError
from omni_etl.suppression_list import COMPLIANCE, Change, Entry, Place, Question, Saying, SuppressionList, Wish

BOUNCE = Saying(
    subaccount_id=0,
    recipient="ann@example.com",
    type="transactional",
    suppressed=True,
    said_at_ms=1_000,
    said_id="b",
    source="Bounce Rule",
    description="550 5.1.1 unknown",
)


@pytest.fixture
async def suppressed(database_url: str, clock: ManualClock) -> AsyncIterator[SuppressionList]:
    """An empty, open list."""
    subject = DatabaseSuppressionList(open_database(database_url, "control", clock), clock)
    await subject.open()
    yield subject
    await subject.close()


def numbered(seq: int) -> Envelope:
    """Some envelope under this number."""
    return envelope([line("bounce")], seq=seq, lane="express")


def conflicting(seq: int) -> Envelope:
    """Another envelope under the same number."""
    return envelope([line("open")], seq=seq, lane="express")


async def test_a_saying_becomes_an_entry(suppressed: SuppressionList) -> None:
    """With who said it, why and when."""
    assert await suppressed.apply(numbered(1), [BOUNCE])
    assert await suppressed.check("ann@example.com") == [
        Entry(0, "ann@example.com", "transactional", "Bounce Rule", "550 5.1.1 unknown", 1_000, 1_000)
    ]
    assert await suppressed.count() == 1


async def test_an_address_is_found_however_it_is_spelled(suppressed: SuppressionList) -> None:
    """Trimmed and in lower case; nobody else is suppressed by it."""
    await suppressed.say([BOUNCE])
    assert len(await suppressed.check(" Ann@Example.COM ")) == 1
    assert await suppressed.check("bob@example.com") == []


async def test_subaccounts_and_types_have_entries_of_their_own(suppressed: SuppressionList) -> None:
    """Asked for one subaccount, or for all."""
    await suppressed.say([BOUNCE, replace(BOUNCE, type="non_transactional"), replace(BOUNCE, subaccount_id=5)])
    found = await suppressed.check("ann@example.com")
    assert [(each.subaccount_id, each.type) for each in found] == [
        (0, "non_transactional"),
        (0, "transactional"),
        (5, "transactional"),
    ]
    assert [each.subaccount_id for each in await suppressed.check("ann@example.com", 5)] == [5]
    assert await suppressed.check("ann@example.com", 6) == []


async def test_an_envelope_speaks_once(suppressed: SuppressionList) -> None:
    """Worked on again it is known, even where its words would change something now."""
    assert await suppressed.apply(numbered(1), [BOUNCE])
    await suppressed.say([replace(BOUNCE, suppressed=False, said_at_ms=2_000)])
    assert not await suppressed.apply(numbered(1), [replace(BOUNCE, said_at_ms=3_000)])
    assert await suppressed.check("ann@example.com") == []


async def test_the_same_key_with_another_checksum_is_a_conflict(suppressed: SuppressionList) -> None:
    """Also where the second says nothing; and none of its words is heard."""
    await suppressed.apply(numbered(1), [BOUNCE])
    other = conflicting(1)
    with pytest.raises(IdConflictError, match=other.key):
        await suppressed.apply(other, [replace(BOUNCE, recipient="bob@example.com")])
    with pytest.raises(IdConflictError):
        await suppressed.apply(other, [])
    assert await suppressed.check("bob@example.com") == []


async def test_an_envelope_that_says_nothing_is_done(suppressed: SuppressionList) -> None:
    """As often as it comes."""
    assert await suppressed.apply(numbered(1), [])
    assert await suppressed.apply(numbered(1), [])


async def test_the_greatest_saying_stands_whatever_the_order(suppressed: SuppressionList) -> None:
    """By time, then by id; within one envelope and over many, shuffled fifty times."""
    rng = random.Random(7)
    sayings = [
        replace(BOUNCE, said_at_ms=at, said_id=said_id, suppressed=at % 2 == 0, description=f"{at}{said_id}")
        for at in range(5)
        for said_id in ("a", "B", "c")
    ]
    for round_number in range(50):
        shuffled = [
            replace(each, recipient=f"{round_number}@example.com") for each in rng.sample(sayings, len(sayings))
        ]
        cut = rng.randrange(len(shuffled))
        await suppressed.apply(numbered(2 * round_number), shuffled[:cut])
        await suppressed.apply(numbered(2 * round_number + 1), shuffled[cut:])
        [entry] = await suppressed.check(f"{round_number}@example.com")
        assert entry.description == "4c"


async def test_a_deletion_is_a_saying(suppressed: SuppressionList) -> None:
    """What was said before it stays deleted when it arrives late; what is said after it suppresses anew."""
    await suppressed.say([BOUNCE])
    await suppressed.say([replace(BOUNCE, suppressed=False, said_at_ms=5_000)])
    assert await suppressed.check("ann@example.com") == []
    assert await suppressed.count() == 0
    await suppressed.apply(numbered(1), [replace(BOUNCE, said_at_ms=4_999)])
    assert await suppressed.check("ann@example.com") == []
    await suppressed.apply(numbered(2), [replace(BOUNCE, said_at_ms=5_001)])
    [entry] = await suppressed.check("ann@example.com")
    assert entry.created_at_ms == 5_001


async def test_an_entry_keeps_its_creation_while_it_holds(suppressed: SuppressionList) -> None:
    """A second bounce updates it."""
    await suppressed.say([BOUNCE])
    await suppressed.say([replace(BOUNCE, said_at_ms=9_000)])
    [entry] = await suppressed.check("ann@example.com")
    assert (entry.created_at_ms, entry.updated_at_ms) == (1_000, 9_000)


async def test_a_large_envelope_is_one_step(suppressed: SuppressionList) -> None:
    """Ledger and effect may not part, so size does not split it."""
    many = [replace(BOUNCE, recipient=f"{number}@example.com") for number in range(5_000)]
    assert await suppressed.apply(numbered(1), many)
    assert await suppressed.count() == 5_000


async def test_saying_nothing_is_harmless(suppressed: SuppressionList) -> None:
    """No sayings, no entries."""
    await suppressed.say([])
    assert await suppressed.count() == 0


WISH = Wish(0, "ann@example.com", "transactional", "asked for")


async def test_lists_have_entries_of_their_own(suppressed: SuppressionList) -> None:
    """Beside the one for all mail; each is removed alone, or all with one word."""
    await suppressed.put([WISH, replace(WISH, list_id="news"), replace(WISH, list_id="offers")])
    assert [each.list_id for each in await suppressed.check("ann@example.com")] == ["", "news", "offers"]
    assert await suppressed.remove("ann@example.com", subaccount_id=0, list_id="") == "removed"
    assert await suppressed.remove("ann@example.com", subaccount_id=0, list_id="") == "unknown"
    assert [each.list_id for each in await suppressed.check("ann@example.com")] == ["news", "offers"]
    assert await suppressed.remove(" Ann@EXAMPLE.com", subaccount_id=0) == "removed"
    assert await suppressed.check("ann@example.com") == []


async def test_a_removal_touches_one_subaccount_and_the_types_named(suppressed: SuppressionList) -> None:
    """Everything else stays."""
    await suppressed.put([WISH, replace(WISH, type="non_transactional"), replace(WISH, subaccount_id=5)])
    assert await suppressed.remove("ann@example.com", subaccount_id=0, types=["transactional"]) == "removed"
    left = [(each.subaccount_id, each.type) for each in await suppressed.check("ann@example.com")]
    assert left == [(0, "non_transactional"), (5, "transactional")]


async def test_a_wish_comes_after_what_stands(suppressed: SuppressionList, clock: ManualClock) -> None:
    """Also where that is dated in the future, or was said in this very millisecond: what was answered must be true."""
    now_ms = int(clock.now() * 1000)
    await suppressed.say([replace(BOUNCE, said_at_ms=now_ms + 60_000, said_id="~")])
    await suppressed.put([WISH])
    [entry] = await suppressed.check("ann@example.com")
    assert (entry.source, entry.description, entry.created_at_ms) == ("Manually Added", "asked for", now_ms + 60_000)
    assert entry.updated_at_ms == now_ms + 60_001
    assert await suppressed.remove("ann@example.com", subaccount_id=0) == "removed"
    assert await suppressed.check("ann@example.com") == []
    await suppressed.put([WISH])
    assert len(await suppressed.check("ann@example.com")) == 1
    await suppressed.say([replace(BOUNCE, said_at_ms=now_ms + 60_000, suppressed=False)])
    assert len(await suppressed.check("ann@example.com")) == 1


async def test_compliance_yields_to_nothing(suppressed: SuppressionList) -> None:
    """Neither to a wish, a removal, nor a later event; only to what is said for compliance itself."""
    legal = replace(BOUNCE, source=COMPLIANCE, said_at_ms=500)
    await suppressed.say([BOUNCE])
    await suppressed.say([legal, replace(legal, list_id="news", source="Bounce Rule")])
    await suppressed.put([WISH])
    await suppressed.say([replace(BOUNCE, said_at_ms=9_000), replace(BOUNCE, said_at_ms=9_001, suppressed=False)])
    assert await suppressed.remove("ann@example.com", subaccount_id=0) == "compliance"
    assert [each.source for each in await suppressed.check("ann@example.com")] == [COMPLIANCE, "Bounce Rule"]
    await suppressed.say([replace(legal, said_at_ms=9_002, suppressed=False)])
    assert await suppressed.remove("ann@example.com", subaccount_id=0) == "removed"
    assert await suppressed.check("ann@example.com") == []


async def test_ten_thousand_wishes_are_one_step(suppressed: SuppressionList) -> None:
    """All of them, also where each was there before."""
    many = [replace(WISH, recipient=f"{number}@example.com") for number in range(10_000)]
    await suppressed.put(many)
    await suppressed.put(many)
    assert await suppressed.count() == 10_000
    assert await suppressed.last_change() == 20_000


def entry_said(number: int, **changed: object) -> Saying:
    """One of several that differ in everything."""
    said = replace(BOUNCE, recipient=f"{number}@example.com", said_at_ms=number * 1_000, description=f"{number}: no")
    return replace(said, **changed)  # type: ignore[arg-type]  # by name


@pytest.mark.parametrize(
    ("question", "found"),
    [
        (Question(), [1, 2, 3, 4]),
        (Question(newest_first=False), [4, 3, 2, 1]),
        (Question(subaccount_id=7), [2]),
        (Question(subaccount_id=0), [1, 3, 4]),
        (Question(recipient="3@example.org"), [3]),
        (Question(types=("non_transactional",)), [3]),
        (Question(types=("non_transactional", "transactional")), [1, 2, 3, 4]),
        (Question(sources=("Spam Complaint", "Manually Added")), [2]),
        (Question(domain="example.org"), [3]),
        (Question(domain="xample.org"), []),
        (Question(domain="%"), []),
        (Question(description="NO"), [1, 2, 3]),
        (Question(description="É%_\\\x00\x01"), [4]),
        (Question(description="É%__\x00\x01"), []),
        (Question(description="3: no", description_strict=True), [3]),
        (Question(description="3: No", description_strict=True), []),
        (Question(list_id=""), [1, 2, 3]),
        (Question(list_id="news"), [4]),
        (Question(from_ms=2_000, until_ms=4_000), [2, 3]),
        (Question(description="no", sources=("Bounce Rule",), list_id="", until_ms=1_001), [1]),
    ],
)
async def test_a_search(suppressed: SuppressionList, question: Question, found: list[int]) -> None:
    """Every condition, alone and together; page and walk agree, newest first unless asked; tombstones are not there."""
    await suppressed.say(
        [
            entry_said(1),
            entry_said(2, subaccount_id=7, source="Spam Complaint"),
            entry_said(3, type="non_transactional", recipient="3@example.org"),
            entry_said(4, list_id="news", description="some É%_\\\x00\x01"),
            entry_said(5, suppressed=False),
        ]
    )
    wanted = [each * 1_000 for each in (reversed(found) if question.newest_first else sorted(found))]
    searched = await suppressed.search(question, count_max=10)
    assert [each.updated_at_ms for each in searched] == wanted
    assert await suppressed.count(question) == len(wanted)
    assert (await suppressed.walk(question, count_max=10)).entries == searched
    assert await suppressed.search(question, count_max=1, offset=1) == searched[1:2]


@pytest.mark.parametrize("count_max", [1, 2, 3, 7, 8])
@pytest.mark.parametrize("newest_first", [True, False])
async def test_a_walk_sees_everything_once(suppressed: SuppressionList, count_max: int, *, newest_first: bool) -> None:
    """Where nothing changes: full pages, no empty one, in order, also among entries of one time."""
    await suppressed.say([entry_said(number, said_at_ms=number // 3) for number in range(7)])
    question = Question(newest_first=newest_first)
    pages = [page async for page in walk(suppressed, question, count_max)]
    assert [len(page) for page in pages[:-1]] == [count_max] * (len(pages) - 1)
    assert pages[-1]
    assert [entry for page in pages for entry in page] == await suppressed.search(question, count_max=100)


async def walk(suppressed: SuppressionList, question: Question, count_max: int) -> AsyncIterator[list[Entry]]:
    """Page by page."""
    place: Place | None = None
    while True:
        walked = await suppressed.walk(question, place, count_max=count_max)
        yield list(walked.entries)
        if walked.place is None:
            return
        place = walked.place


@pytest.mark.parametrize("newest_first", [True, False])
async def test_a_walk_misses_nothing_while_entries_change(suppressed: SuppressionList, *, newest_first: bool) -> None:
    """What holds all the while is seen as it is in the end, and twice only where it changed; a page of its own in between."""
    rng = random.Random(3)
    await suppressed.say([entry_said(number) for number in range(60)])
    seen: list[Entry] = []
    touched: set[str] = set()
    walked = await suppressed.walk(Question(newest_first=newest_first), count_max=7)
    seen += walked.entries
    while walked.place is not None:
        if len(touched) < 30:
            chosen = [entry_said(rng.randrange(50), said_at_ms=100_000 + len(seen)) for _ in range(3)]
            await suppressed.say(chosen)
            touched |= {each.recipient for each in chosen}
        walked = await suppressed.walk(Question(newest_first=newest_first), walked.place, count_max=7)
        seen += walked.entries
    last = {each.recipient: each for each in seen}
    standing = {each.recipient: each for each in await suppressed.search(Question(), count_max=100)}
    assert last == standing
    assert len(seen) == len(set(seen))
    counts = [sum(each.recipient == name for each in seen) for name in standing.keys() - touched]
    assert counts == [1] * len(counts)


async def test_the_summary_counts_by_source(suppressed: SuppressionList) -> None:
    """Of all, or of one subaccount."""
    assert await suppressed.summary() == {}
    await suppressed.say([entry_said(1), entry_said(2), entry_said(3, subaccount_id=7, source=COMPLIANCE)])
    await suppressed.say([entry_said(4, suppressed=False)])
    assert await suppressed.summary() == {"Bounce Rule": 2, COMPLIANCE: 1}
    assert await suppressed.summary(7) == {COMPLIANCE: 1}


async def test_changes_are_told_in_order(suppressed: SuppressionList) -> None:
    """With the saying that won; of several changes of one entry the last; what changed nothing is none."""
    await suppressed.say([BOUNCE, replace(BOUNCE, recipient="bob@example.com")])
    late = replace(BOUNCE, said_at_ms=900)
    gone = replace(BOUNCE, said_at_ms=2_000, suppressed=False)
    await suppressed.say([late])
    await suppressed.say([replace(BOUNCE, recipient="bob@example.com")])
    await suppressed.say([gone])
    told = await suppressed.changes(0, count_max=10)
    assert told.changes == [Change(2, replace(BOUNCE, recipient="bob@example.com"), 1_000), Change(5, gone, 2_000)]
    assert (told.up_to, told.is_all) == (5, True)
    assert await suppressed.last_change() == 5
    assert (await suppressed.changes(2, count_max=10)).changes == told.changes[1:]
    assert (await suppressed.changes(5, count_max=10)).changes == []


async def test_changes_come_some_at_a_time(suppressed: SuppressionList) -> None:
    """Each answer says up to where it knows; of a subaccount alone also where others changed after."""
    await suppressed.say([entry_said(number, subaccount_id=number % 2) for number in range(5)])
    first = await suppressed.changes(0, count_max=2)
    assert ([each.number for each in first.changes], first.up_to, first.is_all) == ([1, 2], 2, False)
    rest = await suppressed.changes(2, count_max=4)
    assert (len(rest.changes), rest.up_to, rest.is_all) == (3, 5, True)
    own = await suppressed.changes(0, count_max=10, subaccount_id=1)
    assert ({each.saying.subaccount_id for each in own.changes}, own.up_to) == ({1}, 5)


async def test_a_number_of_another_database_resumes_nothing(suppressed: SuppressionList) -> None:
    """One that has not come yet; the beginning and the end do."""
    await suppressed.say([BOUNCE])
    assert [await suppressed.can_resume(number) for number in (0, 1, 2, 2**63 - 1)] == [True, True, False, False]


async def test_a_reader_of_changes_misses_nothing(database_url: str, clock: ManualClock) -> None:
    """Though many write at once, in several processes, and commit in whatever order: what it was told up to is complete."""
    lists = [DatabaseSuppressionList(open_database(database_url, "control", clock), clock) for _ in range(3)]
    for each in lists:
        await each.open()
    copy: dict[str, Saying] = {}
    numbers: list[int] = []
    rng = random.Random(5)

    async def write(of: SuppressionList, writer: int) -> None:
        for number in range(25):
            names = rng.sample(range(40), rng.choice([1, 30]))
            said = [entry_said(name, said_at_ms=number, said_id=f"{writer}", description=f"{name}") for name in names]
            await of.say(said)

    async def read(of: SuppressionList, writing: asyncio.Future[list[None]]) -> None:
        since = 0
        while True:
            is_over = writing.done()
            told = await of.changes(since, count_max=7)
            copy.update({each.saying.recipient: each.saying for each in told.changes})
            numbers.extend(each.number for each in told.changes)
            since = told.up_to
            if is_over and told.is_all:
                return

    writing = asyncio.gather(*(write(lists[number % 2], number) for number in range(6)))
    await read(lists[2], writing)
    await writing
    whole = await lists[0].changes(0, count_max=1_000)
    for each in lists:
        await each.close()
    assert copy == {each.saying.recipient: each.saying for each in whole.changes}
    assert numbers == sorted(set(numbers))


SAYINGS = st.builds(
    Saying,
    subaccount_id=st.sampled_from([0, 7]),
    recipient=st.sampled_from(["a@example.com", "b@example.com"]),
    type=st.sampled_from(["transactional", "non_transactional"]),
    suppressed=st.booleans(),
    said_at_ms=st.integers(0, 3),
    said_id=st.sampled_from(["", "A", "a", "é", "\x00"]),
    source=st.sampled_from(["Bounce Rule", COMPLIANCE]),
    description=st.just(""),
    list_id=st.sampled_from(["", "news"]),
).map(lambda said: replace(said, description=f"{said.rank}{said.suppressed}"))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), sayings=st.lists(SAYINGS, max_size=25, unique_by=lambda said: (said.rank, _key(said))))
async def test_the_list_is_a_fold_over_the_sayings(
    suppressed: SuppressionList, data: st.DataObject, sayings: list[Saying]
) -> None:
    """In any order, cut into any steps: of each entry the greatest saying holds, and nothing else is there."""
    await suppressed.say([])
    prefix = f"{await suppressed.last_change()}."  # one database serves all examples
    sayings = [replace(each, recipient=prefix + each.recipient) for each in sayings]
    ordered = data.draw(st.permutations(sayings))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(ordered)), max_size=3)))
    for start, end in zip([0, *cuts], [*cuts, len(ordered)], strict=True):
        await suppressed.say(ordered[start:end])
    greatest: dict[object, Saying] = {}
    for each in sayings:
        greatest[_key(each)] = max(greatest.get(_key(each), each), each, key=lambda said: said.rank)
    wanted = {_key(each): (each.source, each.description) for each in greatest.values() if each.suppressed}
    found = [entry for name in "ab" for entry in await suppressed.check(f"{prefix}{name}@example.com")]
    assert {_key(each): (each.source, each.description) for each in found} == wanted


def _key(of: Saying | Entry) -> tuple[object, ...]:
    return of.recipient, of.subaccount_id, of.type, of.list_id


async def test_an_erased_recipient_is_withdrawn_and_then_forgotten(suppressed: SuppressionList) -> None:
    """Whoever follows changes hears of the end of each entry, for compliance too; whoever does not must begin anew."""
    others = replace(BOUNCE, recipient="bob@example.com")
    await suppressed.say([BOUNCE, replace(BOUNCE, subaccount_id=7, source=COMPLIANCE), others])
    since = await suppressed.last_change()
    assert await suppressed.withdraw("ann@example.com") == 2
    assert await suppressed.check("ann@example.com") == []
    told = await suppressed.changes(since, count_max=10)
    assert [(each.saying.recipient, each.saying.suppressed) for each in told.changes] == [
        ("ann@example.com", False)
    ] * 2
    assert await suppressed.can_resume(since)
    await suppressed.forget("ann@example.com")
    assert not await suppressed.can_resume(told.up_to)
    assert [each.saying.recipient for each in (await suppressed.changes(0, count_max=10)).changes] == [
        "bob@example.com"
    ]
    assert await suppressed.can_resume(await suppressed.last_change())


async def test_forgetting_takes_nothing_that_was_said_since(suppressed: SuppressionList) -> None:
    """It is newer than the erasure. And where nothing is forgotten, nobody begins anew."""
    await suppressed.say([BOUNCE])
    await suppressed.withdraw("ann@example.com")
    assert await suppressed.withdraw("ann@example.com") == 0
    await suppressed.put([Wish(0, "ann@example.com", "transactional")])
    since = await suppressed.last_change()
    await suppressed.forget("ann@example.com")
    assert len(await suppressed.check("ann@example.com")) == 1
    assert await suppressed.can_resume(since)
