"""embedded.private_file: secrets on disk."""

import stat
from pathlib import Path

import pytest

from omni_etl.embedded.private_file import write_private


@pytest.mark.parametrize("was_there", [True, False])
def test_only_its_owner_may_read_it(tmp_path: Path, *, was_there: bool) -> None:
    """A new file, and one that an earlier program left open to all."""
    path = tmp_path / "secret"
    if was_there:
        path.write_text("old and longer")
        path.chmod(0o644)
    write_private(path, "new")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", 0o600)
