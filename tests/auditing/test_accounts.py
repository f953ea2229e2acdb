"""auditing.accounts: every number stands in one figure."""

from hypothesis import given
from hypothesis import strategies as st

from omni_etl.audit import Account, Span, Tally
from omni_etl.auditing.accounts import Absent, buried_in, named
from omni_etl.auditing.sayings import ranges
from omni_etl.dead_letters import Burial, Left

SPAN = Span("h", "bulk", 3, 20, 30)
FIGURES = ("done", "sided", "dead", "discarded", "late", "missing")


def burial(seq: int, left: Left | None = None) -> Burial:
    """Of this span."""
    return Burial("metrics", f"h-bulk-{seq}", "poison", 0, left)


def test_what_a_ledger_lacks_is_explained_or_missing() -> None:
    """Dead letters explain; a siding may; what is young is late."""
    tally = Tally(settled=10, beyond=4, repeated=1)
    absent = Absent(SPAN, tally, {5: burial(5), 6: burial(6, "discarded"), 7: burial(7, "redriven"), 25: burial(25)})
    assert absent.account(is_sided=False) == Account(
        done=14, sided=1, dead=2, discarded=1, late=5, missing=5, repeated=1
    )
    assert absent.account(is_sided=True).sided == 6


@given(
    st.sets(st.integers(3, 30)), st.dictionaries(st.integers(3, 30), st.sampled_from([None, "discarded", "redriven"]))
)
def test_figures_add_up(held: set[int], left: dict[int, Left | None]) -> None:
    """To the numbers that were cut; and what is named is what is counted."""
    buried = {seq: burial(seq, how) for seq, how in left.items() if seq not in held}
    settled = sum(1 for seq in held if seq <= SPAN.settled)
    absent = Absent(SPAN, Tally(settled, len(held) - settled), buried)
    for is_sided in (False, True):
        account = absent.account(is_sided=is_sided)
        assert sum(getattr(account, name) for name in FIGURES) == SPAN.high - SPAN.low + 1
    lacking = ranges(frozenset(set(range(SPAN.low, SPAN.settled + 1)) - held))
    missing = {seq for first, last in absent.missing(lacking) for seq in range(first, last + 1)}
    assert missing == set(range(SPAN.low, SPAN.settled + 1)) - held - buried.keys()
    assert len(missing) == absent.account(is_sided=False).missing


def test_burials_are_told_by_their_keys() -> None:
    """Of this span alone; a key that is none, of what could not be read, explains nothing."""
    others = [
        Burial("metrics", key, "", 0) for key in ("h-express-5", "hh-bulk-5", "h-bulk-2", "h-bulk-31", "h-bulk-x")
    ]
    assert buried_in(SPAN, [*others, burial(4)]) == {4: burial(4)}


def test_a_gap_has_a_name() -> None:
    """A key, to be looked for, or several."""
    assert (named(SPAN, (4, 4)), named(SPAN, (4, 6))) == ("h-bulk-4", "h-bulk-4..6")
