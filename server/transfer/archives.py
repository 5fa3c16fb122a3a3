"""Members of zip and tar archives, read without unpacking anything to disk (security.md row 4).

Names are only compared, never used as paths, so ``../x`` leads nowhere. Links, devices, encrypted and ambiguous
members are refused; sizes and ratios are capped by settings.
"""

from __future__ import annotations

import io
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO, cast

from server.errors import MldbError, NotFound
from server.transfer import codecs
from server.transfer.schemes import ARCHIVE, Scheme, UrlStat, split_archive
from server.transfer.streams import MIB, CountingReader, LimitedReader, Source, buffered

_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_PACKED_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstandard"}
_SPOOL_BYTES = 16 * MIB
_HEADER_BYTES = MIB  # extended tar headers are read into memory whole: names and times, never megabytes


@dataclass(frozen=True)
class ArchiveLimits:
    """Largest unpacked size in bytes and largest ratio of unpacked to packed size."""

    size: int
    ratio: int


@dataclass(frozen=True)
class Member:
    """A regular file in an archive; ``modified`` in seconds since 1970."""

    name: str
    size: int
    modified: float


class ArchiveScheme(Scheme):
    """``archive+<url>#member``. ``open_source`` opens the URL of the archive."""

    def __init__(self, open_source: Callable[..., Source], limits: ArchiveLimits) -> None:
        self._open_source = open_source
        self._limits = limits

    def open_read(self, url: str, *, patient: bool = False) -> Source:
        archive, member = split_archive(url)
        return open_member(self._open_source(archive, patient=patient), member, self._limits)

    def entries(self, url: str) -> Iterator[tuple[str, UrlStat | None]]:
        archive, prefix = split_archive(url if "#" in url else f"{url}#")
        members = list_members(self._open_source(archive), self._limits)
        for name, member in sub_entries(members, prefix):
            stat = None if member is None else UrlStat(True, member.size, member.modified)
            yield f"{ARCHIVE}{archive}#{name}", stat


def open_member(archive: Source, name: str, limits: ArchiveLimits) -> Source:
    """The member of that name; the archive is closed with the stream, or at once on an error."""
    try:
        stream, magic = _peek(archive.stream)
        if magic.startswith(_ZIP_MAGIC):
            return _zip_member(_seekable(stream, limits), name, limits)
        return _tar_member(_tar_stream(stream, magic, limits), name, limits)
    except _bad_archive() as error:
        archive.stream.close()
        raise MldbError(f"cannot read the archive: {error}") from None
    except BaseException:
        archive.stream.close()
        raise


def list_members(archive: Source, limits: ArchiveLimits) -> list[Member]:
    """The regular files of an archive in the order they are stored."""
    with archive.stream:
        try:
            stream, magic = _peek(archive.stream)
            if magic.startswith(_ZIP_MAGIC):
                with zipfile.ZipFile(_seekable(stream, limits)) as packed:
                    return [_zip_entry(info) for info in packed.infolist() if not info.is_dir()]
            with _open_tar(_tar_stream(stream, magic, limits)) as tar:
                return [Member(_plain(m.name), m.size, float(m.mtime)) for m in tar if m.isreg()]
        except _bad_archive() as error:
            raise MldbError(f"cannot read the archive: {error}") from None


def _bad_archive() -> tuple[type[Exception], ...]:
    return (zipfile.BadZipFile, tarfile.TarError, NotImplementedError, *codecs.data_errors())


def _peek(stream: BinaryIO) -> tuple[BinaryIO, bytes]:
    """The stream and its first bytes, which are not consumed."""
    reader = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, stream))
    return cast(BinaryIO, reader), reader.peek(8)[:8]


def _seekable(stream: BinaryIO, limits: ArchiveLimits) -> BinaryIO:
    """Zip archives end with their directory: what cannot seek is copied to a temporary file first."""
    if stream.seekable():
        return stream
    spool = tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115 - closed with the member's stream
    count = 0
    while chunk := stream.read(MIB):
        count += len(chunk)
        if count > limits.size:
            spool.close()
            raise MldbError(f"the archive is larger than {limits.size // MIB} MiB; the setting is archive_size")
        spool.write(chunk)
    stream.close()
    spool.seek(0)
    return cast(BinaryIO, spool)


