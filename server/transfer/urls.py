"""URLs as every parameter takes them: one place that opens, lists and writes them under the server's policy.

    file://relative  file:///absolute  http://  https://  mem://name  s3://bucket/key  sftp://host/path
    archive+<url>#member                     a member of a zip or tar archive, nested at will

Compression is by extension, both ways (entity-types.md §1.8). Whole files are never held in memory except by ``read``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from server.errors import MldbError
from server.settings import Settings
from server.transfer import archives, codecs
from server.transfer.addresses import Resolver, resolve
from server.transfer.files import FileAccess, FileScheme
from server.transfer.limits import SLOW_SERVERS, WebLimits
from server.transfer.memory import MemoryScheme
from server.transfer.remote import Credentials, RemoteScheme, modified_of
from server.transfer.streams import MIB, CountingReader, LimitedReader, Sink, Source, WriteStream, buffered
from server.transfer.web import WebScheme, modified_at
from server.values.atoms import NEVER, timestamp_text

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_ARCHIVE = "archive+"


@dataclass(frozen=True)
class Fetched:
    """A whole resource; ``last_modified`` in seconds since 1970, -inf when it is not known."""

    content: bytes
    last_modified: float
    url: str


@dataclass(frozen=True)
class UrlStat:
    """What is known of a resource without reading it. ``size`` is -1 when unknown."""

    exists: bool
    size: int = -1
    last_modified: float = NEVER
    etag: str = ""

    def json(self) -> dict[str, Any]:
        """The object that ``mldb.ls`` shows (plugin-runtime.md §5)."""
        return {
            "exists": self.exists,
            "lastModified": timestamp_text(self.last_modified),
            "size": self.size,
            "etag": self.etag,
            "storageClass": "",
            "ownerId": "",
            "ownerName": "",
            "contentType": "",
            "objectMetadata": {},
            "userMetadata": {},
        }


class Urls:
    """Opens URLs. Thread-safe. Every method raises ``MldbError`` for what the caller can cause."""

    def __init__(
        self, settings: Settings, credentials: Credentials = lambda _kind, _url: None, *, resolver: Resolver = resolve
    ) -> None:
        """``credentials(resourceType, url)``: the stored ``credential`` object with the longest matching resource."""
        self.credential = credentials
        self._read_limit = settings.read_size * MIB
        self._limits = archives.ArchiveLimits(settings.archive_size * MIB, settings.archive_ratio)
        self._patient = WebLimits(size=settings.fetch_size * MIB, total=settings.fetch_time)
        self._strict = replace(self._patient, slow_rate=SLOW_SERVERS.slow_rate)
        self.access = FileAccess(settings)
        self._files = FileScheme(self.access)
        self._memory = MemoryScheme(settings.memory_files * MIB)
        self._web = WebScheme(private=settings.fetch_private, limits=self._strict, resolver=resolver)
        self._remote = {
            scheme: RemoteScheme(scheme, credentials, private=settings.fetch_private, known_hosts=settings.known_hosts)
            for scheme in ("s3", "sftp")
        }

    def open_read(self, url: str) -> BinaryIO:
        """A stream of the (decompressed) content."""
        return self.open_source(url).stream

    def open_source(self, url: str, *, patient: bool = False) -> Source:
        """As ``open_read``, with the time of the last change; ``size`` is None where it is not known.

        ``patient``: no limit on slow servers but the total time.
        """
        source = self._open_raw(url, patient)
        codec = codecs.codec_of(_name_of(url))
        if codec is None:
            return source
        try:
            return Source(self._unpack(source.stream, codec), None, source.last_modified)
        except BaseException:
            source.stream.close()
            raise

    def open_write(self, url: str) -> WriteStream:
        """A writer: nothing is visible before it is closed, leaving its ``with`` block by an error writes nothing."""
        sink = self._open_sink(url)
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
        scheme, rest = split_scheme(url)
        if scheme != "file" or codecs.codec_of(_name_of(url)) is not None:
            return None
        path = self.access.readable(self.access.path_of(rest))
        return path if path.is_file() else None

    def folder(self, url: str) -> Path | None:
        """The resolved folder behind a ``file:`` URL that may be read, None when it is not one."""
        scheme, rest = split_scheme(url)
        if scheme != "file":
            return None
        path = self.access.readable(self.access.path_of(rest))
        return path if path.is_dir() else None

    def stat(self, url: str) -> UrlStat:
        """Existence, packed size and time of the last change."""
        scheme, rest = split_scheme(url)
        if scheme == "file":
            status = self._files.stat(rest)
            return UrlStat(False) if status is None else UrlStat(True, status.st_size, status.st_mtime)
        if scheme in ("http", "https"):
            headers = self._web.head(url)
            return UrlStat(False) if headers is None else _web_stat(headers)
        if scheme == "mem":
            blob = self._memory.get(rest)
            return UrlStat(False) if blob is None else UrlStat(True, len(blob[0]), blob[1])
        if scheme in self._remote:
            info = self._remote[scheme].info(url)
            return UrlStat(False) if info is None else _remote_stat(info)
        with self._open_raw(url, patient=False).stream:
            return UrlStat(True)

    def list(self, url: str) -> dict[str, Any]:
        """``{"dirs": [url, …], "objects": {url: {…}}}`` of a folder, not recursive."""
        scheme, rest = split_scheme(url)
        if scheme == "file":
            return self._list_files(rest)
        if scheme in self._remote:
            return _remote_listing(self._remote[scheme].entries(url))
        if url.startswith(_ARCHIVE):
            return self._list_archive(url)
        raise MldbError(f"a URL of scheme '{scheme}' cannot be listed")

    def delete(self, url: str) -> None:
        scheme, rest = split_scheme(url)
        if scheme == "file":
            self._files.delete(rest)
        elif scheme == "mem":
            self._memory.delete(rest)
        elif scheme in self._remote:
            self._remote[scheme].delete(url)
        else:
            raise MldbError(f"a URL of scheme '{scheme}' cannot be deleted")

    def check_writable(self, url: str, parameter: str) -> None:
        """Test before long work that a result can be saved; the error names the parameter (§1.5)."""
        scheme, rest = split_scheme(url)
        try:
            if scheme == "file":
                self.access.writable(self.access.path_of(rest)).parent.mkdir(parents=True, exist_ok=True)
        except (MldbError, OSError) as error:
            raise MldbError(
                f"Error when trying to create folder specified in parameter '{parameter}'. Value: '{url}'. "
                f"Exception: {error}"
            ) from None
        try:
            self._open_sink(url).discard()
        except (MldbError, OSError) as error:
            raise MldbError(
                f"Error when trying to write to file specified in parameter '{parameter}'. Value: '{url}'. "
                f"Exception: {error}"
            ) from None

    # ── within ────────────────────────────────────────────────────────────────────────────────────────────────

    def _open_raw(self, url: str, patient: bool) -> Source:
        scheme, rest = split_scheme(url)
        if scheme == "file":
            return self._files.open_read(rest)
        if scheme in ("http", "https"):
            return self._web.open_read(url, self._patient if patient else self._strict)
        if scheme == "mem":
            return self._memory.open_read(rest)
        if scheme in self._remote:
            return self._remote[scheme].open_read(url)
        archive, member = split_archive(url)
        return archives.open_member(self.open_source(archive, patient=patient), member, self._limits)

    def _open_sink(self, url: str) -> Sink:
        scheme, rest = split_scheme(url)
        openers: dict[str, Callable[[], Sink]] = {
            "file": lambda: self._files.open_write(rest),
            "mem": lambda: self._memory.open_write(rest),
            **{name: lambda remote=remote: remote.open_write(url) for name, remote in self._remote.items()},  # type: ignore[misc]
        }
        if scheme not in openers:
            raise MldbError(f"a URL of scheme '{scheme}' cannot be written")
        return openers[scheme]()

    def _unpack(self, stream: BinaryIO, codec: str) -> BinaryIO:
        counter = CountingReader(stream)
        limited = LimitedReader(
            codecs.decompressor(codec)(cast(BinaryIO, counter)),
            size=self._limits.size,
            setting="archive_size",
            ratio=self._limits.ratio,
            packed=lambda: counter.count,
            on_close=counter.close,
        )
        return buffered(limited)

    def _list_files(self, rest: str) -> dict[str, Any]:
        import stat as modes

        folder = f"file://{rest.rstrip('/')}/" if rest else "file://"
        listing: dict[str, Any] = {"dirs": [], "objects": {}}
        for name, status in self._files.entries(rest):
            if modes.S_ISDIR(status.st_mode):
                listing["dirs"].append(folder + name)
            elif modes.S_ISREG(status.st_mode):
                listing["objects"][folder + name] = UrlStat(True, status.st_size, status.st_mtime).json()
        return listing

    def _list_archive(self, url: str) -> dict[str, Any]:
        archive, prefix = split_archive(url if "#" in url else f"{url}#")
        listing: dict[str, Any] = {"dirs": [], "objects": {}}
        members = archives.list_members(self.open_source(archive), self._limits)
        for name, member in archives.sub_entries(members, prefix):
            full = f"{_ARCHIVE}{archive}#{name}"
            if member is None:
                listing["dirs"].append(full)
            else:
                listing["objects"][full] = UrlStat(True, member.size, member.modified).json()
        return listing


def split_scheme(url: str) -> tuple[str, str]:
    """Scheme in lower case and what follows ``://``; errors for a URL without one and for unknown ones."""
    found = _SCHEME.match(url)
    if found is None:
        raise MldbError(f"Attempt to create a URL without a scheme: '{url}'. A local file is written file://{url}")
    scheme, rest = found[1].lower(), url[found.end() :].removeprefix("//")
    if scheme.startswith(_ARCHIVE):
        split_scheme(url[len(_ARCHIVE) :])
        return "archive", url[len(_ARCHIVE) :]
    if scheme not in ("file", "http", "https", "mem", "s3", "sftp"):
        raise MldbError(f"Uri handler not found for scheme '{scheme}' of '{url}'")
    return scheme, rest


