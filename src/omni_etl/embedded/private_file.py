"""Private file: secrets that their owner alone may read, from the first byte on."""

from __future__ import annotations

from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600; one that is there is narrowed before it is written."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text, encoding="utf-8")
