"""Plugins that come from folders (plugin-runtime.md §3.1): dropped into the data root, or found by their manifest.

A real folder with a ``main.py`` or ``main.js`` in ``<data root>/plugins`` is a plugin of that name for as long as it
is there; links there belong to plugins made over REST. ``mldb_plugin.json`` files are loaded at the start, from
``<data root>/plugins/autoload`` and the folders that the settings name.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from runtime.supervisor import IMPATIENT_SECONDS
from runtime.watcher import FolderWatch, Watcher, is_code
from server.entities.plugin_sources import MAIN
from server.entities.starts import Starts
from server.errors import MldbError
from server.file_names import is_text
from server.settings import Settings

if TYPE_CHECKING:
    from server.entities.registry import Registry

MANIFEST: Final = "mldb_plugin.json"
AUTOLOAD: Final = "autoload"
_LONGEST_MANIFEST: Final = 2**20

_log = logging.getLogger("mldb.plugins")


class PluginFolders:
    """Keeps the plugins of a server in step with the folders."""

    def __init__(self, settings: Settings, registry: Registry, watcher: Watcher) -> None:
        self._root = settings.data_dir.resolve() / "plugins"
        self._scanned = [self._root / AUTOLOAD, *(Path(folder).resolve() for folder in settings.plugin_directory)]
        self._registry = registry
        self._watcher = watcher
        self._watch: FolderWatch | None = None
        self._dropped: set[str] = set()
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._creating: dict[str, float] = {}  # since when

    def load(self, starts: Starts) -> None:
        """Load what is there and begin to watch."""
        self._root.mkdir(parents=True, exist_ok=True)
        try:
            self._watch = self._watcher.add(self._root, self._matters, self._changed)
        except OSError as error:
            _log.warning("folders that are dropped into %s will not be noticed: %s", self._root, error)
        scanned = [partial(self._autoload, manifest) for folder in self._scanned for manifest in manifests(folder)]
        names = [folder.name for folder in sorted(self._root.iterdir()) if self._is_candidate(folder.name)]
        for start in (*scanned, *(partial(self._reconcile, name) for name in names)):
            starts.begin(start)

    # ── manifests ──

    def _autoload(self, manifest: Path) -> None:
        try:
            config = manifest_config(manifest)
            self._registry.create("plugin", {"id": manifest.parent.name, "persistent": False, **config})
        except (MldbError, OSError, ValueError) as error:
            _log.error("%s was not loaded: %s", manifest, error)

    # ── dropped folders ──

    def _is_candidate(self, name: str) -> bool:
        return not name.startswith(".") and name != AUTOLOAD

    def _matters(self, path: Path) -> bool:
        """Folders that come and go, and code below them."""
        name, *rest = path.relative_to(self._root).parts or ("",)
        if not name or not self._is_candidate(name):
            return False
        return not rest or rest[-1] == MANIFEST or is_code(path, self._root)

    def _changed(self, paths: frozenset[Path]) -> None:
        if self._root in paths:  # it is another one, or gone
            names = self._dropped | ({path.name for path in self._root.iterdir()} if self._root.is_dir() else set())
        else:
            names = {path.relative_to(self._root).parts[0] for path in paths}
        for name in filter(self._is_candidate, names):
            # main.py may run for long; other folders must not wait for it.
            threading.Thread(target=self._reconcile, args=(name,), name=f"plugin {name}", daemon=True).start()

    def _reconcile(self, name: str) -> None:
        """Create the plugin of a folder that has none in service, delete that of a folder that is gone."""
        folder = self._root / name
        since = self._creating.get(name)
        if since is not None and time.monotonic() - since > IMPATIENT_SECONDS:
            # This ends its main.py, which hangs, as it seems: what lies there now may mend it.
            self._registry.delete("plugin", name)
        with self._locks[name]:
            try:
                if not folder.exists():
                    if name in self._dropped:
                        self._dropped.discard(name)
                        self._registry.delete("plugin", name)
                elif reason := self._unfit(folder):
                    if self._registry.find("plugin", name) is None:
                        _log.info("%s is no plugin: %s", folder, reason, extra={"source": name})
                elif self._needs_creation(name):
                    self._create(folder)
            except (MldbError, OSError, ValueError) as error:
                _log.error("the folder %s is no plugin yet: %s", folder, _reason(error), extra={"source": name})

    def _needs_creation(self, id: str) -> bool:
        """Whether there is no such plugin, or its creation failed."""
        entry = self._registry.find("plugin", id)
        return entry is None or (entry.ready is None and not entry.under_construction)

    def _create(self, folder: Path) -> None:
        self._dropped.add(folder.name)
        self._creating[folder.name] = time.monotonic()
        try:
            self._registry.create("plugin", self._dropped_config(folder))
        finally:
            del self._creating[folder.name]
        _log.info("plugin made of the folder %s", folder, extra={"source": folder.name})

    @staticmethod
    def _unfit(folder: Path) -> str:
        """Why a folder does not become a plugin; "" when it does."""
        if not is_text(folder.name):
            return "its name is not UTF-8: rename it"
        if folder.is_symlink():
            return "it is a link; what lies elsewhere becomes a plugin by PUT /v1/plugins/<id> with its address"
        if not folder.is_dir():
            return "it is no folder"
        mains = [main for main in MAIN.values() if (folder / main).exists()]
        if not mains:
            return f"it has no {' or '.join(MAIN.values())}"
        if _language(folder) is None:
            owner = (folder / mains[0]).stat().st_uid
            return f"its {mains[0]} belongs to the user {owner}, the server is {os.getuid()}: chown it"
        return ""

    def _dropped_config(self, folder: Path) -> dict[str, Any]:
        """A manifest in the folder may carry ``args``; the id is the folder's name."""
        manifest = folder / MANIFEST
        config = manifest_config(manifest) if manifest.is_file() else located({"type": _language(folder)}, folder)
        return {**config, "id": folder.name, "persistent": False}


