"""The static and documentation folders of a plugin: which are served, and which file a path means.

Two rules keep files outside of the plugin safe: a path with ``..``, a NUL or a backslash is refused before anything
is looked up, and what is found must, links resolved, lie in the folder that is served.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import unquote

DOC: Final = "doc"
STATIC: Final = "static"

_MAX_PATH: Final = 4096


class FolderError(Exception):
    """Raised by ``register`` for a folder that cannot be served; the text is shown to the plugin."""


class RefusedPath(Exception):
    """Raised by ``resolve`` for a path that may not be looked up."""


@dataclass
class Folders:
    """The served folders of one generation, by route; the documentation folder has a route of its own."""

    plugin_dir: str | None
    _static: dict[str, Path] = field(default_factory=dict)
    _doc: Path | None = None

    def register(self, kind: str, route: str, folder: str) -> None:
        """Serve a folder of the plugin. Blocks on the disk."""
        name = route.replace("/", "")
        if kind == DOC and not folder:
            raise FolderError("Documentation directory cannot be empty")
        if not folder or (kind == STATIC and not name):
            raise FolderError("Route and static directory cannot be empty for serving static folder")
        path = self._inside(folder, "documentation" if kind == DOC else "static")
        if kind == DOC:
            if self._doc is not None:
                raise FolderError("a documentation folder is served already")
            self._doc = path
        elif kind == STATIC:
            if name in self._static:
                raise FolderError(f"the route '{name}' serves a static folder already")
            self._static[name] = path
        else:
            raise FolderError(f"unknown kind of folder '{kind}'")

    def _inside(self, folder: str, what: str) -> Path:
        shown = Path(self.plugin_dir or "", folder)
        missing = FolderError(f"Cannot serve {what} folder for path that does not exist: {shown}")
        if self.plugin_dir is None or "\0" in folder:
            raise missing
        try:
            root, path = Path(self.plugin_dir).resolve(), shown.resolve()
            is_there = path.is_dir()
        except (OSError, RuntimeError):  # links in a circle, a name that is too long, no permission
            raise missing from None
        if not is_there:
            raise missing
        if not path.is_relative_to(root):
            raise FolderError(f"Cannot serve {what} folder outside of the plugin: {shown}")
        return path

    def static(self, remaining: str) -> tuple[Path, str] | None:
        """The folder and the rest of the path for ``/<route>/<path>``; None when routes.py has it."""
        route, slash, rest = remaining.removeprefix("/").partition("/")
        folder = self._static.get(unquote(route)) if slash else None
        return None if folder is None else (folder, rest)

    def pages(self, name: str) -> list[str]:
        """The static routes whose folder has a file of that name."""
        return [route for route, folder in sorted(self._static.items()) if (folder / name).is_file()]

    def doc(self) -> Path | None:
        return self._doc

    def routes(self) -> list[str]:
        return sorted(self._static)


def decode_path(path: str) -> str:
    """The path below a folder, decoded once; ``RefusedPath`` for every spelling that could leave the folder."""
    decoded = unquote(path)
    if len(path) > _MAX_PATH or "\0" in decoded or "\\" in decoded:
        raise RefusedPath("the path is not allowed")
    # Decoded again, as something behind us might: a file whose name really holds %2e is not worth the risk.
    for spelling in (path, decoded, unquote(decoded)):
        if ".." in spelling or spelling.startswith(("/", "//")) or "\0" in spelling or "\\" in spelling:
            raise RefusedPath("the path may not contain '..'")
    return decoded


def open_inside(folder: Path, name: str) -> BinaryIO:
    """Open a regular file of the folder; ``FileNotFoundError`` when it is none or lies elsewhere.

    The file is opened first and then asked where it lies, so nothing can be swapped in between.
    """
    stream = open(folder / name, "rb", opener=_open_no_wait)  # noqa: SIM115 - handed to the caller
    try:
        real = Path(os.readlink(f"/proc/self/fd/{stream.fileno()}"))  # noqa: PTH115
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode) or not real.is_relative_to(folder):
            raise FileNotFoundError(name)
    except BaseException:
        stream.close()
        raise
    return stream


def _open_no_wait(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a FIFO in the folder must not hold us
