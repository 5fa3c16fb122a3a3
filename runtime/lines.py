"""``mldb.read_lines`` and ``mldb.ls``: files and pages, read with the rights of the plugin's own process."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final, cast
from urllib.parse import parse_qsl, unquote, urlsplit
from urllib.request import urlopen

_FETCH_SECONDS: Final = 60.0
_DATA_ALIAS: Final = "mldb_data"
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_HTTP: Final = 80


def read_lines(uri: str, max_lines: int = -1, data_root: str = "") -> list[str]:
    """Lines without their newlines (those of DOS too), decompressed by the name's ending.

    ``RuntimeError`` when it cannot be read.
    """
    try:
        with _open(uri, data_root) as raw, decompressed(raw, urlsplit(uri).path) as stream:
            lines = (_line(each) for each in io.BufferedReader(cast(io.RawIOBase, stream)))
            return list(lines if max_lines < 0 else islice(lines, max_lines))
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise RuntimeError(f"{uri} cannot be read: {error}") from error


def _line(read: bytes) -> str:
    line = read.removesuffix(b"\n")
    return line.removesuffix(b"\r").decode("utf-8")


def open_bytes(uri: str, data_root: str = "") -> IO[bytes]:
    """What a file or page holds, decompressed by the name's ending; ``RuntimeError`` when it cannot be read."""
    try:
        return decompressed(_open(uri, data_root), urlsplit(uri).path)
    except OSError as error:
        raise RuntimeError(f"{uri} cannot be read: {error}") from error


def page_of(uri: str, server: str) -> tuple[str, list[tuple[str, str]]] | None:
    """Path and parameters of a page of this server; None for an address of something else."""
    given, own = urlsplit(uri), urlsplit(server)
    names = (own.hostname, *_LOOPBACK)
    if given.scheme != "http" or given.hostname not in names or (given.port or _HTTP) != own.port:
        return None
    return given.path or "/", parse_qsl(given.query, keep_blank_values=True)


def _open(uri: str, data_root: str) -> IO[bytes]:
    scheme = urlsplit(uri).scheme
    if scheme in ("http", "https"):
        return cast(IO[bytes], urlopen(uri, timeout=_FETCH_SECONDS))  # noqa: S310 - the scheme is checked
    if scheme in ("file", ""):
        return local_path(uri, data_root).open("rb")
    raise RuntimeError(f"Unsupported URL: {uri}")


def local_path(uri: str, data_root: str = "") -> Path:
    """The path of a ``file:`` URL; relative ones (``file://a/b``) start in the working directory.

    ``file:///mldb_data/…`` lies in the data root, as it does for the host.
    """
    path = Path(unquote(uri.removeprefix("file://")))
    if data_root and path.parts[:2] == ("/", _DATA_ALIAS):
        return Path(data_root, *path.parts[2:])
    return path


def _zstd(raw: IO[bytes]) -> IO[bytes]:
    import zstandard

    return cast(IO[bytes], zstandard.ZstdDecompressor().stream_reader(raw))


def _lz4(raw: IO[bytes]) -> IO[bytes]:
    import lz4.frame

    return cast(IO[bytes], lz4.frame.LZ4FrameFile(raw))


_DECOMPRESSORS: Final[dict[str, Callable[[IO[bytes]], Any]]] = {
    ".gz": lambda raw: gzip.GzipFile(fileobj=raw),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": _zstd,
    ".lz4": _lz4,
}


def decompressed(raw: IO[bytes], path: str) -> IO[bytes]:
    """The stream, decompressed as the ending of its path says."""
    decompress = _DECOMPRESSORS.get(Path(path).suffix)
    return raw if decompress is None else decompress(raw)


def ls(uri: str, data_root: str = "") -> dict[str, Any]:
    """The folders and files directly in a folder; ``RuntimeError`` when it is none."""
    if urlsplit(uri).scheme not in ("file", ""):
        raise RuntimeError(f"{uri} cannot be listed: only file: folders can")
    try:
        entries = sorted(local_path(uri, data_root).iterdir())
        prefix = uri.rstrip("/")
        folders = [f"{prefix}/{entry.name}" for entry in entries if entry.is_dir()]
        objects = {f"{prefix}/{entry.name}": _object(entry) for entry in entries if entry.is_file()}
    except OSError as error:
        raise RuntimeError(f"{uri} cannot be listed: {error}") from error
    return {"dirs": folders, "objects": objects}


def _object(path: Path) -> dict[str, Any]:
    status = path.stat()
    changed = datetime.fromtimestamp(status.st_mtime, UTC)
    return {
        "exists": True,
        "lastModified": changed.isoformat().replace("+00:00", "Z"),
        "size": status.st_size,
        "etag": f"{status.st_mtime_ns:x}-{status.st_size:x}",
        "storageClass": "STANDARD",
        "ownerId": str(status.st_uid),
        "ownerName": "",
        "contentType": "",
        "objectMetadata": {},
        "userMetadata": {},
    }
