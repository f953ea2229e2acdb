"""Texts as the database can hold them; the one place that knows what PostgreSQL refuses and JSON does not.

PostgreSQL's text has no U+0000, and an index entry must fit a third of a page. Both may come in an event, and an event
that passed `event.check` may be refused by nobody. What is changed here is changed back on the way out, except for a key
that was too long.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final

from sqlalchemy import Dialect, Text, TypeDecorator
from sqlalchemy.types import TypeEngine

ESCAPE: Final = "\x01"
ESCAPED: Final = {"\x00": "\x01\x01", "\x01": "\x01\x02"}  # sorts as before, character by character
KEY_BYTES_MAX: Final = 1_000  # PostgreSQL's B-tree takes 2,704 of a whole entry
KEY_CHARACTERS_SHOWN: Final = 100

_to_escape: Final = re.compile("[\x00\x01]")
_to_restore: Final = re.compile("\x01([\x01\x02])")


class _TextInC(Text):
    """SQLAlchemy's own adaptation would call it VARCHAR."""

    render_bind_cast = True


class AnyText(TypeDecorator[str]):
    """Any text without lone surrogates; in PostgreSQL ordered by code point, as Python and SQLite order it."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[str]:
        """`COLLATE "C"`: no index depends on the operating system's idea of an alphabet."""
        return _TextInC(collation="C") if _is_postgresql(dialect) else dialect.type_descriptor(Text())

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """On the way in."""
        return escaped(value) if value is not None and _is_postgresql(dialect) else value

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """On the way out."""
        return restored(value) if value is not None and _is_postgresql(dialect) else value


class KeyText(AnyText):
    """Text in an index. One that is too long comes out shortened, with a digest of the whole, so that it stays itself."""

    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """On the way in."""
        short = shortened(value) if value is not None and _is_postgresql(dialect) else value
        return super().process_bind_param(short, dialect)


def escaped(text: str) -> str:
    """Without U+0000; `restored` gives the text back."""
    return _to_escape.sub(lambda found: ESCAPED[found[0]], text)


def restored(text: str) -> str:
    """What `escaped` was given."""
    if ESCAPE not in text:
        return text
    return _to_restore.sub(lambda found: chr(ord(found[1]) - 1), text)


def shortened(text: str) -> str:
    """At most `KEY_BYTES_MAX`; different texts stay different."""
    whole = text.encode()
    if len(whole) <= KEY_BYTES_MAX:
        return text
    return f"{text[:KEY_CHARACTERS_SHOWN]}… {sha256(whole).hexdigest()}"


def _is_postgresql(dialect: Dialect) -> bool:
    return dialect.name == "postgresql"
