"""Puts the parts together: the only module that sees them all."""

from __future__ import annotations

import asyncio
import logging
import shutil
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from server import tracing
from server.builtin_types import BUILTIN_TYPES
from server.datasets.base import tables_of
from server.declarations import EntityKind
from server.entities import jsontext, plugin_drafts, plugin_sources
from server.entities.catalogue import Catalogue
from server.entities.credentials import Credentials
from server.entities.jobs import Jobs
from server.entities.plugin_host import PluginHost
from server.entities.plugins import plugin_types
from server.entities.registry import Announced, Registry
from server.entities.runner import Runner
from server.entities.services import ServerServices
from server.entities.starts import Starts
from server.entities.types import PLURALS, TypeRegistry
from server.errors import MldbError
from server.http import (
    backup,
    collections,
    credentials,
    datasets,
    docsite,
    events,
    functions,
    login,
    logs,
    metrics,
    openapi,
    pages,
    plugin_folders,
    plugins,
    procedures,
    queries,
    query,
    saved_queries,
    system,
    types,
    uploads,
    workbench,
)
from server.http.doc_macros import expand as expand_macro
from server.http.gateway import Gateway
from server.http.host import Host
from server.http.security import Gate
from server.learning import graph_files
from server.learning.model_worker import ModelWorker
from server.logs import LogStore
from server.settings import Settings
from server.shutdown import Shutdown
from server.storage.database import Database
from server.transfer.urls import Urls

log = logging.getLogger("mldb.server")

# Modules with the REST routes of one resource: each has ``register(host)``.
RESOURCES = (
    system,
    collections,
    datasets,
    functions,
    procedures,
    plugins,
    types,
    query,
    queries,
    saved_queries,
    credentials,
    events,
    plugin_folders,
    workbench,
    uploads,
    metrics,
    backup,
    openapi,
)


class Server:
    """The parts of a running server. Built in the process that serves; ``start`` and ``close`` bracket its life."""

    def __init__(self, settings: Settings, gate: Gate, shutdown: Shutdown) -> None:
        jsontext.MAX_DEPTH = settings.json_depth
        if settings.otlp_endpoint:
            tracing.configure(settings.otlp_endpoint)
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        self.logs = LogStore(settings)
        self.logs.install()
        self.database = open_database(settings)
        empty_scratch(settings.scratch)
        self.jobs = Jobs(settings.job_memory)
        self.models = model_worker(settings)
        registry_types = TypeRegistry()
        registry_types.announce(BUILTIN_TYPES)
        self.plugins = PluginHost(settings)
        registry_types.register(plugin_types(self.plugins))
        registry = Registry(registry_types, Catalogue(self.database))
        runner = Runner(registry, settings.run_history)
        stored_credentials = Credentials(settings.data_dir / "credentials.json")
        urls = Urls(settings, stored_credentials.lookup)
        self.services = ServerServices(settings, self.database, urls, registry, runner, self.jobs, self.models)
        registry.attach(self.services)
        registry.add_check(refuse_builtin_names)
        self.host = Host(settings, registry_types, registry, runner, self.services, stored_credentials, shutdown)
        for module in RESOURCES:
            module.register(self.host)
        self.host.health_checks["plugins"] = self.plugins.health
        page_app, page_roots = pages.application(
            [
                *logs.routes(self.logs, shutdown),
                *login.routes(gate, self.host.metrics.refuse),
                *docsite.routes(self.host),
            ]
        )
        self.gateway = Gateway(settings, self.host.resources, gate, page_app, page_roots, self.host.metrics)

    async def start(self) -> None:
        """Called on the event loop before the first request."""
        self.services.attach(asyncio.get_running_loop(), self.host.resources)
        await self.plugins.attach(self.host.resources.dispatch, partial(expand_macro, self.host.types))
        waiting = await asyncio.to_thread(self._announce)
        threading.Thread(target=self._restore, args=(waiting,), name="restore", daemon=True).start()

    def _restore(self, waiting: list[Announced]) -> None:
        """What the catalogue holds first: it wins over folders of the same name."""
        try:
            starts = Starts()
            self.host.registry.restore(waiting, starts)
            self.plugins.load_folders(self.host.registry, starts)
        finally:
            self.host.registry.restored.set()

    def _announce(self) -> list[Announced]:
        """What no saved entity refers to is what a kill left half-made: it goes before anything is made."""
        waiting = self.host.registry.announce()
        stored: dict[EntityKind, list[Any]] = {kind: [] for kind in PLURALS}
        for _, _, record in waiting:
            stored[record.kind].append(record.stored)
        settings = self.services.settings
        self.database.drop_orphans(tables_of(stored["dataset"]))
        graph_files.drop_orphans(settings, stored["function"])
        plugin_sources.drop_orphans(settings, stored["plugin"])
        plugin_drafts.drop_orphans(settings.data_dir / "plugins")
        return waiting

    async def close(self) -> None:
        """Stop runs, close entities (their stored data stay), end processes, close the database."""
        await self.plugins.close()
        await asyncio.get_running_loop().run_in_executor(None, self._close)

    def _close(self) -> None:
        self.host.runner.close()
        self.jobs.close()
        self.models.close()
        self.host.registry.close()
        self.host.resources.threads.shutdown(wait=False, cancel_futures=True)
        with suppress(OSError):  # of a disk that takes nothing: the next start comes to it
            empty_scratch(self.services.settings.scratch)
        self.database.close()
        self.logs.close()


def empty_scratch(folder: Path) -> None:
    """Remove temporary files, those of a killed server too. Called while the database is ours: another server may
    work in the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(exist_ok=True)


def open_database(settings: Settings) -> Database:
    """The database of the data root; OSError with the remedy when another process has it."""
    try:
        return Database(
            settings.database_file,
            memory_limit=settings.database_memory or None,
            threads=settings.database_threads or None,
        )
    except duckdb.IOException as error:
        if "lock" not in str(error):
            raise
        raise OSError(
            f"{settings.database_file} is in use by another process: stop that one, or choose another data-dir"
        ) from None


def refuse_builtin_names(kind: EntityKind, id: str) -> None:
    """A function may not hide a builtin of the dialect."""
    if kind != "function":
        return
    from server.sql.functions import BUILTINS

    if id in BUILTINS:
        raise MldbError(f"Cannot add function: MLDB already has a built-in function named {id}")


def model_worker(settings: Settings) -> ModelWorker:
    """The model worker as the settings want it; it starts at its first use."""
    return ModelWorker(
        memory=settings.model_memory,
        timeout=settings.model_timeout,
        pixels=settings.image_pixels,
        bf16=settings.model_bf16,
        log=logging.getLogger("mldb.models").info,
    )
