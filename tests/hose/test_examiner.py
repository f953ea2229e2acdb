"""hose.examiner: bodies opened one at a time."""

import asyncio
import gzip
import tracemalloc

import pytest
import zstandard
from tests.hose.hoses import MIB, event

from omni_etl.clock import ManualClock
from omni_etl.errors import IntakeError
from omni_etl.hose.examiner import Examined, Examiner, Request
from omni_etl.hose.room import Room


def _examiner() -> Examiner:
    return Examiner(raw_bytes_max=64 * MIB, event_age_seconds_max=0, clock=ManualClock())


async def _examine(
    examiner: Examiner, body: bytes, request: Request | None = None, *, room: Room | None = None
) -> Examined:
    with (room or Room(MIB)).hold(0) as held:
        return await examiner.examine(body, request or Request(), held)


async def test_a_body_has_one_name_however_it_was_compressed() -> None:
    """A producer that compresses again for its next try is recognised, with a key and without."""
    examiner = _examiner()
    body = event(1) + b"\n" + event(2)
    packed = {"gzip": gzip.compress(body), "zstd": zstandard.compress(body)}
    for key in (None, "k"):
        plain = await _examine(examiner, body, Request(key=key))
        assert plain.name is not None
        for encoding, sent in packed.items():
            again = await _examine(examiner, sent, Request(encoding, key=key))
            assert (again.name, again.digest) == (plain.name, plain.digest)


async def test_another_body_has_another_digest() -> None:
    """With a key a short one, which need only notice mistakes."""
    examiner = _examiner()
    for key, size_bytes in ((None, 32), ("k", 8)):
        one, other = [await _examine(examiner, event(number), Request(key=key)) for number in (1, 2)]
        assert one.digest != other.digest
        assert len(one.digest) == size_bytes


async def test_a_body_without_key_whose_events_lack_ids_has_no_name() -> None:
    """Two equal ones are two requests."""
    found = await _examine(_examiner(), b'{"type":"open","timestamp":"1"}')
    assert found.name is None


async def test_one_body_at_a_time_is_open_and_goes_when_it_is_split() -> None:
    """However many come together: at most one of them is in memory as body and as lines."""
    pad = "x" * 100_000
    packed = zstandard.compress(b"\n".join(event(number, pad=pad) for number in range(80)))
    examiner, room = _examiner(), Room(64 * MIB)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        found = await asyncio.gather(*(_examine(examiner, packed, Request("zstd"), room=room) for _ in range(4)))
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    size_bytes = sum(each.size_bytes for each in found)
    assert after - before < 1.1 * size_bytes
    assert peak - after < 1.5 * size_bytes / 4


async def test_lines_wait_for_room_and_hold_up_only_what_comes_behind_them() -> None:
    """Those that wait for their fsync are in nobody's way: they need no turn."""
    examiner, room = _examiner(), Room(100)
    with room.hold(90) as others:
        waiting = asyncio.create_task(_examine(examiner, event(1), room=room))
        behind = asyncio.create_task(_examine(examiner, event(2), room=room))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not waiting.done()
        others.change(0)
        assert [each.checked.accepted for each in await asyncio.gather(waiting, behind)] == [1, 1]


async def test_what_lies_too_long_back_is_refused_event_by_event() -> None:
    """By the clock as it is then; an import takes it, and is another request than the one that was refused."""
    clock = ManualClock()
    examiner = Examiner(raw_bytes_max=64 * MIB, event_age_seconds_max=86_400, clock=clock)
    at = int(clock.now())
    lines = [event(age, timestamp=str(at - age)) for age in (0, 86_400, 86_401)]
    body = b"\n".join(lines)
    names = set()
    for _ in range(2):  # unknown at first, then by their looks
        found = await _examine(examiner, body)
        assert (found.checked.accepted, found.checked.rejections.count) == (2, 1)
        [rejection] = found.checked.rejections.answer(2).rejected
        assert (rejection.line, "imports say old=true" in rejection.reason) == (3, True)
        imported = await _examine(examiner, body, Request(old=True))
        assert (imported.checked.accepted, imported.checked.rejections.count) == (3, 0)
        names |= {found.name, imported.name}
    assert len(names) == 2
    clock.advance(1)
    assert (await _examine(examiner, body)).checked.accepted == 1


async def test_a_refused_body_gives_the_turn_to_the_next() -> None:
    """Nothing of it is kept."""
    examiner = _examiner()
    with pytest.raises(IntakeError):
        await _examine(examiner, b"no zstd", Request("zstd"))
    assert (await _examine(examiner, event(1))).checked.accepted == 1
