"""envelope: whatever lies in a queue opens whole or is refused by name, and never unfolds beyond what it may."""

from typing import Any

import msgspec
import zstandard
from hypothesis import strategies as st
from tests.builders import line, sealed
from tests.fuzz.budget import MIB, altered, fuzz, odd_json, within_memory, within_steps

from omni_etl.envelope import LANES, checksum, lane_of, open_header, open_payload
from omni_etl.errors import EnvelopeError

GOOD = sealed([line("open"), line("click", x="ü" * 300), line("bounce", bounce_class="10"), line("bounce", n="2")])
HEADER: dict[str, Any] = msgspec.json.decode(GOOD.header)
CLAIMS = st.sampled_from([-1, 0, 1, 64 * MIB, 64 * MIB + 1, 2**31, 2**63 - 1, 2**63, 2**64, HEADER["raw_bytes"]])


def open_or_refuse(header: str | bytes, payload: bytes) -> None:
    """What opens holds every line once, in the ranges its header names."""
    try:
        opened = open_payload(open_header(header), payload)
    except EnvelopeError:
        return
    names = [each.type for each in opened.header.types]
    assert b"".join(each + b"\n" for name in names for each in opened.lines(name)) == opened.raw
    assert len(opened.raw) == opened.header.raw_bytes


@fuzz(header=altered(GOOD.header.encode()), payload=altered(GOOD.payload))
def test_an_altered_envelope(header: bytes, payload: bytes) -> None:
    """Bits and pieces changed in both."""
    with within_memory(8 * MIB), within_steps(500):
        open_or_refuse(header, payload)
        assert lane_of(header) in LANES


@fuzz(name=st.sampled_from(sorted(HEADER)), value=odd_json() | CLAIMS)
def test_a_header_with_a_forged_member(name: str, value: Any) -> None:
    """A member of another kind, or far too great."""
    try:
        header = msgspec.json.encode({**HEADER, name: value})
    except (UnicodeEncodeError, OverflowError):
        return  # no JSON at all
    with within_memory(8 * MIB):
        open_or_refuse(header, GOOD.payload)


@fuzz(
    ranges=st.lists(st.tuples(st.sampled_from(["open", "click", ""]), *[st.integers(-2, 40)] * 3), max_size=5),
    raw=st.binary(max_size=60) | st.text("a\n", max_size=60).map(str.encode),
)
def test_forged_ranges(ranges: list[tuple[str, int, int, int]], raw: bytes) -> None:
    """A frame that is whole, under a header that cuts it otherwise."""
    payload = zstandard.ZstdCompressor().compress(raw)
    forged = {"event_count": sum(each[1] for each in ranges), "raw_bytes": len(raw), "types": ranges}
    open_or_refuse(msgspec.json.encode({**HEADER, **forged, "checksum": checksum(payload)}), payload)


@fuzz(claimed=st.integers(0, 200_000), held=st.integers(0, 64 * MIB), says=st.booleans(), behind=st.binary(max_size=9))
def test_a_bomb(claimed: int, held: int, says: bool, behind: bytes) -> None:  # noqa: FBT001 one of two frames
    """A frame of another size than its header claims, whether it says its size or not."""
    frame = zstandard.ZstdCompressor(write_content_size=says).compress(bytes(held)) + behind
    header = msgspec.json.encode({**HEADER, "raw_bytes": claimed})
    with within_memory(2 * MIB):
        open_or_refuse(header, frame)
