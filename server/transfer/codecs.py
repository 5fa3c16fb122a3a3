"""Compression by file name extension, both ways (entity-types.md §1.8). Codecs are imported when first used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast

from server.extras import missing

_EXTENSIONS = {
    ".gz": "gzip", ".gzip": "gzip", ".bz2": "bz2", ".bzip2": "bz2", ".xz": "xz", ".lzma": "lzma",
    ".zst": "zstandard", ".zstd": "zstandard", ".lz4": "lz4", ".snappy": "snappy",
}  # fmt: skip


def codec_of(name: str) -> str | None:
    """The codec that a file name asks for."""
    return _EXTENSIONS.get(PurePosixPath(name).suffix.lower())


def decompressor(codec: str) -> Callable[[BinaryIO], BinaryIO]:
    """Wraps a stream of packed bytes; errors of bad data are those of the codec (``DATA_ERRORS``)."""
    return _CODECS[codec][0]


def compressor(codec: str) -> Callable[[BinaryIO], BinaryIO]:
    """Wraps a stream to be written; closing it ends the packed data and leaves the stream open."""
    return _CODECS[codec][1]


def data_errors() -> tuple[type[Exception], ...]:
    """What decompressors raise on bad data (several of them an OSError or a RuntimeError)."""
    import lzma
    import zipfile
    import zlib

    return (*_optional_errors(), lzma.LZMAError, zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError)


def _optional_errors() -> list[type[Exception]]:
    import sys

    errors: list[type[Exception]] = []
    for module, name in (("zstandard", "ZstdError"), ("snappy", "UncompressError")):
        if module in sys.modules:
            errors.append(getattr(sys.modules[module], name))
    return errors


def _gzip_read(stream: BinaryIO) -> BinaryIO:
    import gzip

    return cast(BinaryIO, gzip.GzipFile(fileobj=stream, mode="rb"))


def _gzip_write(stream: BinaryIO) -> BinaryIO:
    import gzip

    return cast(BinaryIO, gzip.GzipFile(filename="", fileobj=stream, mode="wb", compresslevel=6))


def _bz2_read(stream: BinaryIO) -> BinaryIO:
    import bz2

    return cast(BinaryIO, bz2.BZ2File(stream, "rb"))


def _bz2_write(stream: BinaryIO) -> BinaryIO:
    import bz2

    return cast(BinaryIO, bz2.BZ2File(stream, "wb"))


def _xz_read(stream: BinaryIO) -> BinaryIO:
    import lzma

    return cast(BinaryIO, lzma.LZMAFile(stream, "rb"))


def _xz_write(stream: BinaryIO) -> BinaryIO:
    import lzma

    return cast(BinaryIO, lzma.LZMAFile(stream, "wb"))


def _lzma_write(stream: BinaryIO) -> BinaryIO:
    import lzma

    return cast(BinaryIO, lzma.LZMAFile(stream, "wb", format=lzma.FORMAT_ALONE))


def _zstandard_read(stream: BinaryIO) -> BinaryIO:
    import zstandard

    return cast(BinaryIO, zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True))


def _zstandard_write(stream: BinaryIO) -> BinaryIO:
    import zstandard

    return cast(BinaryIO, zstandard.ZstdCompressor().stream_writer(stream, closefd=False))


def _lz4_read(stream: BinaryIO) -> BinaryIO:
    import lz4.frame

    return cast(BinaryIO, lz4.frame.LZ4FrameFile(stream, "rb"))


def _lz4_write(stream: BinaryIO) -> BinaryIO:
    import lz4.frame

    return cast(BinaryIO, lz4.frame.LZ4FrameFile(stream, "wb"))


class _SnappyReader:
    """The framing format of snappy as a readable stream."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._decoder = _snappy().StreamDecompressor()
        self._ready = b""

    def read(self, size: int) -> bytes:
        while not self._ready:
            packed = self._stream.read(1 << 16)
            if not packed:
                self._decoder.flush()
                return b""
            self._ready = self._decoder.decompress(packed)
        data, self._ready = self._ready[:size], self._ready[size:]
        return data

    def close(self) -> None:
        self._stream.close()


class _SnappyWriter:
    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._encoder = _snappy().StreamCompressor()

    def write(self, data: bytes) -> int:
        self._stream.write(self._encoder.compress(data))
        return len(data)

    def close(self) -> None:
        self._stream.flush()


def _snappy() -> Any:
    try:
        import snappy
    except ImportError:
        raise missing("reading and writing .snappy", "snappy") from None
    return snappy


_CODECS: dict[str, tuple[Callable[[BinaryIO], BinaryIO], Callable[[BinaryIO], BinaryIO]]] = {
    "gzip": (_gzip_read, _gzip_write),
    "bz2": (_bz2_read, _bz2_write),
    "xz": (_xz_read, _xz_write),
    "lzma": (_xz_read, _lzma_write),
    "zstandard": (_zstandard_read, _zstandard_write),
    "lz4": (_lz4_read, _lz4_write),
    "snappy": (
        lambda stream: cast(BinaryIO, _SnappyReader(stream)),
        lambda stream: cast(BinaryIO, _SnappyWriter(stream)),
    ),
}
