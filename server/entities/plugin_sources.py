"""Where a plugin's or script's code comes from (plugin-runtime.md §3): addresses and inline source.

``place`` is the plugin's own entry below the data root: a link to the folder in use. Checkouts and downloads live in
``.checkouts`` beside it, so a real folder below ``plugins`` is always one that the user put there, and is left alone.
What was fetched stays with its plugin over a restart, which is thus no update and needs no network.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from runtime.messages import Code, Launch
from server.declarations import Services
from server.entities import git
from server.entities.packages import Environments
from server.errors import MldbError
from server.settings import Settings

CHECKOUTS: Final = ".checkouts"
_CHECKOUT: Final = "checkout"  # of what a plugin stores: the name of its folder there
_REPOSITORIES: Final = ("git://", "gist://")
MAIN: Final = {"python": "main.py", "javascript": "main.js"}  # what runs first, by language
_MAX_MAIN: Final = 16 * 2**20  # bytes of a downloaded main.py: no setting, for code is not larger
_LONGEST_NAME: Final = 200  # bytes of an id that is used as the name of a file


def has_main(folder: Path) -> bool:
    """Whether the files in a folder make it a plugin."""
    return any((folder / main).is_file() for main in MAIN.values())


@dataclass(frozen=True)
class Opened:
    """Code that can be run. ``folder``: where its files lie (None for inline source); ``shown``: the plugin's
    directory as plugin code sees it; ``uri``: what tracebacks show; ``version``: the version object; ``fetched``: the
    folder was made for what came from elsewhere; ``discard`` removes it; ``environments``: where its packages are
    installed."""

    uri: str
    folder: Path | None = None
    main: Path | None = None
    source: dict[str, str] = field(default_factory=dict)
    version: dict[str, str] = field(default_factory=dict)
    shown: Path | None = None
    watched: bool = False
    environments: Environments | None = None
    language: str = "python"
    fetched: bool = False
    discard: Callable[[], None] = lambda: None

    def launch(self, id: str, args: bytes | None, address: str, data_root: str) -> Launch:
        """What a plugin's worker runs, as the folder stands now. Blocks on the disk."""
        routes = self._routes()
        if self.main is not None and not self.main.exists():
            raise FileNotFoundError(2, "No such file or directory", str(self.main))
        return Launch(
            "plugin",
            id,
            main=self._main(),
            routes=routes,
            folder=None if self.folder is None else str(self.folder),
            plugin_dir=None if self.shown is None else str(self.shown),
            args=args,
            address=address,
            data_root=data_root,
            packages=self._packages(),
            language=self.language,
        )

    def script(self, args: bytes | None, address: str, data_root: str) -> Launch:
        """What a script's worker runs."""
        folder = None if self.folder is None else str(self.folder)
        return Launch(
            "script",
            "script runner",
            main=self._main(),
            folder=folder,
            args=args,
            address=address,
            data_root=data_root,
            packages=self._packages(),
            language=self.language,
        )

    def current(self) -> dict[str, str]:
        """The version as the folder stands now: one that is a repository may be at another commit."""
        follows = self.folder is not None and self.watched and not self.fetched
        return {**self.version, **git.head(self.folder)} if follows and self.folder is not None else self.version

    def stored(self) -> dict[str, Any] | None:
        """What is kept in the catalogue, for ``Opener.plugin`` after a restart and for ``drop_orphans``."""
        return {_CHECKOUT: self.folder.name, "version": self.version} if self.fetched and self.folder else None

    def _packages(self) -> tuple[str, ...]:
        if self.folder is None or self.environments is None or not self.watched:
            return ()
        return self.environments.provide(self.folder)

    def _main(self) -> Code | None:
        name = MAIN[self.language]
        if self.main is not None:
            return Code(self._uri(name), path=str(self.main))
        text = self.source.get("main", "")
        return Code(self._uri(name), source=text) if text else None

    def _routes(self) -> Code | None:
        if self.language != "python":
            return None
        if self.folder is None:
            text = self.source.get("routes", "")
            return Code(self._uri("routes.py"), source=text) if text else None
        return Code(self._uri("routes.py"), path=str(self.folder / "routes.py")) if self.watched else None

    def _uri(self, name: str) -> str:
        return self.uri if self.uri.endswith(Path(name).suffix) else f"{self.uri.rstrip('/')}/{name}"


def file_name(id: str) -> str:
    """The id as the name of one file: itself where that is harmless."""
    harmless = id not in ("", ".", "..") and not id.startswith(".") and not set(id) & set("/\\\0")
    name = id if harmless else quote(id, safe="").replace(".", "%2E")
    if len(name.encode("utf-8", "surrogatepass")) > _LONGEST_NAME:
        raise MldbError(f"the id of a plugin may have {_LONGEST_NAME} bytes at most")
    return name


