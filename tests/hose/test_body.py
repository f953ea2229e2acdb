"""hose.body: a request becomes events."""

from typing import Any

import orjson
import pytest
from tests.hose.hoses import event

from omni_etl.clock import ManualClock
from omni_etl.errors import IntakeError
from omni_etl.hose import body as body_module
from omni_etl.hose.body import CheckedBody, Form, check_lines, split
from omni_etl.hose.shapes import Shapes

GOOD = event(1)
SPARKPOST = {"msys": {"message_event": {"type": "bounce", "timestamp": "1", "event_id": "7", "bounce_class": "10"}}}


async def _check(body: bytes, form: Form = "any", *, digest: bytes = b"d") -> CheckedBody:
    return await check_lines(
        split(body, form), size_bytes=len(body), digest=digest, clock=ManualClock(), shapes=Shapes()
    )


def _kept(checked: CheckedBody) -> list[bytes]:
    return sorted(
        line for part in checked.parts for by_type in part.values() for lines in by_type.values() for line in lines
    )


@pytest.mark.parametrize(
    "body",
    [
        event(1) + b"\n" + event(2),
        event(1) + b"\n" + event(2) + b"\n",
        event(1) + b"\r\n" + event(2) + b"\r\n",
        b"\n\n" + event(1) + b"\n  \n" + event(2) + b"\n\n",
        b"[" + event(1) + b"," + event(2) + b"]",
        orjson.dumps([orjson.loads(event(1)), orjson.loads(event(2))], option=orjson.OPT_INDENT_2),
        b" [ " + event(1) + b" ,\n" + event(2) + b" ] ",
    ],
)
async def test_every_form_of_the_same_events_is_the_same(body: bytes) -> None:
    """Lines, arrays, white space of any kind."""
    checked = await _check(body)
    assert _kept(checked) == [event(1), event(2)]
    assert (checked.accepted, checked.rejections.count, checked.all_have_ids) == (2, 0, True)


@pytest.mark.parametrize("indent", [0, orjson.OPT_INDENT_2])
async def test_one_object_may_stand_on_one_line_or_several(indent: int) -> None:
    """As an editor or curl sends it."""
    assert _kept(await _check(orjson.dumps(orjson.loads(GOOD), option=indent))) == [GOOD]


async def test_a_sparkpost_batch_enters_as_it_is() -> None:
    """Unwrapped, and what suppresses goes by the express lane."""
    checked = await _check(orjson.dumps([SPARKPOST, {"msys": {"track_event": orjson.loads(event(2, "open"))}}]))
    assert list(checked.parts[0]["express"]) == ["bounce"]
    assert checked.parts[0]["bulk"] == {"open": [event(2, "open")]}


async def test_the_probe_is_an_element_but_no_event() -> None:
    """SparkPost asks with it whether anyone is there."""
    checked = await _check(b'[{"msys":{}}]')
    assert (checked.accepted, checked.elements, checked.rejections.count) == (0, 1, 0)


async def test_bad_lines_are_named_by_their_number_and_the_good_ones_kept() -> None:
    """Blank lines count, as an editor counts them."""
    checked = await _check(b"\n".join([GOOD, b"", b"{", b'{"type":"x","timestamp":"1"}', b"x" * 200_000, event(2)]))
    answer = checked.rejections.answer(checked.accepted)
    assert _kept(checked) == [GOOD, event(2)]
    assert [each.line for each in answer.rejected] == [3, 4, 5]
    assert answer.rejected[2].reason == "longer than 131072 bytes (200000)"


async def test_what_orjson_would_mend_in_silence_is_judged_as_it_came() -> None:
    """Doubled keys and huge numbers inside an array are seen, because its elements are taken raw."""
    body = b'[{"type":"open","timestamp":"1","type":"click"},{"type":"open","timestamp":"1","n":%d}]' % 10**30
    answer = (await _check(body)).rejections.answer(0)
    assert [each.reason.split(" ")[0:2] for each in answer.rejected] == [["the", "key"], ["the", "number"]]


async def test_a_missing_id_is_derived_from_request_position_and_content() -> None:
    """The same request derives the same ids, another one others, and two equal lines are two events."""
    line = b'{"type":"open","timestamp":"1"}'
    body = line + b"\n" + line
    first, again, other = [await _check(body, digest=digest) for digest in (b"1", b"1", b"2")]
    assert _kept(first) == _kept(again)
    assert len({*_kept(first), *_kept(other)}) == 4
    assert not first.all_have_ids
    spelled_apart = await _check(line.replace(b",", b", ") + b"\n" + line, digest=b"1")
    assert _kept(spelled_apart) == _kept(first)  # the slow way derives what the quick one does


@pytest.mark.parametrize(
    ("body", "form", "status"),
    [
        (b"", "any", 400),
        (b" \n ", "any", 400),
        (b"\n\n", "lines", 400),
        (b"[]", "any", 400),
        (b"[{}", "any", 400),
        (b"[" * 100_000, "any", 400),
        (b"[" + b"1," * body_module.COMMAS_MAX + b"11,1]", "any", 413),
        (b"[" + b"1," * body_module.LINES_MAX + b"1]", "any", 413),
        (b"{}\n" * (body_module.LINES_MAX + 1), "lines", 413),
    ],
    ids=range(9),
)
async def test_a_body_that_is_nothing_or_too_many_is_refused_whole(body: bytes, form: Form, status: int) -> None:
    """Before it is split into more objects than memory should hold."""
    with pytest.raises(IntakeError) as caught:
        await _check(body, form)
    assert caught.value.status == status


async def test_lines_means_lines() -> None:
    """An array is no event where one event a line was promised."""
    checked = await _check(b"[" + GOOD + b"]\n" + GOOD, "lines")
    assert (_kept(checked), checked.rejections.count) == ([GOOD], 1)


async def test_a_long_body_lets_others_have_their_turn() -> None:
    """Checking yields between portions, each bounded in lines and in bytes."""

    class _CountingClock(ManualClock):
        yields = 0

        async def sleep(self, seconds: float) -> None:
            self.yields += 1
            await super().sleep(seconds)

    async def _yields(lines: list[Any]) -> int:
        clock = _CountingClock()
        await check_lines(lines, size_bytes=sum(map(len, lines)), digest=b"", clock=clock, shapes=Shapes())
        return clock.yields

    assert await _yields([GOOD] * 5_000) == 49
    assert await _yields([event(1, pad="x" * 100_000)] * 100) >= 9
