"""Byte streams that transfers are made of: sources, sinks, and limits on them."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Protocol, cast

from server.errors import MldbError
from server.transfer import codecs
from server.values.atoms import NEVER

MIB = 1 << 20
# Small archives of repetitive text may be thousands to one; the ratio only matters once it has cost something.
RATIO_FREE_BYTES = 64 * MIB


@dataclass
class Source:
    """An opened resource: raw bytes, their number where known, and the time of the last change in seconds."""

    stream: BinaryIO
    size: int | None = None
    last_modified: float = NEVER


class Sink(Protocol):
    """Where written bytes go; nothing is visible under the URL before ``commit``."""

    def write(self, data: bytes, /) -> int: ...
    def commit(self) -> None: ...
    def discard(self) -> None: ...


class WriteStream(io.BufferedIOBase):
    """A (compressing) writer onto a sink. Closing commits; leaving a ``with`` block by an error discards."""

    def __init__(self, sink: Sink, compress: Callable[[BinaryIO], BinaryIO] | None) -> None:
        self._sink = sink
        self._codec = compress(cast(BinaryIO, SinkFile(sink))) if compress else None

    def writable(self) -> bool:
        return True

    def write(self, data: object, /) -> int:
        raw = bytes(memoryview(data))  # type: ignore[arg-type]
        if self._codec is not None:
            self._codec.write(raw)
        else:
            self._sink.write(raw)
        return len(raw)

    def close(self) -> None:
        if self.closed:
            return
        super().close()
        try:
            if self._codec is not None:
                self._codec.close()
        except BaseException:
            self._sink.discard()
            raise
        self._sink.commit()

    def discard(self) -> None:
        """Close without leaving anything behind."""
        if not self.closed:
            super().close()
            self._sink.discard()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:
        # A writer that nobody closed was abandoned by an error: half a file must not become visible.
        self.discard()


class SinkFile(io.RawIOBase):
    """A sink as a file object for compressors; closing it does nothing, the sink is committed by its owner."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def writable(self) -> bool:
        return True

    def write(self, data: object, /) -> int:
        return self._sink.write(bytes(memoryview(data)))  # type: ignore[arg-type]


class CountingReader(io.RawIOBase):
    """Counts the bytes read through it, for the ratio of what is unpacked to what was packed."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object, /) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        data = self._stream.read(len(view))
        view[: len(data)] = data
        self.count += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._stream.close()


class LimitedReader(io.RawIOBase):
    """A stream of unpacked data that ends with an error when it grows out of proportion (``packed``) or size."""

    def __init__(
        self,
        stream: BinaryIO,
        *,
        size: int,
        setting: str,
        ratio: int = 0,
        packed: Callable[[], int] | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self._stream = stream
        self._size = size
        self._setting = setting
        self._ratio = ratio
        self._packed = packed
        self._on_close = on_close
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object, /) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        try:
            data = self._stream.read(len(view))
        except codecs.data_errors() as error:
            raise MldbError(f"cannot decompress the data: {error}") from None
        view[: len(data)] = data
        self._count += len(data)
        self._check()
        return len(data)

    def _check(self) -> None:
        if self._count > self._size:
            raise MldbError(f"more than {self._size // MIB} MiB of data; the setting is {self._setting}")
        if self._packed is None or self._count <= RATIO_FREE_BYTES:
            return
        if self._count > self._ratio * max(self._packed(), 1):
            raise MldbError(f"data unpack to more than {self._ratio} times their size; the setting is archive_ratio")

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._stream.close()
            if self._on_close is not None:
                self._on_close()


def buffered(stream: io.RawIOBase) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(stream, buffer_size=MIB))
