"""Backup of a data root while its server works: a consistent copy of the database, and the files beside it."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

import zstandard

from server import __version__
from server.entities.routes import DRAFT
from server.settings import Settings
from server.storage.database import Database

MANIFEST: Final = "backup.json"
# What is made anew, what belongs to the machine, and secrets: they would leave through a route that pages can call.
_LEFT_OUT: Final = frozenset({"logs", ".scratch"})
_SECRETS: Final = "credentials.json"  # also what is being written to take its place


def write_backup(settings: Settings, database: Database, target: IO[bytes]) -> None:
    """Write a ``.tar.zst`` of the data root. Files that vanish meanwhile are left out; none is read half-written
    unless it is written in place."""
    root = settings.data_dir
    with tempfile.TemporaryDirectory(prefix="backup-", dir=settings.scratch) as folder:
        copy = Path(folder) / settings.database_file.name
        database.snapshot(copy)
        packer = zstandard.ZstdCompressor(level=3, threads=-1)
        with packer.stream_writer(target, closefd=False) as packed, tarfile.open(fileobj=packed, mode="w|") as archive:
            _add_text(archive, MANIFEST, json.dumps({"version": __version__, "time": time.time()}))
            archive.add(copy, settings.database_file.name)
            for file in _files(root, settings.database_file.name):
                _add(archive, file, str(file.relative_to(root)))
            archive.getmembers().clear()  # each refers to the archive, whose megabytes would wait for the collector


def _files(root: Path, database: str) -> Iterator[Path]:
    for entry in sorted(root.iterdir()):
        if entry.name not in _LEFT_OUT and not entry.name.startswith((_SECRETS, database)):
            files = (file for file in sorted([entry, *entry.rglob("*")]) if file.is_dir() or file.is_file())
            yield from (file for file in files if not (file.name.startswith(DRAFT) or _is_plugin_link(file, root)))


def _is_plugin_link(file: Path, root: Path) -> bool:
    """Whether it is a link that a plugin made over REST has in place of a folder: it is made anew with the plugin."""
    return file.parent == root / "plugins" and file.is_symlink()


def _add(archive: tarfile.TarFile, file: Path, name: str) -> None:
    try:
        archive.add(file, name, recursive=False)
    except FileNotFoundError:
        return  # deleted between listing and reading


def _add_text(archive: tarfile.TarFile, name: str, text: str) -> None:
    member = tarfile.TarInfo(name)
    content = text.encode()
    member.size, member.mtime = len(content), int(time.time())
    archive.addfile(member, io.BytesIO(content))


def restore_backup(source: IO[bytes], root: Path) -> dict[str, Any]:
    """Unpack a backup into an empty or absent folder; its manifest, with the names of links that were left out as
    they lead elsewhere. ``ValueError`` for what is no backup; nothing of it stays then."""
    if root.exists() and any(root.iterdir()):
        raise ValueError(f"{root} is not empty: a backup is restored into a data root of its own")
    made = not root.exists()
    root.mkdir(parents=True, exist_ok=True)
    try:
        return _unpack(source, root)
    except BaseException as error:
        _empty(root)
        if made:
            root.rmdir()
        if isinstance(error, zstandard.ZstdError | tarfile.TarError | OSError | ValueError):
            raise ValueError(f"this is no backup, or a damaged one: {error}") from None
        raise


def _unpack(source: IO[bytes], root: Path) -> dict[str, Any]:
    left_out: list[str] = []

    def within(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
        try:
            return tarfile.data_filter(member, path)
        except (tarfile.AbsoluteLinkError, tarfile.LinkOutsideDestinationError):
            left_out.append(member.name)
            return None

    with (
        zstandard.ZstdDecompressor().stream_reader(source) as plain,
        tarfile.open(fileobj=plain, mode="r|") as archive,
    ):
        archive.extractall(root, filter=within)  # noqa: S202 - the filter asks tarfile's own
    manifest: dict[str, Any] = json.loads((root / MANIFEST).read_text())
    (root / MANIFEST).unlink()
    return {**manifest, "links": left_out}


def _empty(folder: Path) -> None:
    for each in folder.iterdir():
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        else:
            each.unlink()