def manifests(folder: Path) -> Iterator[Path]:
    """The manifest of a folder, else those of the tree below it, in order of their paths."""
    if (folder / MANIFEST).is_file():
        yield folder / MANIFEST
    elif folder.is_dir():
        yield from sorted(folder.rglob(MANIFEST))


def manifest_config(manifest: Path) -> dict[str, Any]:
    """The plugin configuration that a manifest holds; ``ValueError`` when there is none that can be used."""
    if manifest.stat().st_size > _LONGEST_MANIFEST:
        raise ValueError("the manifest is too long")
    content = json.loads(manifest.read_text(encoding="utf-8"))
    config = content.get("config") if isinstance(content, dict) else None
    if not isinstance(config, dict) or config.get("type") not in MAIN:
        raise ValueError(f"the manifest has no 'config' of type {' or '.join(map(repr, MAIN))}")
    return located(config, manifest.parent)


def located(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The configuration with this folder as its address."""
    params = {**(config.get("params") or {}), "address": "file://" + quote(str(folder))}
    return {**config, "params": params}


def _language(folder: Path) -> str | None:
    """The language of the first main file that can be trusted, None without one."""
    return next((language for language, main in MAIN.items() if is_trusted(folder / main)), None)


def is_trusted(main: Path) -> bool:
    """Whether a main file is there and belongs to the operator: this process's user, or root."""
    try:
        status = main.stat()
    except OSError:
        return False
    return status.st_uid in (0, os.getuid())


def _reason(error: Exception) -> str:
    details = error.details.get("exception") if isinstance(error, MldbError) else None
    if not isinstance(details, dict):
        return str(error)
    text, uri, line = (details.get(name) for name in ("message", "scriptUri", "lineNumber"))
    return f"{details.get('type')}: {text} ({uri}, line {line})"
