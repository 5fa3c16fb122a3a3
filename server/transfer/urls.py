"""URLs as every parameter takes them: one place that opens, lists and writes them under the server's policy.

    file://relative  file:///absolute  http://  https://  mem://name  s3://bucket/key  sftp://host/path
    archive+<url>#member                     a member of a zip or tar archive, nested at will

Compression is by extension, both ways (entity-types.md §1.8). Whole files are never held in memory except by ``read``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from server.errors import MldbError
from server.settings import Settings
from server.transfer import codecs
from server.transfer.addresses import Resolver, resolve
from server.transfer.archives import ArchiveLimits, ArchiveScheme, unpacked
from server.transfer.files import FileAccess, FileScheme
from server.transfer.limits import SLOWEST, WebLimits
from server.transfer.memory import MemoryScheme
from server.transfer.remote import Credentials, RemoteScheme
from server.transfer.schemes import ARCHIVE, Scheme, UrlStat, split_archive, split_scheme
from server.transfer.streams import MIB, Source, WriteStream
from server.transfer.web import WebScheme


@dataclass(frozen=True)
class Fetched:
    """A whole resource; ``last_modified`` in seconds since 1970, -inf when it is not known."""

    content: bytes
    last_modified: float
    url: str


class Urls:
    """Opens URLs. Thread-safe. Every method raises ``MldbError`` for what the caller can cause."""

    def __init__(
        self, settings: Settings, credentials: Credentials = lambda _kind, _url: None, *, resolver: Resolver = resolve
    ) -> None:
        """``credentials(resourceType, url)``: the stored ``credential`` object with the longest matching resource."""
        self.credential = credentials
        self._read_limit = settings.read_size * MIB
        self._limits = ArchiveLimits(settings.archive_size * MIB, settings.archive_ratio)
        limits = WebLimits(size=settings.fetch_size * MIB, total=settings.fetch_time, slow_rate=SLOWEST)
        self.access = FileAccess(settings)
        web = WebScheme(private=settings.fetch_private, limits=limits, resolver=resolver)
        self._schemes: dict[str, Scheme] = {
            "file": FileScheme(self.access),
            "mem": MemoryScheme(settings.memory_files * MIB),
            "http": web,
            "https": web,
            "archive": ArchiveScheme(self.open_source, self._limits),
        }
        for name in ("s3", "sftp"):
            self._schemes[name] = RemoteScheme(
                name, credentials, private=settings.fetch_private, known_hosts=settings.known_hosts
            )

    def open_read(self, url: str) -> BinaryIO:
        """A stream of the (decompressed) content."""
        return self.open_source(url).stream

    def open_source(self, url: str, *, patient: bool = False) -> Source:
        """As ``open_read``, with the time of the last change; ``size`` is None where it is not known.

        ``patient``: no limit on slow servers but the total time.
        """
        source = self._scheme(url).open_read(url, patient=patient)
        codec = codecs.codec_of(_name_of(url))
        if codec is None:
            return source
        try:
            return Source(unpacked(source.stream, codec, self._limits), None, source.last_modified)
        except BaseException:
            source.stream.close()
            raise

    def open_write(self, url: str) -> WriteStream:
        """A writer: nothing is visible before it is closed, leaving its ``with`` block by an error writes nothing."""
        sink = self._scheme(url).open_write(url)
        try:
            codec = codecs.codec_of(_name_of(url))
            return WriteStream(sink, codecs.compressor(codec) if codec else None)
        except BaseException:
            sink.discard()
            raise

    def read(self, url: str, *, limit: int | None = None, patient: bool = False, setting: str = "") -> Fetched:
        """The whole content; ``limit`` in bytes is that of a ``setting``, by default of ``read_size``."""
        most = self._read_limit if limit is None else limit
        source = self.open_source(url, patient=patient)
        with source.stream as stream:
            content = _read_up_to(stream, most + 1)
        if len(content) > most:
            setting = setting or ("read_size" if limit is None else "")
            raise MldbError(f"'{url}' is larger than {most} bytes" + (f"; the setting is {setting}" if setting else ""))
        return Fetched(content, source.last_modified, url)

    def local_path(self, url: str) -> Path | None:
        """The plain, uncompressed, readable file behind a URL, None when it is not one."""
        path = self._readable(url)
        plain = codecs.codec_of(_name_of(url)) is None
        return path if path is not None and plain and path.is_file() else None

    def folder(self, url: str) -> Path | None:
        """The resolved folder behind a ``file:`` URL that may be read, None when it is not one."""
        path = self._readable(url)
        return path if path is not None and path.is_dir() else None

    def _readable(self, url: str) -> Path | None:
        scheme, rest = split_scheme(url)
        return self.access.readable(self.access.path_of(rest)) if scheme == "file" else None

    def stat(self, url: str) -> UrlStat:
        """Existence, packed size and time of the last change."""
        return self._scheme(url).stat(url)

    def list(self, url: str) -> dict[str, Any]:
        """``{"dirs": [url, …], "objects": {url: {…}}}`` of a folder, not recursive."""
        entries = list(self._scheme(url).entries(url))
        return {
            "dirs": [below for below, stat in entries if stat is None],
            "objects": {below: stat.json() for below, stat in entries if stat is not None},
        }

    def delete(self, url: str) -> None:
        self._scheme(url).delete(url)

    def check_writable(self, url: str, parameter: str) -> None:
        """Test before long work that a result can be saved; the error names the parameter (§1.5)."""
        scheme = self._scheme(url)
        try:
            scheme.make_room(url)
        except (MldbError, OSError) as error:
            raise MldbError(
                f"Error when trying to create folder specified in parameter '{parameter}'. Value: '{url}'. "
                f"Exception: {error}"
            ) from None
        try:
            scheme.open_write(url).discard()
        except (MldbError, OSError) as error:
            raise MldbError(
                f"Error when trying to write to file specified in parameter '{parameter}'. Value: '{url}'. "
                f"Exception: {error}"
            ) from None

    def _scheme(self, url: str) -> Scheme:
        return self._schemes[split_scheme(url)[0]]


def _name_of(url: str) -> str:
    """The part of a URL whose extension names the compression."""
    if url.startswith(ARCHIVE):
        return PurePosixPath(split_archive(url)[1]).name
    if url.lower().startswith(("http:", "https:")):
        return re.split(r"[?#]", url, maxsplit=1)[0]
    return url


def _read_up_to(stream: BinaryIO, size: int) -> bytes:
    parts: list[bytes] = []
    while size > 0 and (chunk := stream.read(min(size, MIB))):
        parts.append(chunk)
        size -= len(chunk)
    return b"".join(parts)
