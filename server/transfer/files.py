"""``file:`` URLs: which files of this machine may be read and written, and how (security.md rows 2, 3, 7, 8)."""

from __future__ import annotations

import os
import secrets
import stat as stat_modes
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

import server
from server import durable
from server.errors import MldbError, NotFound
from server.file_names import names_in
from server.settings import Settings
from server.transfer.schemes import Scheme, UrlStat, split_scheme
from server.transfer.streams import Sink, Source

DATA_ALIAS = "mldb_data"  # file:///mldb_data/… and file://mldb_data/… are the data root, wherever it lies

# In a plugin folder these become code that runs, pages that browsers run, or what describes them.
CODE_SUFFIXES = frozenset((
    ".py", ".pyc", ".pyo", ".pyd", ".pyw", ".pyx", ".so", ".pth", ".egg", ".whl", ".sh", ".ipynb",
    ".js", ".mjs", ".cjs", ".ts", ".jsx", ".tsx", ".wasm", ".css", ".map", ".webmanifest",
    ".html", ".htm", ".xhtml", ".shtml", ".xht", ".mht", ".mhtml", ".svg", ".svgz", ".xml", ".xsl", ".xslt",
    ".md", ".markdown", ".rst", ".j2", ".jinja", ".jinja2", ".tmpl", ".toml", ".ini", ".cfg", ".yaml", ".yml",
))  # fmt: skip
CODE_NAMES = frozenset(("mldb_plugin.json", "package.json", "manifest.json", "requirements.txt", "constraints.txt"))
# Beginnings of names at the top of the data root.
_PRIVATE_NAMES = ("mldb.duckdb", "credentials.json", "known_hosts", "saved_queries.json", "stopped_plugins.json", ".")
_PART = ".part"  # the end of the name of a file that is being written


class FileAccess:
    """Decides about paths. ``protect`` adds a folder in which no code or page may be written."""

    def __init__(self, settings: Settings) -> None:
        self.working = Path.cwd().resolve()
        self.data = Path(settings.data_dir).resolve()
        plugins = [Path(folder).resolve() for folder in settings.plugin_directory]
        self._roots = [self.data, self.working, *(Path(root).resolve() for root in settings.file_root), *plugins]
        install = Path(server.__file__).resolve().parent
        self._sealed = [install, install.parent / "runtime", install.parent / "static"]
        self._watched = [self.data / "plugins", install.parent / "plugins", *plugins]

    def protect(self, folder: Path) -> None:
        resolved = folder.resolve()
        if resolved not in self._watched:
            self._watched = [*self._watched, resolved]

    def path_of(self, rest: str) -> Path:
        """The path that follows ``file://``: relative to the working directory, percent-encoding optional."""
        if "\0" in rest:
            raise MldbError("a file name cannot hold a NUL character")
        plain = self._locate(rest)
        return plain if "%" not in rest or os.path.lexists(plain) else self._locate(unquote(rest))

    def _locate(self, rest: str) -> Path:
        if "\0" in rest:
            raise MldbError("a file name cannot hold a NUL character")
        path = Path(rest)
        below = path.parts[1:] if path.is_absolute() else path.parts
        if below[:1] == (DATA_ALIAS,):
            return self.data.joinpath(*below[1:])
        return self.working / path

    def readable(self, path: Path) -> Path:
        """The resolved path, or an error when it lies outside the roots or is the server's own state."""
        resolved = self._within_roots(path)
        if resolved.is_relative_to(self.data) and resolved != self.data:
            top = resolved.relative_to(self.data).parts[0]
            if top.startswith(_PRIVATE_NAMES):
                raise MldbError(f"'{top}' holds the server's own state and cannot be accessed", code=403)
        return resolved

    def writable(self, path: Path) -> Path:
        """As ``readable``, for writing: the server's own files are refused too, and code or pages in plugin folders."""
        resolved = self.readable(path)
        if resolved.parent == Path(resolved.anchor):
            raise MldbError(f"nothing can be written to the root folder '{resolved.anchor}' of this machine", code=403)
        if any(resolved.is_relative_to(folder) for folder in self._sealed):
            raise MldbError("files of the server itself cannot be written", code=403)
        if any(resolved.is_relative_to(folder) for folder in self._watched) and is_code(resolved.name):
            raise MldbError(
                f"'{path.name}' cannot be written into a plugin folder: it would become code or a page", code=403
            )
        return resolved

    def _within_roots(self, path: Path) -> Path:
        try:
            resolved = path.resolve()
        except (OSError, RuntimeError) as error:
            raise MldbError(f"cannot resolve '{path.name}': {error}") from None
        if not any(resolved.is_relative_to(root) for root in self._roots):
            raise MldbError(
                f"file '{path}' is outside the folders that may be accessed: the data root, file:///mldb_data/…, and "
                "what --file-root names",
                code=403,
            )
        return resolved


def is_code(name: str) -> bool:
    """Whether a file of this name in a plugin folder would become code, a page or a manifest."""
    lowered = name.lower()
    return lowered in CODE_NAMES or any(suffix in CODE_SUFFIXES for suffix in Path(lowered).suffixes[-1:])


