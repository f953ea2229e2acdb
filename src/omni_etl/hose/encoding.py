"""Encoding: undo Content-Encoding within a limit, so that a zip bomb never expands in memory."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Iterator
from typing import Final

import zstandard

from omni_etl.errors import IntakeError

STEP_BYTES: Final = 128 * 1024  # of output at once
GZIP_FEED_BYTES: Final = 64 * 1024
ZSTD_FEED_BYTES: Final = 256  # of input at once: four bytes of zstd may stand for 128 KiB, so a step is at most 8 MiB
ZSTD_WINDOW_BYTES_MAX: Final = 8 * 1024 * 1024  # what RFC 9659 lets a sender of HTTP use
_GZIP_WBITS: Final = 31

Decoder = Callable[[bytes, int], Iterator[bytes]]


def decode(body: bytes, encoding: str, *, raw_bytes_max: int) -> bytes:
    """The body as it was before it was compressed.

    Raises:
        IntakeError: 415 another encoding, 413 too long, 400 damaged or not whole.

    """
    name = encoding.strip().lower()
    if name in {"", "identity"}:
        return _joined(iter((body,)), raw_bytes_max)
    decoder = _DECODERS.get(name)
    if decoder is None:
        raise IntakeError(415, f"Content-Encoding {encoding[:64]!r} is not taken; use identity, gzip or zstd")
    try:
        return _joined(decoder(body, raw_bytes_max), raw_bytes_max)
    except (zlib.error, zstandard.ZstdError) as error:
        raise IntakeError(400, f"the body is not whole {name}: {error}") from None


def _joined(steps: Iterator[bytes], raw_bytes_max: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    for part in steps:
        size += len(part)
        if size > raw_bytes_max:
            raise IntakeError(413, f"the body is longer than {raw_bytes_max} bytes uncompressed")
        parts.append(part)
    return b"".join(parts)


def _gunzip(body: bytes, _raw_bytes_max: int) -> Iterator[bytes]:
    """Every member of a gzip file."""
    decoder = None
    for start in range(0, len(body), GZIP_FEED_BYTES):
        fed = body[start : start + GZIP_FEED_BYTES]
        while fed:
            decoder = decoder or zlib.decompressobj(wbits=_GZIP_WBITS)
            yield decoder.decompress(fed, STEP_BYTES)
            fed, decoder = (decoder.unused_data, None) if decoder.eof else (decoder.unconsumed_tail, decoder)
    if decoder is not None:
        while part := decoder.decompress(b"", STEP_BYTES):
            yield part
        if not decoder.eof:
            raise zlib.error("it ends too early")


def _unzstd(body: bytes, raw_bytes_max: int) -> Iterator[bytes]:
    """Every frame of a zstd file. One that says its size, as most do, is opened at once, at two thirds of the price."""
    if zstandard.frame_content_size(body) in range(1, raw_bytes_max + 1):
        with contextlib.suppress(zstandard.ZstdError):  # several frames, or damaged: the steps below tell which
            yield zstandard.ZstdDecompressor().decompress(body, allow_extra_data=False)
            return
    decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES_MAX)
    decoder = None
    for start in range(0, len(body), ZSTD_FEED_BYTES):
        fed = body[start : start + ZSTD_FEED_BYTES]
        while fed:
            decoder = decoder or decompressor.decompressobj()
            yield decoder.decompress(fed)
            fed, decoder = (decoder.unused_data, None) if decoder.eof else (b"", decoder)
    if decoder is not None:
        raise zstandard.ZstdError("it ends too early")


_DECODERS: Final[dict[str, Decoder]] = {"gzip": _gunzip, "x-gzip": _gunzip, "zstd": _unzstd}
