"""envelope: packed, sealed, opened and sliced without a byte changed; and nothing broken passes as an envelope."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from omni_etl.envelope import (
    RAW_BYTES_MAX,
    Envelope,
    Header,
    SealedEnvelope,
    Stamp,
    TypeRange,
    checksum,
    lane_of,
    open_header,
    open_payload,
    pack,
    select,
)
from omni_etl.errors import EnvelopeError, NewerEnvelopeError
from omni_etl.event import TYPES

STAMP = Stamp("ab" * 16, "bulk", 7, 1_764_000_000_000, {"bulk": 7, "express": 2}, 20)
LINES = {"open": [b'{"a":1}', b'{"a":2}'], "click": [], "bounce": [b'{"b":"\xc3\xbc"}']}


def opened(sealed: SealedEnvelope) -> Envelope:
    """As a service gets it."""
    return open_payload(open_header(sealed.header), sealed.payload)


def changed(sealed: SealedEnvelope, **fields: object) -> SealedEnvelope:
    """With some of its header replaced."""
    header = msgspec.structs.replace(open_header(sealed.header), **fields)
    return SealedEnvelope(msgspec.json.encode(header).decode(), sealed.payload)


def test_what_was_packed_is_opened() -> None:
    """Lines by type, in their order, and a header that tells of them unopened."""
    sealed = pack(LINES, STAMP)
    found = opened(sealed)
    assert [(each.type, each.count) for each in found.header.types] == [("open", 2), ("bounce", 1)]
    assert found.lines("open") == LINES["open"]
    assert found.lines("bounce") == LINES["bounce"]
    assert found.lines("click") == []
    assert found.key == f"{'ab' * 16}-bulk-7"
    assert (found.header.event_count, found.header.accepted_count) == (3, 20)
    assert found.header.checksum == checksum(sealed.payload)


@given(
    st.dictionaries(
        st.sampled_from(sorted(TYPES)), st.lists(st.text().map(msgspec.json.encode), max_size=5), max_size=len(TYPES)
    )
)
def test_any_lines_come_back(lines: dict[str, list[bytes]]) -> None:
    """JSON lines never hold a line end of their own, so slices are exact."""
    found = opened(pack(lines, STAMP))
    assert select(found, TYPES) == [(name, each) for name, each in lines.items() if each]


def test_selecting_leaves_the_other_types_out() -> None:
    """A service gets its share."""
    found = opened(pack(LINES, STAMP))
    assert select(found, {"bounce", "click"}) == [("bounce", LINES["bounce"])]


def test_packing_again_gives_the_same_bytes() -> None:
    """A resend is the same envelope, byte for byte."""
    assert pack(LINES, STAMP) == pack(LINES, STAMP)


def test_an_envelope_without_events_opens() -> None:
    """The heartbeat of a quiet hose."""
    found = opened(pack({}, STAMP))
    assert (found.raw, found.header.event_count, found.header.types) == (b"", 0, ())


@pytest.mark.parametrize("text", ["", "no json", "[]", "{}", '{"version": 1}', '{"version": "two"}'])
def test_what_is_no_header_is_refused(text: str) -> None:
    """Anybody may put anything into a queue."""
    with pytest.raises(EnvelopeError, match="no envelope header") as refused:
        open_header(text)
    assert type(refused.value) is EnvelopeError


@pytest.mark.parametrize("text", ['{"version": 2}', '{"version": 2, "seq": []}', '{"version": 1, "codec": "brotli"}'])
def test_what_is_newer_is_no_damage(text: str) -> None:
    """Whatever else a later header holds, the version alone says that an upgrade is under way."""
    with pytest.raises(NewerEnvelopeError, match="this program reads 1, 'zstd'"):
        open_header(text)


@pytest.mark.parametrize(
    ("text", "lane"),
    [('{"lane": "express", "seq": []}', "express"), ('{"lane": "other"}', "bulk"), ("no json", "bulk")],
)
def test_a_lane_is_read_where_it_can_be(text: str, lane: str) -> None:
    """Bulk is the lane that nobody hurries for."""
    assert lane_of(text) == lane


def test_the_tracker_tells_two_contents_under_one_key_apart() -> None:
    """A tombstone of the one must not speak for the other."""
    one, other = (open_header(pack({"open": [line]}, STAMP).header) for line in (b"{}", b'{"n":1}'))
    assert one.key == other.key
    assert one.tracked_as != other.tracked_as == f"{other.key}-{other.checksum}"


@pytest.mark.parametrize(
    "fields", [{"version": 0}, {"version": 2}, {"codec": "gzip"}, {"raw_bytes": RAW_BYTES_MAX + 1}]
)
def test_a_header_we_cannot_honour_is_refused(fields: dict[str, object]) -> None:
    """No version of ours, a newer one, another codec, a bomb."""
    with pytest.raises(EnvelopeError):
        open_header(changed(pack(LINES, STAMP), **fields).header)


@pytest.mark.parametrize(
    "fields",
    [
        {"raw_bytes": 5},
        {"raw_bytes": 500},
        {"event_count": 4},
        {"types": (TypeRange("open", 2, 0, 16),)},
        {"types": (TypeRange("open", 2, 0, 16), TypeRange("bounce", 1, 17, 10))},
        {"types": (TypeRange("open", 0, 0, 16), TypeRange("bounce", 3, 16, 11))},
    ],
)
def test_a_header_that_disagrees_with_its_payload_is_refused(fields: dict[str, object]) -> None:
    """Ranges tile the payload and add up, or nothing is sliced."""
    with pytest.raises(EnvelopeError):
        opened(changed(pack(LINES, STAMP), **fields))


def test_a_damaged_payload_never_passes_as_events() -> None:
    """Whichever bit is flipped: the frame's own checksum, its size or its structure tells."""
    sealed = pack(LINES, STAMP)
    for position in range(len(sealed.payload)):
        damaged = bytearray(sealed.payload)
        damaged[position] ^= 0x10
        try:
            found = opened(SealedEnvelope(sealed.header, bytes(damaged)))
        except EnvelopeError:
            continue
        assert found.raw == opened(sealed).raw


