"""hose.answer: what a producer hears."""

import msgspec

from omni_etl.hose.answer import REASON_CHARACTERS_MAX, REJECTIONS_SHOWN_MAX, Rejections


def test_a_short_answer_is_exactly_the_documented_one() -> None:
    """No third member unless something is left out."""
    rejections = Rejections()
    rejections.add(2, "wrong")
    assert msgspec.json.encode(rejections.answer(1)) == b'{"accepted":1,"rejected":[{"line":2,"reason":"wrong"}]}'


def test_a_body_of_rubbish_makes_a_bounded_answer() -> None:
    """All are counted, the first are shown, none is long: the answer is kept for a day."""
    rejections = Rejections()
    for line in range(1, REJECTIONS_SHOWN_MAX + 6):
        rejections.add(line, "x" * 10_000)
    answer = rejections.answer(0)
    assert (len(answer.rejected), answer.rejected_count, answer.refused) == (1_000, 1_005, 1_005)
    assert len(answer.rejected[0].reason) == REASON_CHARACTERS_MAX
