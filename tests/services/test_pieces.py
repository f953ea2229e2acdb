"""services.pieces: an envelope's lines in pieces of whole lines."""

from itertools import pairwise

import pytest

from omni_etl.services.pieces import PIECE_BYTES, pieces


@pytest.mark.parametrize(
    "sizes", [[], [1], [PIECE_BYTES - 1], [PIECE_BYTES], [PIECE_BYTES * 3, 1, 2], [1000] * 999, [7] * 200_000]
)
def test_pieces_are_whole_lines_and_all_of_them(sizes: list[int]) -> None:
    """Joined, they are the envelope again; each ends where a line does, and no later than it must."""
    raw = b"".join(b"x" * size + b"\n" for size in sizes)
    found = list(pieces(raw))
    assert b"".join(found) == raw
    assert all(each.endswith(b"\n") for each in found)
    assert all(each[:-1].rpartition(b"\n")[0].__len__() < PIECE_BYTES for each in found)
    assert all(len(each) >= PIECE_BYTES for each, _ in pairwise(found))