def unpacked(stream: BinaryIO, codec: str, limits: ArchiveLimits) -> BinaryIO:
    """A stream of what was packed, within limits."""
    counter = CountingReader(stream)
    limited = LimitedReader(
        codecs.decompressor(codec)(cast(BinaryIO, counter)),
        size=limits.size,
        setting="archive_size",
        ratio=limits.ratio,
        packed=lambda: counter.count,
        on_close=counter.close,
    )
    return buffered(limited)


def _tar_stream(stream: BinaryIO, magic: bytes, limits: ArchiveLimits) -> BinaryIO:
    """Without the tar's own compression, where the file name did not tell (``.tgz``)."""
    codec = next((codec for start, codec in _PACKED_MAGIC.items() if magic.startswith(start)), None)
    return stream if codec is None else unpacked(stream, codec, limits)


# ── zip ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _zip_member(stream: BinaryIO, name: str, limits: ArchiveLimits) -> Source:
    packed = zipfile.ZipFile(stream)
    found = [info for info in packed.infolist() if _plain(info.filename) == _plain(name)]
    info = _only_member(found, name)
    if info.flag_bits & 0x1:
        raise MldbError(f"'{name}' in the archive is encrypted")
    if (info.external_attr >> 28) not in (0, 8):  # the Unix file type: only regular files
        raise MldbError(f"'{name}' in the archive is not a regular file")
    if info.file_size > limits.size:
        raise MldbError(f"'{name}' is larger than {limits.size // MIB} MiB; the setting is archive_size")

    def close() -> None:
        packed.close()
        stream.close()

    limited = LimitedReader(
        cast(BinaryIO, packed.open(info)),
        size=limits.size,
        setting="archive_size",
        ratio=limits.ratio,
        packed=lambda: info.compress_size,
        on_close=close,
    )
    return Source(buffered(limited), info.file_size, _zip_entry(info).modified)


def _only_member(found: list[zipfile.ZipInfo], name: str) -> zipfile.ZipInfo:
    if not found:
        raise _missing(name)
    if len(found) > 1:
        raise MldbError(f"the archive holds several members named '{name}'")
    return found[0]


def _zip_entry(info: zipfile.ZipInfo) -> Member:
    try:
        modified = datetime(*info.date_time, tzinfo=UTC).timestamp()
    except ValueError:
        modified = 0.0
    return Member(_plain(info.filename), info.file_size, modified)


# ── tar ──────────────────────────────────────────────────────────────────────────────────────────────────────


class _CheckedHeader(tarfile.TarInfo):
    """A header whose extension records are of bounded size."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _CheckedHeader:
        header = super().frombuf(buf, encoding, errors)
        if header.type in b"xgXLK" and header.size > _HEADER_BYTES:
            raise MldbError("the archive has an extended header of unreasonable size")
        return header


def _open_tar(stream: BinaryIO) -> tarfile.TarFile:
    return tarfile.open(fileobj=stream, mode="r|", tarinfo=_CheckedHeader)


def _tar_member(stream: BinaryIO, name: str, limits: ArchiveLimits) -> Source:
    tar = _open_tar(stream)
    for member in tar:
        if _plain(member.name) != _plain(name):
            tar.members = []  # type: ignore[attr-defined]  # a stream never goes back: do not collect headers
            continue
        if not member.isreg():
            raise MldbError(f"'{name}' in the archive is not a regular file")
        content = tar.extractfile(member)
        assert content is not None

        def close() -> None:
            tar.close()
            stream.close()

        limited = LimitedReader(cast(BinaryIO, content), size=limits.size, setting="archive_size", on_close=close)
        return Source(buffered(limited), member.size, float(member.mtime))
    raise _missing(name)


def _plain(name: str) -> str:
    return name.removeprefix("./").replace("\\", "/")


def _missing(name: str) -> NotFound:
    return NotFound(f"No such file or directory in the archive: '{name}'", code=400)


def sub_entries(members: list[Member], prefix: str) -> Iterator[tuple[str, Member | None]]:
    """What lies directly below a prefix: files, and (None) the first element of deeper names, each once."""
    base = _plain(prefix).rstrip("/")
    base = f"{base}/" if base else ""
    seen: set[str] = set()
    for member in members:
        if not member.name.startswith(base):
            continue
        head, slash, _ = member.name[len(base) :].partition("/")
        if slash and head not in seen:
            seen.add(head)
            yield base + head, None
        elif not slash:
            yield base + head, member