class Opener:
    """Opens the code of plugins and scripts for one server."""

    def __init__(self, services: Services, language: str) -> None:
        self._services = services
        self._language = language
        self._main = MAIN[language]
        data = services.settings.data_dir.resolve()
        self.root = data / "plugins"
        self.environments = Environments(
            data / "environments", services.settings.scratch, services.settings.install_timeout
        )

    def plugin(
        self, id: str, address: str, source: dict[str, str] | None, stored: dict[str, Any] | None = None
    ) -> Opened:
        """Open a plugin's code; ``MldbError`` with MLDB's texts. ``stored``: what was kept of it before a restart."""
        given = {name: text for name, text in (source or {}).items() if text}
        if address and given:
            raise MldbError("Cannot specify both address and source for plugin")
        if given:
            return self._opened("", source=given, shown=self.root / file_name(id))
        try:
            return self._linked(id, self._fetched(address, stored) or self._open(address))
        except (MldbError, OSError) as error:
            raise _opening(error) from error

    def script(self, address: str, source: str, *, as_file: bool) -> Opened:
        """Open a script's code; what is temporary goes with ``discard``."""
        if address and source:
            raise MldbError("Cannot specify both address and source for plugin")
        if source and as_file:
            return self._temporary(source)
        if source:
            return self._opened("", source={"main": source})
        try:
            return self._open(address)
        except (MldbError, OSError) as error:
            raise _opening(error) from error

    def _opened(self, *given: Any, **named: Any) -> Opened:
        return replace(Opened(*given, **named), language=self._language)

    def _fetched(self, address: str, stored: dict[str, Any] | None) -> Opened | None:
        """What was fetched from an address before, if it is still there."""
        folder = self.root / CHECKOUTS / stored[_CHECKOUT] if stored else None
        if stored is None or folder is None or not (folder / self._main).is_file():
            return None
        make = self._of_repository if address.startswith(_REPOSITORIES) else self._of_page
        return make(address, folder, stored["version"])

    def _open(self, address: str) -> Opened:
        scheme, colon, rest = address.partition("://")
        if not colon or not rest:
            raise MldbError(f"Unsupported URL: {address}")
        if scheme == "file":
            return self._local(address, rest)
        if scheme in ("http", "https"):
            return self._download(address)
        if address.startswith(_REPOSITORIES):
            return self._checkout(address)
        raise MldbError(f"Unsupported URL: {address}")

    def _local(self, address: str, rest: str) -> Opened:
        access = self._services.urls.access
        path = access.path_of(rest)
        version = {"address": rest}
        if path.is_dir():
            folder = access.readable(path)
            main = folder / self._main
            if not main.is_file():
                raise _MissingMain(f"opening file '{main}': No such file or directory")
            access.protect(folder)
            return self._opened(address, folder, main, version=version, watched=True, environments=self.environments)
        if not path.is_file():
            raise MldbError(f"Source does not exist: opening file '{rest}': No such file or directory")
        return self._opened(address, access.readable(path).parent, access.readable(path), version=version)

    def _download(self, address: str) -> Opened:
        content = self._services.urls.read(address, limit=_MAX_MAIN).content
        folder = self._new_checkout()
        (folder / self._main).write_bytes(content)
        return self._of_page(address, folder, {"address": address.partition(":")[2]})

    def _of_page(self, address: str, folder: Path, version: dict[str, str]) -> Opened:
        return self._opened(
            address, folder, folder / self._main, version=version, fetched=True, discard=_remover(folder)
        )

    def _checkout(self, address: str) -> Opened:
        folder = self._new_checkout()
        try:
            settings = self._services.settings
            version = git.clone(address, folder, private=settings.fetch_private, seconds=settings.install_timeout)
            if not (folder / self._main).is_file():
                raise _MissingMain(f"opening file '{self._main}': No such file or directory")
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return self._of_repository(address, folder, version)

    def _of_repository(self, address: str, folder: Path, version: dict[str, str]) -> Opened:
        shown = address.partition("#")[0]
        return self._opened(
            shown, folder, folder / self._main, version=version, watched=True, environments=self.environments,
            fetched=True, discard=_remover(folder),
        )  # fmt: skip

    def _new_checkout(self) -> Path:
        parent = self.root / CHECKOUTS
        parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=parent))

    def _temporary(self, source: str) -> Opened:
        folder = self._new_checkout()
        main = folder / self._main
        main.write_text(source, encoding="utf-8")
        return self._opened("", folder, main, discard=_remover(folder))

    def _linked(self, id: str, opened: Opened) -> Opened:
        """Put the link to the folder (or, for a single file, a folder with a link to it) in the plugin's place."""
        assert opened.folder is not None
        target = opened.folder if opened.watched else self._folder_of_file(opened)
        place = self.root / file_name(id)
        self.root.mkdir(parents=True, exist_ok=True)
        if place.is_dir() and not place.is_symlink():
            if place.resolve() != target.resolve():
                raise MldbError(
                    f"'{place.name}' is a folder that was put into the data root; remove it first", code=409
                )
        else:
            place.unlink(missing_ok=True)
            place.symlink_to(target)
        discard = _remover(target) if target.parent.name == CHECKOUTS else opened.discard
        return replace(opened, folder=target, main=target / self._main, shown=place, discard=discard)

    def _folder_of_file(self, opened: Opened) -> Path:
        assert opened.folder is not None
        assert opened.main is not None
        if opened.folder.parent == self.root / CHECKOUTS:
            return opened.folder
        folder = self._new_checkout()
        (folder / self._main).symlink_to(opened.main)
        return folder


def drop_orphans(settings: Settings, stored: Iterable[Any]) -> None:
    """Remove what was fetched for plugins and scripts that are no more. ``stored``: what each that is there stored."""
    names = {each[_CHECKOUT] for each in stored if each}
    for folder in (settings.data_dir.resolve() / "plugins" / CHECKOUTS).glob("*"):
        if folder.name not in names:
            shutil.rmtree(folder, ignore_errors=True)


class _MissingMain(MldbError):
    """A folder without its main file: the file system's message stands alone (plugin-runtime.md §3)."""


def _opening(error: MldbError | OSError) -> MldbError:
    if isinstance(error, _MissingMain):
        return error
    if isinstance(error, MldbError):
        code = error.code if error.code == 409 else 400
        return MldbError(f"Exception opening plugin: {error.message}", code=code, details=error.details)
    return MldbError(f"Exception opening plugin: {error.strerror or error}")


def _remover(folder: Path) -> Callable[[], None]:
    return lambda: shutil.rmtree(folder, ignore_errors=True)
