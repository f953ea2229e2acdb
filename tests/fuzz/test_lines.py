"""Files of suppressions: every record of any file is a saying or says what is wrong with it."""

import io

import pytest
from hypothesis import strategies as st
from tests.fuzz.budget import MIB, altered, fuzz, within_memory

from omni_etl.cli.suppression_lines import COLUMNS, LINE_BYTES_MAX, Format, LineError, lines, sayings, written
from omni_etl.errors import SettingsError
from omni_etl.suppression_list import Entry, is_address

ENTRIES = [
    Entry(0, "a@example.com", "transactional", "Manually Added", 'of "many"\r\nlines, and ü', 1_764_000_000_123, 1_764_000_000_456),
    Entry(7, "b@xn--bcher-kva.example", "non_transactional", "Bounce Rule", "", 1, 2, "list.of-news"),
]  # fmt: skip
KINDS: tuple[Format, ...] = ("csv", "ndjson")
NOW_MS = 1_764_000_000_789


def read(content: bytes, kind: Format) -> int:
    """How many records there were; each is right or says why not."""
    count = 0
    try:
        for each in lines(io.BytesIO(content), kind):
            count += 1
            try:
                said = sayings(each, now_ms=NOW_MS, subaccount_id=0)
            except LineError as error:
                str(error).encode("utf-8", "strict")
            else:
                assert all(is_address(saying.recipient) and 0 <= saying.said_at_ms <= NOW_MS for saying in said)
    except SettingsError:
        assert kind == "csv"
    return count


@fuzz(kind=st.sampled_from(KINDS), data=st.data())
def test_an_altered_file(kind: Format, data: st.DataObject) -> None:
    """Torn quotes, bytes that are no UTF-8, heads that name nothing."""
    read(data.draw(altered(written(ENTRIES, kind, is_first=True) * data.draw(st.integers(1, 3)))), kind)


@fuzz(text=st.text('",\r\n\0a\ud800é{}:[]', max_size=200), kind=st.sampled_from(KINDS))
def test_what_is_hardly_a_file(text: str, kind: Format) -> None:
    """Behind a head that is right."""
    body = text.encode("utf-8", "surrogatepass")
    read(body, kind)
    read(b"recipient,type,updated\n" + body, kind)


@fuzz(
    cells=st.fixed_dictionaries(
        {"updated": st.text(max_size=30), "subaccount_id": st.text(max_size=12), "description": st.text(max_size=30)}
    ),
    kind=st.sampled_from(KINDS),
)
def test_odd_cells(cells: dict[str, str], kind: Format) -> None:
    """In the columns that are read."""
    quoted = ",".join('"{}"'.format(cell.replace('"', '""')) for cell in cells.values())
    read(f"recipient,type,{','.join(cells)}\na@example.com,transactional,{quoted}\n".encode(), kind)


@pytest.mark.fuzz
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", [b"x", b'"', b'"\n', b'"a\n",', b"{", b"\r", b","])
def test_a_record_without_an_end(kind: Format, part: bytes) -> None:
    """A file of one endless line, or of one record over endless lines, costs no more memory than a short one."""
    size_bytes = LINE_BYTES_MAX * 3 // 2
    body = b"recipient,type\n" + part * (size_bytes // len(part))
    with within_memory(8 * LINE_BYTES_MAX + 2 * size_bytes + MIB):
        read(body, kind)


def test_what_was_written_is_read() -> None:
    """The figures above are of files that work."""
    assert {read(written(ENTRIES, kind, is_first=True), kind) for kind in KINDS} == {len(ENTRIES)}
    assert written(ENTRIES, "csv", is_first=True).startswith(",".join(COLUMNS).encode())
