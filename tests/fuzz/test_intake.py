"""The hose's intake: any body is refused by name or its events are kept in their canonical form."""

import asyncio
import gzip
import json

import orjson
import pytest
import zstandard
from hypothesis import strategies as st
from tests.builders import line
from tests.fuzz.budget import MIB, altered, fuzz, odd_json, odd_text, within_memory, within_steps

from omni_etl.clock import ManualClock
from omni_etl.errors import IntakeError
from omni_etl.event import STRING_FIELDS, Refused, check
from omni_etl.hose.body import Form, check_lines, split
from omni_etl.hose.encoding import decode
from omni_etl.hose.shapes import Shapes

LINES = [
    line("bounce", bounce_class="10", rcpt_to="a@example.com", rcpt_meta={"k": "v"}, rcpt_tags=["x"]),
    orjson.dumps({"msys": {"track_event": {"type": "open", "timestamp": 1764000000.5, "user_agent_parsed": {"is_prefetched": True}}}}),
    b'{"msys":{}}',
    b'{"type":"delivery","timestamp":"2026-11-25T09:00:00Z","queue_time":12,"subaccount_id":7}',
]  # fmt: skip
BODIES = [
    b"\n".join(LINES),
    b"\r\n".join(LINES),
    b"[" + b",".join(LINES) + b"]",
    orjson.dumps(orjson.loads(LINES[0]), option=orjson.OPT_INDENT_2),
]
RAW_BYTES_MAX = MIB
FORMS: tuple[Form, ...] = ("any", "lines")


def said(error: Refused | IntakeError) -> None:
    """Words, and for a whole body a status that is the producer's to mend."""
    assert str(error)
    assert not isinstance(error, IntakeError) or error.status in {400, 413, 415}


def kept(text: bytes) -> bytes | None:
    """What `check` would keep; None where it refuses. What is kept passes again as it is."""
    try:
        checked = check(text)
    except Refused as refused:
        said(refused)
        return None
    if checked is None:
        return None
    again = check(checked.line)
    assert again is not None
    assert (again.line, again.type, again.suppresses) == (checked.line, checked.type, checked.suppresses)
    assert orjson.dumps(orjson.loads(checked.line)) == checked.line
    assert b"\n" not in checked.line
    return checked.line


@fuzz(text=st.sampled_from(LINES).flatmap(altered))
def test_an_altered_line(text: bytes) -> None:
    """Refused with words, or canonical."""
    with within_steps(40 * len(text) + 1000):
        kept(text)


@fuzz(
    pairs=st.lists(
        st.tuples(
            st.sampled_from(["type", "x", "\\u0078", "event_id"]),
            st.sampled_from(
                ['"open"', "1", "1e2", "18446744073709551616", '{"a":1,"a":1}', '{"a":{"b":[{"c":1,"c":2}]}}', "[]"]
            ),
        ),
        max_size=4,
    ),
    space=st.sampled_from(["", " "]),
)
def test_doubled_keys_and_huge_numbers(pairs: list[tuple[str, str]], space: str) -> None:
    """Readers differ in which of two they take, so none of them enters, however deep and however it is spelled."""
    members = ['"type":"open"', '"timestamp":"1"', *(f'"{name}":{space}{value}' for name, value in pairs)]
    text = f"{{{','.join(members)}}}".encode()
    if kept(text) is not None:
        json.loads(text, object_pairs_hook=_are_single, parse_int=_fits)


@fuzz(
    members=st.dictionaries(
        st.sampled_from(sorted(STRING_FIELDS | {"user_agent_parsed", "msys"})), odd_json(), max_size=6
    ),
    timestamp=odd_text() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False),
)
def test_odd_values_in_the_fields_that_are_read(members: dict[str, object], timestamp: object) -> None:
    """Whatever stands in them."""
    try:
        text = orjson.dumps({"type": "bounce", "timestamp": timestamp, **members})
    except TypeError:
        return  # no JSON of 64-bit numbers and UTF-8
    kept(text)


@fuzz(text=st.text('{}[]",:\\u0d8 1e-.ntf\r', max_size=200).map(str.encode) | st.binary(max_size=100))
def test_what_is_hardly_json(text: bytes) -> None:
    """Quotes, brackets, escapes and halves of surrogates."""
    with within_steps(40 * len(text) + 1000):
        kept(text)
        kept(b'{"type":"open","timestamp":"1","x":' + text + b"}")


@fuzz(body=st.sampled_from(BODIES).flatmap(altered), form=st.sampled_from(FORMS))
def test_an_altered_body(body: bytes, form: Form) -> None:
    """Lines, arrays and objects over several lines; the shapes say of each line what `check` says."""
    try:
        lines = split(body, form)
        checked = asyncio.run(
            check_lines(lines, size_bytes=len(body), digest=b"d", clock=ManualClock(), shapes=Shapes())
        )
    except IntakeError as error:
        said(error)
        return
    found = [each for part in checked.parts for lane in part.values() for lines in lane.values() for each in lines]
    assert len(found) == checked.accepted
    assert all(kept(each) == each for each in found)
    assert checked.accepted + checked.rejections.count <= checked.elements


@fuzz(
    body=st.sampled_from([*BODIES, bytes(4 * RAW_BYTES_MAX)]),
    encoding=st.sampled_from(["gzip", "zstd", "zstd without a size", "several", "", "identity"]),
    data=st.data(),
)
def test_an_altered_compressed_body(body: bytes, encoding: str, data: st.DataObject) -> None:
    """Damaged frames, several of them, other encodings: within the limit, whatever they claim."""
    sealed = data.draw(altered(_sealed(body, encoding)))
    for name in ("gzip", "zstd", "", encoding):
        with within_memory(RAW_BYTES_MAX + 16 * MIB):
            try:
                plain = decode(sealed, name, raw_bytes_max=RAW_BYTES_MAX)
            except IntakeError as error:
                said(error)
            else:
                assert len(plain) <= RAW_BYTES_MAX


def _sealed(body: bytes, encoding: str) -> bytes:
    if encoding == "gzip":
        return gzip.compress(body, mtime=0)
    if encoding.startswith("zstd"):
        return zstandard.ZstdCompressor(write_content_size=encoding == "zstd").compress(body)
    if encoding == "several":
        return zstandard.ZstdCompressor().compress(body) * 2
    return body


def _are_single(pairs: list[tuple[str, object]]) -> dict[str, object]:
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def _fits(digits: str) -> int:
    assert -(2**63) <= int(digits) < 2**64
    return int(digits)


@pytest.mark.fuzz
@pytest.mark.parametrize("at", ["array", "object", "member"])
def test_depth(at: str) -> None:
    """A hundred thousand brackets are refused, not followed."""
    deep = b"[" * 100_000
    body = {"array": deep, "object": b'{"a":\n' * 50_000, "member": b'{"type":"open","timestamp":"1","x":' + deep}[at]
    with within_steps(5_000_000):
        try:
            lines = split(body, "any")
        except IntakeError:
            return
        assert all(kept(each) is None for each in lines[:5])
