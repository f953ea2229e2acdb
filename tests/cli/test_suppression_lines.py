"""cli.suppression_lines: records of a file, read one at a time, and what each says."""

import io
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from omni_etl.cli import suppression_lines
from omni_etl.cli.suppression_lines import LINE_BYTES_MAX, Format, Line, LineError, format_of, lines, sayings, written
from omni_etl.errors import SettingsError
from omni_etl.suppression_list import SOURCES, TYPES, Entry, Saying, SuppressionType

NOW_MS = 1_700_000_000_000
GOOD = {"recipient": "A@x.example", "type": "transactional"}


def read(text: bytes, kind: Format = "csv") -> list[Line]:
    """A whole file."""
    return list(lines(io.BytesIO(text), kind))


def said(members: dict[str, Any], **more: Any) -> list[Saying]:
    """What one record says."""
    return sayings(Line(1, {**members, **more}), now_ms=NOW_MS, subaccount_id=3)


@pytest.mark.parametrize(
    ("path", "format_said", "kind"),
    [
        ("a.csv", "", "csv"),
        ("A.CSV", "", "csv"),
        ("a.ndjson", "", "ndjson"),
        ("a.jsonl", "", "ndjson"),
        ("a.csv", "ndjson", "ndjson"),
    ],
)
def test_the_name_says_the_format(path: str, format_said: str, kind: str) -> None:
    """Unless it is said otherwise."""
    assert format_of(path, format_said) == kind


@pytest.mark.parametrize(("path", "format_said"), [("-", ""), ("list", ""), ("a.csv", "xls")])
def test_a_format_is_not_guessed(path: str, format_said: str) -> None:
    """It is asked for."""
    with pytest.raises(SettingsError, match="--format csv"):
        format_of(path, format_said)


def test_csv_by_the_names_of_its_columns() -> None:
    """In any order and case, with a mark at the beginning as Excel writes it, and lines within quotes; numbers are the file's."""
    text = '\ufeffType, Email ,description,other\r\ntransactional,a@x.example,"one\ntwo",x\r\nnon_transactional,b@x.example,,\r\n'
    [first, second] = read(text.encode())
    assert (first.number, first.members["email"], first.members["description"]) == (2, "a@x.example", "one\ntwo")
    assert (second.number, second.members["type"]) == (4, "non_transactional")


def test_columns_of_booleans() -> None:
    """As SparkPost's template for an upload has them."""
    text = b"recipient,transactional,non_transactional\na@x.example,TRUE,false\nb@x.example,1,true\nc@x.example,,\nd@x.example,yes,\n"
    found = read(text)
    assert [[each.type for each in said(dict(line.members))] for line in found[:2]] == [["transactional"], list(TYPES)]
    with pytest.raises(LineError, match="Must supply a suppression type"):
        said(dict(found[2].members))
    with pytest.raises(LineError, match="transactional must be a boolean if present"):
        said(dict(found[3].members))


def test_csv_lines_that_are_none() -> None:
    """Named by number; what follows is read."""
    text = b'recipient,type\n"a"x,b\na@x.example,b,c\n\xff@x.example,b\n' + b"x" * 200_000 + b",b\nlast@x.example,b\n"
    found = read(text)
    assert [(each.number, each.problem.partition(":")[0]) for each in found] == [
        (2, "not CSV"),
        (3, "more cells than its head"),
        (4, "not UTF-8"),
        (5, "not CSV"),
        (6, ""),
    ]


@pytest.mark.parametrize("head", [b"", b"a,b\n", b"\n\n", b'"recipient\n', b"\xff\n"])
def test_a_csv_without_names_is_refused(head: bytes) -> None:
    """As a whole, and not line by line a million times."""
    with pytest.raises(SettingsError, match="recipient,type,source"):
        read(head)


def test_ndjson_lines_that_are_none() -> None:
    """Likewise; empty lines are nothing."""
    long = b'{"recipient":"' + b"x" * (3 * LINE_BYTES_MAX) + b'"}\n'
    found = read(b'{"recipient":1}\n\n[1]\n{\n' + long + b'\xff\n{"recipient":"a"}', "ndjson")
    assert [(each.number, each.problem.partition(":")[0]) for each in found] == [
        (1, ""),
        (3, "not a JSON object"),
        (4, "not JSON"),
        (5, f"longer than {LINE_BYTES_MAX} bytes"),
        (6, "not JSON"),
        (7, ""),
    ]


def test_a_file_is_left_open() -> None:
    """It is not ours: standard input is one."""
    for kind in ("csv", "ndjson"):
        file = io.BytesIO(b"recipient\na\n")
        list(lines(file, "csv" if kind == "csv" else "ndjson"))
        assert not file.closed


