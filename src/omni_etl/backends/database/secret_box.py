"""Secret box: texts as they lie in the database, readable by who has the key; AES-256-GCM, bound to the place they are for.

Whoever copies a sealed text to another row or column gets nothing that opens. A text from before there was a box stands in
clear, and is read as it stands: against somebody who may write to the database a box is no help.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from omni_etl.errors import SettingsError, UnavailableError

SETTING: Final = "OMNI_SECRETS_KEY"
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12  # random: good for four thousand million texts of one key (NIST SP 800-38D, 8.3)
HOW: Final = "Make one with `openssl rand -base64 32`, keep it as you keep a password, and give the same to every role."

_MARK: Final = "sealed:1:"
_NAME_CHARACTERS: Final = 8


class SecretBox:
    """Seals with the first key; opens what any of them sealed."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._ciphers = {_name_of(key): AESGCM(key) for key in keys}
        self._first = _name_of(keys[0])

    def seal(self, text: str, *, place: str) -> str:
        """Another one each time."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = nonce + self._ciphers[self._first].encrypt(nonce, text.encode(), place.encode())
        return f"{_MARK}{self._first}:{base64.b64encode(sealed).decode()}"

    def open(self, kept: str, *, place: str) -> str:
        """The text, also one that was never sealed.

        Raises:
            UnavailableError: sealed with a key that is not here, for another place, or damaged; says nothing of the text.

        """
        if not kept.startswith(_MARK):
            return kept
        cipher = self._ciphers.get(name_of_key(kept))
        if cipher is None:
            raise UnavailableError(f"{place} is sealed with another key than {SETTING} holds")
        try:
            sealed = base64.b64decode(kept[len(_MARK) + _NAME_CHARACTERS + 1 :], validate=True)
            return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place.encode()).decode()
        except (InvalidTag, ValueError):
            raise UnavailableError(f"{place} does not open: it was damaged, or is of another place") from None

    def is_first(self, kept: str) -> bool:
        """Whether it is sealed, and with the key that seals now."""
        return kept.startswith(f"{_MARK}{self._first}:")

    def holds(self, kept: str) -> bool:
        """Whether it is in clear, or sealed with a key that is here."""
        return not kept.startswith(_MARK) or name_of_key(kept) in self._ciphers


def name_of_key(kept: str) -> str:
    """The name of the key that a text was sealed with: the beginning of a digest, which tells nothing of the key."""
    return kept[len(_MARK) : len(_MARK) + _NAME_CHARACTERS]


def parse_keys(text: str) -> list[bytes]:
    """Keys in base64, comma separated: the one that seals, and former ones that open.

    Raises:
        SettingsError: one that is no key; it is not repeated.

    """
    return [_key(part.strip()) for part in text.split(",")]


def key_of_file(path: Path) -> bytes:
    """The key in a file that only its owner may read; made where there is none, once among processes that start together.

    Raises:
        SettingsError: the file holds no key, or cannot be read or made.

    """
    try:
        if not path.exists():
            _make_key_file(path)
        return _key(path.read_text(encoding="ascii", errors="replace").strip())
    except OSError as error:
        raise SettingsError(SETTING, f"no key, and no file for one: {error}", HOW) from None


def _key(text: str) -> bytes:
    with suppress(binascii.Error, ValueError):
        key = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
        if len(key) == KEY_BYTES:
            return key
    raise SettingsError(SETTING, "a key that is not shown, and is not 32 bytes in base64", HOW)


def _name_of(key: bytes) -> str:
    return hashlib.sha256(b"omni secrets key\0" + key).hexdigest()[:_NAME_CHARACTERS]


def _make_key_file(path: Path) -> None:
    """Whole on the disk under its name, or not there: what is sealed with a lost key is lost."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mine = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    mine.touch(mode=0o600, exist_ok=False)
    with mine.open("w", encoding="ascii") as file:
        file.write(base64.b64encode(os.urandom(KEY_BYTES)).decode() + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        with suppress(FileExistsError):  # another was first: its key is the key
            os.link(mine, path)
    finally:
        mine.unlink()
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
