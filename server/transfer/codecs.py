"""Compression by file name extension, both ways (entity-types.md §1.8). Codecs are imported when first used."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast

from server.extras import missing

_EXTENSIONS = {
    ".gz": "gzip", ".gzip": "gzip", ".bz2": "bz2", ".bzip2": "bz2", ".xz": "xz", ".lzma": "lzma",
    ".zst": "zstandard", ".zstd": "zstandard", ".lz4": "lz4", ".snappy": "snappy",
}  # fmt: skip
_LZMA_ALONE = 2  # lzma.FORMAT_ALONE, the older format
Wrap = Callable[[BinaryIO], BinaryIO]


def codec_of(name: str) -> str | None:
    """The codec that a file name asks for."""
    return _EXTENSIONS.get(PurePosixPath(name).suffix.lower())


def decompressor(codec: str) -> Wrap:
    """Wraps a stream of packed bytes; errors of bad data are those of the codec (``data_errors``)."""
    return _CODECS[codec][0]


def compressor(codec: str) -> Wrap:
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


def _reading(module: str) -> Wrap:
    """Decompresses by ``open`` of a module: of the standard library, or one that is like those."""
    return lambda stream: cast(BinaryIO, import_module(module).open(stream, "rb"))


def _writing(module: str, **options: int) -> Wrap:
    return lambda stream: cast(BinaryIO, import_module(module).open(stream, "wb", **options))


def _zstandard_read(stream: BinaryIO) -> BinaryIO:
    import zstandard

    return cast(BinaryIO, zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True))


def _zstandard_write(stream: BinaryIO) -> BinaryIO:
    import zstandard

    return cast(BinaryIO, zstandard.ZstdCompressor().stream_writer(stream, closefd=False))


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


_CODECS: dict[str, tuple[Wrap, Wrap]] = {
    "gzip": (_reading("gzip"), _writing("gzip", compresslevel=6)),
    "bz2": (_reading("bz2"), _writing("bz2")),
    "xz": (_reading("lzma"), _writing("lzma")),
    "lzma": (_reading("lzma"), _writing("lzma", format=_LZMA_ALONE)),
    "lz4": (_reading("lz4.frame"), _writing("lz4.frame")),
    "zstandard": (_zstandard_read, _zstandard_write),
    "snappy": (
        lambda stream: cast(BinaryIO, _SnappyReader(stream)),
        lambda stream: cast(BinaryIO, _SnappyWriter(stream)),
    ),
}
