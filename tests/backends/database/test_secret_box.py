"""backends.database.secret_box: what opens, what does not, where the key comes from; and that nothing of it is told."""

import base64
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_etl.backends.database.secret_box import SecretBox, key_of_file, parse_keys
from omni_etl.errors import SettingsError, UnavailableError

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))


def spelled(key: bytes) -> str:
    """As the setting has it."""
    return base64.b64encode(key).decode()


@given(text=st.text(), place=st.text())
def test_what_is_sealed_opens_again(text: str, place: str) -> None:
    """Any text, for any place; sealed it looks different each time and shows nothing."""
    box = SecretBox([KEY])
    first, second = (box.seal(text, place=place) for _ in range(2))
    assert first != second
    assert box.open(first, place=place) == box.open(second, place=place) == text
    assert box.is_first(first)
    assert len(text) < 4 or text not in first


@pytest.mark.parametrize("place", ["auth_header of webhook b", "auth_token of webhook a", ""])
def test_it_opens_at_its_place_alone(place: str) -> None:
    """Moved to another row or column it is worth nothing; the error does not tell the secret."""
    box = SecretBox([KEY])
    sealed = box.seal("hunter2", place="auth_header of webhook a")
    with pytest.raises(UnavailableError, match="does not open") as refused:
        box.open(sealed, place=place)
    assert "hunter2" not in str(refused.value)


@given(st.data())
def test_a_changed_text_does_not_open(data: st.DataObject) -> None:
    """A byte here or there, or cut off: an error in words, never another text."""
    box = SecretBox([KEY])
    sealed = box.seal("hunter2", place="p")
    at = data.draw(st.integers(len("sealed:1:"), len(sealed) - 1).filter(lambda at: sealed[at] != ":"))
    changed = data.draw(st.sampled_from([sealed[:at], sealed[:at] + "\x00" + sealed[at + 1 :]]))
    with pytest.raises(UnavailableError):
        box.open(changed, place="p")


def test_a_key_is_changed_by_naming_both() -> None:
    """The new one seals, the former opens; without the former nothing opens, and that is said."""
    sealed = SecretBox([KEY]).seal("hunter2", place="p")
    both, new = SecretBox([OTHER, KEY]), SecretBox([OTHER])
    assert both.open(sealed, place="p") == "hunter2"
    assert (both.is_first(sealed), both.holds(sealed), new.holds(sealed)) == (False, True, False)
    assert new.open(both.seal("hunter2", place="p"), place="p") == "hunter2"
    with pytest.raises(UnavailableError, match="another key than OMNI_SECRETS_KEY holds"):
        new.open(sealed, place="p")


def test_what_was_never_sealed_is_read_as_it_stands() -> None:
    """Rows from before there was a box."""
    box = SecretBox([KEY])
    assert box.open("Basic aHVzaA==", place="p") == "Basic aHVzaA=="
    assert not box.is_first("Basic aHVzaA==")
    assert box.holds("Basic aHVzaA==")


def test_keys_are_read_from_the_setting() -> None:
    """One or several, in either alphabet of base64, with or without blanks."""
    odd = b"\xff" * 32
    assert parse_keys(f" {spelled(KEY)} ,{spelled(odd).replace('/', '_')}") == [KEY, odd]


@pytest.mark.parametrize(
    "text", ["hunter2", spelled(KEY)[:-2], spelled(KEY + b"x"), f"{spelled(KEY)},hunter2", "é", ","]
)
def test_a_key_that_is_none_is_refused_in_words(text: str) -> None:
    """What is wrong and how to make one, without repeating what was given."""
    with pytest.raises(SettingsError, match="openssl rand -base64 32") as refused:
        parse_keys(text)
    assert refused.value.setting == "OMNI_SECRETS_KEY"
    assert "hunter2" not in str(refused.value)


def test_a_box_prints_no_key() -> None:
    """Neither as itself nor by what it holds."""
    box = SecretBox([KEY])
    assert spelled(KEY) not in repr(box)
    assert repr(KEY) not in repr(vars(box))


def test_a_key_file_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    """The second reader finds what the first made; no other file stays; nobody else may read it."""
    path = tmp_path / "new" / "secrets.key"
    key = key_of_file(path)
    assert key_of_file(path) == key
    assert len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_many_that_start_at_once_have_one_key(tmp_path: Path) -> None:
    """Whoever comes second takes the key of the first: else the one could not read what the other sealed."""
    for attempt in range(20):
        path, found, gate = tmp_path / str(attempt) / "secrets.key", list[bytes](), threading.Barrier(8)
        threads = [threading.Thread(target=_reader(path, found, gate)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert len(set(found)) == 1


def _reader(path: Path, found: list[bytes], gate: threading.Barrier):  # type: ignore[no-untyped-def]  # noqa: ANN202 a thread's work
    def read() -> None:
        gate.wait()
        found.append(key_of_file(path))

    return read


@pytest.mark.parametrize("content", ["", "hunter2\n", "é"])
def test_a_damaged_key_file_is_refused(tmp_path: Path, content: str) -> None:
    """Never made anew over it: what was sealed with it would be lost for good."""
    path = tmp_path / "secrets.key"
    path.write_text(content)
    with pytest.raises(SettingsError) as refused:
        key_of_file(path)
    assert "hunter2" not in str(refused.value)
    assert path.read_text() == content


def test_a_place_without_a_file_is_refused(tmp_path: Path) -> None:
    """A directory that cannot be: the setting is the way out."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="OMNI_SECRETS_KEY"):
        key_of_file(tmp_path / "file" / "secrets.key")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
