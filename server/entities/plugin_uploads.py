"""Plugin folders that come as a zip archive or from a git repository (docs/security.md).

The one way in which a request may put code into the watched folder: an operator says so, with a route of its own. The
watcher makes the plugin of it, as of any folder.
"""

from __future__ import annotations

import io
import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Final

from server.entities import git
from server.entities.plugin_sources import file_name, has_main
from server.errors import Conflict, MldbError, NotFound
from server.file_names import names_in
from server.settings import Settings

_CHUNK: Final = 1 << 20
_LEFT_OUT: Final = ("__MACOSX", "__pycache__", ".git", ".DS_Store", "node_modules")


class PluginUploads:
    """The real folders below the data root, filled on the same disk where nobody watches."""

    def __init__(self, settings: Settings) -> None:
        self._root = settings.data_dir.resolve() / "plugins"
        self._scratch = settings.scratch
        self._settings = settings

    def names(self) -> list[str]:
        """The folders that were put there, by whatever way; links belong to plugins made over REST."""
        if not self._root.is_dir():
            return []
        found = (self._root / name for name in names_in(self._root) if not name.startswith("."))
        return [each.name for each in found if each.is_dir() and not each.is_symlink()]

    def install(self, id: str, content: bytes) -> Path:
        """Unpack an archive as the folder of a plugin, whole or not at all; a folder of that name is replaced."""
        return self._put(id, lambda draft: self._unpack(content, draft))

    def clone(self, id: str, address: str) -> Path:
        """Clone a git repository as the folder of a plugin, as ``install`` does; it stays a repository."""
        private, seconds = self._settings.fetch_private, self._settings.install_timeout
        return self._put(id, lambda draft: git.clone(address, draft / "clone", private=private, seconds=seconds))

    def _put(self, id: str, fill: Callable[[Path], object]) -> Path:
        place = self._place(id)
        self._root.mkdir(parents=True, exist_ok=True)
        draft = self._draft()
        try:
            fill(draft)
            self._swap(_plugin_folder(draft), place)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return place

    def remove(self, id: str) -> None:
        """Delete a folder; the plugin goes with it."""
        place = self._place(id)
        if not place.is_dir():
            raise NotFound(f"there is no plugin folder '{id}' in the data root")
        draft = self._draft()
        try:
            place.rename(draft / "gone")  # at once, so that the watcher sees no half of it
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _place(self, id: str) -> Path:
        if not id or file_name(id) != id or id == "autoload":
            raise MldbError(f"'{id}' will not do as the name of a plugin's folder")
        place = self._root / id
        if place.is_symlink():
            raise Conflict(f"plugin '{id}' was made with an address of its own: delete that plugin first")
        return place

    def _draft(self) -> Path:
        return Path(tempfile.mkdtemp(prefix="plugin-", dir=self._scratch))

    def _unpack(self, content: bytes, draft: Path) -> None:
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                wanted = [info for info in archive.infolist() if _wanted(info)]
                if len(wanted) > (most := self._settings.plugin_files):
                    raise MldbError(
                        f"a plugin may have the {most} files that the setting plugin-files allows, the archive has "
                        f"{len(wanted)}"
                    )
                left = self._settings.plugin_size << 20
                for info in wanted:
                    left -= _write(archive, info, draft, left)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise MldbError("the archive names a file twice, or a file as a folder") from None
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
            raise MldbError(f"the archive cannot be read as zip: {error}") from None

    @staticmethod
    def _swap(folder: Path, place: Path) -> None:
        """A folder of that name makes way, and comes back if the new one cannot take its place."""
        folder.chmod(0o755)
        old = folder.parent / ".replaced"
        if place.exists():
            place.rename(old)
        try:
            folder.rename(place)
        except OSError:
            if old.exists():
                old.rename(place)
            raise


def _wanted(info: zipfile.ZipInfo) -> bool:
    return not info.is_dir() and not any(part in _LEFT_OUT for part in PurePosixPath(info.filename).parts)


def _write(archive: zipfile.ZipFile, info: zipfile.ZipInfo, draft: Path, left: int) -> int:
    """One file below ``draft``; its bytes. What is read is counted: an archive may lie about sizes."""
    name = PurePosixPath(info.filename.replace("\\", "/"))
    # Zip slip: a name must stay below the folder, and links lead out of it.
    if name.is_absolute() or ".." in name.parts or ":" in info.filename or not name.parts:
        raise MldbError(f"the archive names a place outside of its folder: '{info.filename}'")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise MldbError(f"the archive holds a link: '{info.filename}'")
    target = draft / name
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with archive.open(info) as source, os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as sink:
        while chunk := source.read(_CHUNK):
            written += len(chunk)
            if written > left:
                raise MldbError("the archive unpacks to more than the setting plugin-size allows", code=413)
            sink.write(chunk)
    target.chmod(0o644)
    return written


def _plugin_folder(draft: Path) -> Path:
    """The folder that holds main.py or main.js: the top, or the only folder there."""
    if has_main(draft):
        inner = draft / ".plugin"
        inner.mkdir()
        for each in list(draft.iterdir()):
            if each != inner:
                each.rename(inner / each.name)
        return inner
    folders = [each for each in draft.iterdir() if each.is_dir()]
    if len(folders) == 1 and has_main(folders[0]):
        return folders[0]
    raise MldbError("there is no main.py (or main.js) at its top: that is the file that makes a folder a plugin")
