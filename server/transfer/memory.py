"""``mem:`` URLs: blobs that live as long as the process."""

from __future__ import annotations

import io
import threading
import time

from server.errors import MldbError, NotFound
from server.transfer.schemes import Scheme, UrlStat, split_scheme
from server.transfer.streams import MIB, Source


class MemoryScheme(Scheme):
    """``limit`` is the total size in bytes of all blobs."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._blobs: dict[str, tuple[bytes, float]] = {}  # content, and when it was written
        self._lock = threading.Lock()

    def open_read(self, url: str, *, patient: bool = False) -> Source:
        _, name = split_scheme(url)
        blob = self._blobs.get(name)
        if blob is None:
            raise _missing(name)
        return Source(io.BytesIO(blob[0]), len(blob[0]), blob[1])

    def open_write(self, url: str) -> MemorySink:
        _, name = split_scheme(url)
        if not name:
            raise MldbError("a mem:// URL needs a name")
        return MemorySink(self, name)

    def stat(self, url: str) -> UrlStat:
        blob = self._blobs.get(split_scheme(url)[1])
        return UrlStat(False) if blob is None else UrlStat(True, len(blob[0]), blob[1])

    def delete(self, url: str) -> None:
        _, name = split_scheme(url)
        with self._lock:
            if self._blobs.pop(name, None) is None:
                raise _missing(name)

    def put(self, name: str, content: bytes) -> None:
        with self._lock:
            others = sum(len(blob) for key, (blob, _) in self._blobs.items() if key != name)
            self.check_size(others + len(content))
            self._blobs[name] = (content, time.time())

    def check_size(self, size: int) -> None:
        if size > self._limit:
            raise MldbError(f"mem:// holds at most {self._limit // MIB} MiB; the setting is memory_files")


def _missing(name: str) -> NotFound:
    return NotFound(f"opening 'mem://{name}': No such file or directory", code=400)


class MemorySink:
    """Collects a blob and puts it in place on ``commit``."""

    def __init__(self, scheme: MemoryScheme, name: str) -> None:
        self._scheme = scheme
        self._name = name
        self._content = io.BytesIO()

    def write(self, data: bytes, /) -> int:
        self._scheme.check_size(self._content.tell() + len(data))
        return self._content.write(data)

    def commit(self) -> None:
        self._scheme.put(self._name, self._content.getvalue())
        self._content.close()

    def discard(self) -> None:
        self._content.close()