def split_archive(url: str) -> tuple[str, str]:
    """URL of the archive and name of the member. Each ``archive+`` at the front takes one ``#``, from the left."""
    depth, rest = 0, url
    while rest.startswith(_ARCHIVE):
        depth, rest = depth + 1, rest[len(_ARCHIVE) :]
    parts = rest.split("#", depth)
    if len(parts) <= depth:
        raise MldbError("Extracting a file from an archive requires a # between archive URI and path within archive")
    return _ARCHIVE * (depth - 1) + "#".join(parts[:-1]), parts[-1]


def _name_of(url: str) -> str:
    """The part of a URL whose extension names the compression."""
    if url.startswith(_ARCHIVE):
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


def _web_stat(headers: dict[str, str]) -> UrlStat:
    size = headers.get("content-length", "")
    return UrlStat(
        True, int(size) if size.isascii() and size.isdigit() else -1, modified_at(headers), headers.get("etag", "")
    )


def _remote_stat(info: dict[str, Any]) -> UrlStat:
    return UrlStat(True, int(info.get("size") or 0), modified_of(info), str(info.get("ETag", "")))


def _remote_listing(entries: Any) -> dict[str, Any]:
    listing: dict[str, Any] = {"dirs": [], "objects": {}}
    for url, info in entries:
        if info.get("type") == "directory":
            listing["dirs"].append(url)
        else:
            listing["objects"][url] = _remote_stat(info).json()
    return listing


def has_scheme(text: str) -> bool:
    """Whether a text is a URL rather than the name of a file."""
    return text.startswith(_ARCHIVE) or "://" in text[:64]