def test_what_is_not_said_has_its_default() -> None:
    """Now, by hand, of the subaccount that was named on the command line."""
    assert said(GOOD) == [Saying(3, "a@x.example", "transactional", True, NOW_MS, "", "Manually Added", "")]
    assert said({"email": "a@bücher.example", "transactional": True})[0].recipient == "a@xn--bcher-kva.example"


def test_everything_may_be_said() -> None:
    """As an export says it; a time to come counts as now."""
    more = {"source": "Compliance", "description": "d", "list_id": "news", "subaccount_id": "7"}
    [one] = said(GOOD, **more, updated="2017-02-01T01:01:01.250+01:00")
    assert one == Saying(7, "a@x.example", "transactional", True, 1_485_907_261_250, "", "Compliance", "d", "news")
    assert said(GOOD, updated="2999-01-01", subaccount_id=0)[0].said_at_ms == NOW_MS
    assert (
        said(GOOD, updated="2017-02-01T01:01:01Z")[0].said_at_ms
        == said(GOOD, updated="2017-02-01 01:01:01")[0].said_at_ms
    )


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"recipient": "nobody"}, "Invalid email address: nobody"),
        ({"recipient": None}, "Invalid email address: none"),
        ({"recipient": 7}, "Invalid email address: 7"),
        ({"type": "both"}, "Type must be one of"),
        ({"type": None}, "Must supply a suppression type"),
        ({"source": "Somebody"}, "source must be one of"),
        ({"source": []}, None),
        ({"source": ["Compliance"]}, "source must be one of"),
        ({"description": 7}, "description must be a string"),
        ({"description": "x" * 5_000}, "description must be a string of at most"),
        ({"list_id": "a..b"}, "list_id must be"),
        ({"list_id": 7}, "list_id must be"),
        ({"subaccount_id": "x"}, "subaccount_id must be a number"),
        ({"subaccount_id": 2**31}, "subaccount_id must be a number"),
        ({"subaccount_id": -1}, "subaccount_id must be a number"),
        ({"updated": "yesterday"}, "updated must be a time"),
        ({"updated": 7}, "updated must be a time"),
        ({"updated": "0001-01-01T00:00:00+23:59"}, None),
    ],
)
def test_what_is_wrong_is_named(more: dict[str, Any], message: str | None) -> None:
    """In one sentence; what means nothing is nothing."""
    if message is None:
        assert said(GOOD, **more)
        return
    with pytest.raises(LineError, match=message):
        said(GOOD, **more)


def entry(recipient: str, kind: SuppressionType, source: str, text: str, updated_at_ms: int) -> Entry:
    """Any."""
    return Entry(7, recipient, kind, source, text, 0, updated_at_ms, "news")


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ENTRIES = st.builds(
    entry,
    st.just("a@x.example"),
    st.sampled_from(TYPES),
    st.sampled_from(SOURCES),
    TEXTS,
    st.integers(0, NOW_MS),
)


@pytest.mark.parametrize("kind", ["csv", "ndjson"])
@given(entries=st.lists(ENTRIES, min_size=1, max_size=5))
@example(entries=[entry("a@x.example", "transactional", "Manually Added", "\r", 0)])
def test_what_is_written_is_read(kind: Format, entries: list[Entry]) -> None:
    """To the millisecond, whatever the description."""
    found = read(written(entries, kind, is_first=True), kind)
    back = [saying for line in found for saying in sayings(line, now_ms=NOW_MS, subaccount_id=0)]
    assert [(each.said_at_ms, each.type, each.source, each.description) for each in back] == [
        (each.updated_at_ms, each.type, each.source, each.description) for each in entries
    ]
    assert all((each.subaccount_id, each.list_id) == (7, "news") for each in back)


def test_a_list_without_entries_has_its_head() -> None:
    """So that it can be imported, too."""
    assert written([], "csv", is_first=True).decode().split(",") == [*suppression_lines.COLUMNS[:-1], "updated\r\n"]
    assert read(written([], "csv", is_first=True)) == []


@pytest.mark.parametrize("part", [b"x", b'"a\n",'])
def test_a_record_of_csv_is_bounded(part: bytes) -> None:
    """One line, or one record over many: refused by its number, and the file goes on behind a line."""
    endless = part * (2 * LINE_BYTES_MAX // len(part))
    found = read(b"recipient,type\n" + endless + b"\na@example.com,transactional\n")
    assert "longer than" in found[0].problem
    assert (
        part == b'"a\n",' or found[-1].members["recipient"] == "a@example.com"
    )  # inside quotes nobody knows where it goes on