def test_a_bomb_ends_at_the_size_its_header_claims() -> None:
    """A payload that unfolds to more than was announced is refused, not unfolded, also where its frame says how much it is."""
    sealed = pack(LINES, STAMP)
    for says in (True, False):
        bomb = zstandard.ZstdCompressor(write_content_size=says).compress(b"\0" * 50_000_000)
        tracemalloc.start()
        try:
            with pytest.raises(EnvelopeError):
                opened(SealedEnvelope(sealed.header, bomb))
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak_bytes < 1_000_000


def test_threads_may_open_at_the_same_time() -> None:
    """A decompressor shared by two threads reports corruption on good data; each opening has its own."""
    sealed = pack({"open": [b'{"x":"%d"}' % each for each in range(20_000)]}, STAMP)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: opened(sealed).header.event_count, range(40)))
    assert found == [20_000] * 40


def test_a_header_is_readable_in_a_console() -> None:
    """Plain JSON with its names; whoever looks at a queue at night can read it."""
    header = msgspec.json.decode(pack(LINES, STAMP).header)
    assert set(header) == set(Header.__struct_fields__)
    assert (header["lane"], header["seq"], header["types"][0][0]) == ("bulk", 7, "open")


@pytest.mark.parametrize(
    "header",
    [
        '{"a":' + "[" * 100_000,
        '{"version":2,"a":' + '{"a":' * 100_000,
        b'{"version":1,"hose_id":"\x80"}',
        '{"hose_id":"\ud800"}',
    ],
    ids=["arrays", "objects", "no UTF-8", "half a surrogate"],
)
def test_a_header_too_deep_or_of_broken_text_is_no_header(header: str | bytes) -> None:
    """Whoever may send to a queue must not be able to end the parent with one entry."""
    with pytest.raises(EnvelopeError, match="no envelope header"):
        open_header(header)
    assert lane_of(header) == "bulk"


def test_two_ranges_of_one_type_are_refused() -> None:
    """The lines of the first would be taken twice, and those of the second never."""
    sealed = pack({"open": [b"{}"], "click": [b"{}"]}, STAMP)
    with pytest.raises(EnvelopeError, match="two ranges of one type"):
        opened(changed(sealed, types=(TypeRange("open", 1, 0, 3), TypeRange("open", 1, 3, 3))))


def test_a_range_that_does_not_end_with_a_line_is_refused() -> None:
    """Else the last byte of it would be cut off."""
    sealed = pack({"open": [b"{}{}"]}, STAMP)
    with pytest.raises(EnvelopeError, match="does not end with a line"):
        opened(changed(sealed, event_count=2, types=(TypeRange("open", 1, 0, 2), TypeRange("click", 1, 2, 3))))


def test_nothing_stands_behind_a_payload() -> None:
    """One frame is all of it: what is behind would be under no checksum."""
    sealed = pack(LINES, STAMP)
    with pytest.raises(EnvelopeError, match="does not open"):
        opened(SealedEnvelope(sealed.header, sealed.payload + b"more"))
