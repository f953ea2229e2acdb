"""hose.encoding: compressed bodies, within limits."""

import gzip
import tracemalloc

import pytest
import zstandard

from omni_etl.errors import IntakeError
from omni_etl.hose.encoding import decode

MIB = 1024 * 1024
TEXT = b"".join(b"line %d\n" % number for number in range(50_000))


def _zstd(content: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(content)


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (TEXT, ""),
        (TEXT, "identity"),
        (gzip.compress(TEXT, mtime=0), "gzip"),
        (gzip.compress(TEXT, mtime=0), " GZip "),
        (gzip.compress(TEXT[:999], mtime=0) + gzip.compress(TEXT[999:], mtime=0), "gzip"),
        (_zstd(TEXT), "zstd"),
        (_zstd(TEXT[:999]) + _zstd(TEXT[999:]), "zstd"),
        (zstandard.ZstdCompressor(write_content_size=False).compress(TEXT), "zstd"),
    ],
)
def test_a_body_comes_back_whole(body: bytes, encoding: str) -> None:
    """Also from several members or frames, and without a stated size."""
    assert decode(body, encoding, raw_bytes_max=MIB) == TEXT


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (b"", "br", 415),
        (b"", "gzip, zstd", 415),
        (b"not compressed", "gzip", 400),
        (b"not compressed", "zstd", 400),
        (gzip.compress(TEXT, mtime=0)[:-1], "gzip", 400),
        (gzip.compress(TEXT, mtime=0)[:100], "gzip", 400),
        (_zstd(TEXT)[:-1], "zstd", 400),
        (_zstd(TEXT)[:100], "zstd", 400),
        (_zstd(TEXT) + b"rest", "zstd", 400),
        (gzip.compress(TEXT, mtime=0) + b"rest", "gzip", 400),
        (TEXT, "", 413),
        (gzip.compress(TEXT, mtime=0), "gzip", 413),
        (_zstd(TEXT), "zstd", 413),
    ],
)
def test_what_is_damaged_too_long_or_unknown_is_refused(body: bytes, encoding: str, status: int) -> None:
    """With the status that says which."""
    with pytest.raises(IntakeError) as caught:
        decode(body, encoding, raw_bytes_max=100_000 if status == 413 else MIB)
    assert caught.value.status == status


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_zip_bomb_does_not_expand_in_memory(encoding: str) -> None:
    """A gibibyte in a few kilobytes costs a few mebibytes."""
    bomb = _bomb(encoding)
    assert len(bomb) < 2 * MIB
    tracemalloc.start()
    try:
        with pytest.raises(IntakeError) as caught:
            decode(bomb, encoding, raw_bytes_max=4 * MIB)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.status == 413
    assert peak_bytes < 24 * MIB


def _bomb(encoding: str) -> bytes:
    part = bytes(16 * MIB)
    if encoding == "gzip":
        return gzip.compress(part, 9) * 64
    compressor = zstandard.ZstdCompressor().compressobj()
    return b"".join([*(compressor.compress(part) for _ in range(64)), compressor.flush()])