class FileScheme(Scheme):
    """``file:`` behind the policy of ``FileAccess``."""

    def __init__(self, access: FileAccess) -> None:
        self.access = access

    def open_read(self, url: str, *, patient: bool = False) -> Source:
        _, rest = split_scheme(url)
        resolved = self.access.readable(self.access.path_of(rest))
        stream = self._open_regular(resolved, rest)
        status = os.fstat(stream.fileno())
        return Source(stream, status.st_size, status.st_mtime)

    def _open_regular(self, resolved: Path, rest: str) -> BinaryIO:
        # O_NONBLOCK: opening a pipe must not hang. O_NOFOLLOW and the second look: the path may be swapped for a
        # symbolic link between the check and the opening.
        try:
            descriptor = os.open(resolved, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise file_error(error, rest) from None
        try:
            status = os.fstat(descriptor)
            if stat_modes.S_ISDIR(status.st_mode):
                raise MldbError(f"opening file '{rest}': Is a directory")
            if not stat_modes.S_ISREG(status.st_mode):
                raise MldbError(f"opening file '{rest}': not a regular file")
            if not os.path.samestat(status, os.stat(self.access.readable(resolved))):  # noqa: PTH116
                raise MldbError(f"opening file '{rest}': the file was replaced while it was opened")
            return os.fdopen(descriptor, "rb", buffering=1 << 20)
        except BaseException as error:
            os.close(descriptor)
            if isinstance(error, OSError):
                raise file_error(error, rest) from None
            raise

    def make_room(self, url: str) -> None:
        self._writable(url).parent.mkdir(parents=True, exist_ok=True)

    def open_write(self, url: str) -> Sink:
        resolved = self._writable(url)
        try:
            resolved.parent.mkdir(parents=True, exist_ok=True)
            return FileSink(self.access, resolved)
        except OSError as error:
            raise file_error(error, split_scheme(url)[1]) from None

    def stat(self, url: str) -> UrlStat:
        resolved = self.access.readable(self.access.path_of(split_scheme(url)[1]))
        try:
            return _stat(resolved.stat())
        except OSError:
            return UrlStat(False)

    def entries(self, url: str) -> Iterable[tuple[str, UrlStat | None]]:
        """Readable files and folders, sorted by name. One whose name is no text cannot be named by a URL."""
        _, rest = split_scheme(url)
        folder = self.access.readable(self.access.path_of(rest))
        try:
            names = names_in(folder)
        except OSError as error:
            raise file_error(error, rest) from None
        above = f"file://{rest.rstrip('/')}/" if rest else "file://"
        for name in names:
            try:
                status = self.access.readable(folder / name).stat()
            except (MldbError, OSError):
                continue  # what may not be read is not listed; what vanished meanwhile neither
            if stat_modes.S_ISDIR(status.st_mode):
                yield above + name, None
            elif stat_modes.S_ISREG(status.st_mode):
                yield above + name, _stat(status)

    def delete(self, url: str) -> None:
        resolved = self._writable(url)
        try:
            resolved.unlink()
        except OSError as error:
            raise file_error(error, split_scheme(url)[1]) from None

    def _writable(self, url: str) -> Path:
        return self.access.writable(self.access.path_of(split_scheme(url)[1]))


def _stat(status: os.stat_result) -> UrlStat:
    return UrlStat(True, status.st_size, status.st_mtime)


class FileSink:
    """Writes beside the target and takes its place on ``commit``, durably.

    The draft has no name until it is whole, so that nothing stays of a server that is killed; where the file system
    has no such files it has one.
    """

    def __init__(self, access: FileAccess, target: Path) -> None:
        self._access = access
        self._target = target
        if target.is_dir():
            raise IsADirectoryError(21, "Is a directory")
        self._beginning = f".{target.name[:64]}."  # of the draft's name
        self._part: Path | None = None
        try:
            descriptor = os.open(target.parent, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        except OSError:
            descriptor, name = tempfile.mkstemp(prefix=self._beginning, suffix=_PART, dir=target.parent)
            self._part = Path(name)
        self._file = os.fdopen(descriptor, "wb", buffering=1 << 20)

    def write(self, data: bytes, /) -> int:
        return self._file.write(data)

    def commit(self) -> None:
        try:
            self._file.flush()
            os.fchmod(self._file.fileno(), 0o644)
            self._access.writable(self._target)
            part = self._part = self._part or self._named()
            self._file.close()
            durable.replace(part, self._target)
        except BaseException:
            self.discard()
            raise

    def _named(self) -> Path:
        """The draft under a name of its own, from which it can take the place of another file."""
        name = f"{self._beginning}{secrets.token_hex(4)}{_PART}"
        folder = os.open(self._target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # With a descriptor of the folder the link is followed to the file: without, it would itself be linked.
            os.link(f"/proc/self/fd/{self._file.fileno()}", name, dst_dir_fd=folder, follow_symlinks=True)
        finally:
            os.close(folder)
        return self._target.with_name(name)

    def discard(self) -> None:
        with suppress(OSError):  # a full disk refuses what is left in the buffer too
            self._file.close()
        if self._part is not None:
            self._part.unlink(missing_ok=True)


def file_error(error: OSError, rest: str) -> MldbError:
    """The caller's error for a file that cannot be used; the texts are the operating system's."""
    if isinstance(error, FileNotFoundError):
        return NotFound(f"opening file '{rest}': No such file or directory", code=400)
    return MldbError(f"opening file '{rest}': {error.strerror or error}")
