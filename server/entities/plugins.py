"""Plugins: their entity types, how one is started, and the entity (plugin-runtime.md §3–§8)."""

from __future__ import annotations

import asyncio
import json
import logging
from concurrent.futures import CancelledError
from functools import partial
from pathlib import Path
from typing import Any, Final

from pydantic import Field, field_validator

from runtime import protocol
from runtime.executor import WorkerFailure
from runtime.generation import Answer, RequestFailed
from runtime.jsontext import encode_payload, to_bytes
from runtime.messages import Launch, PluginRequest
from runtime.starting import LaunchFailed, MainFailed
from runtime.supervisor import Supervisor
from runtime.watcher import FolderWatch
from server import tracing
from server.declarations import Creation, EntityType, Params, Services
from server.entities import plugin_files, route_notes, scripts
from server.entities.plugin_host import PluginHost, traced
from server.entities.plugin_sources import Opened, Opener
from server.entities.route_tree import unknown_resource
from server.errors import Cancelled, MldbError
from server.messages import Request, Response

_JSON: Final = "application/json"
_logger = logging.getLogger("mldb.plugins")


class PluginSource(Params):
    """Code given as text."""

    main: str = Field("", description="Runs once, when the plugin is created")
    routes: str = Field("", description="Runs for every request below the plugin's routes")
    status: str = Field("", description="Accepted, never run")


class PluginParams(Params):
    """Parameters of a plugin."""

    address: str = Field("", description="Folder, file, page or repository that holds the code")
    source: PluginSource | None = Field(
        None, description="The code itself, instead of an address; a text is that of main"
    )
    args: Any = Field(None, description="Any JSON; the plugin reads it as mldb.plugin.args, in JavaScript plugin.args")

    @field_validator("source", mode="before")
    @classmethod
    def _plain(cls, given: Any) -> Any:
        return {"main": given} if isinstance(given, str) else given


def plugin_types(host: PluginHost) -> list[EntityType]:
    """The entity types of plugins."""
    python = "`main.py` runs once in a process of its own, `routes.py` for every request below `/routes`."
    javascript = (
        "`main.js` runs once in a process of its own; a function that it gives to `plugin.setRequestHandler` "
        "answers every request below `/routes`."
    )
    return [_type(host, "python", "Python", python), _type(host, "javascript", "JavaScript", javascript)]


def _type(host: PluginHost, language: str, title: str, doc: str) -> EntityType:
    async def route(services: Services, request: Request) -> Response:
        if request.verb == "POST" and request.remaining == "/run":
            return await scripts.run(host, services, request, language)
        raise unknown_resource(request)

    return EntityType(
        kind="plugin",
        name=language,
        params=PluginParams,
        summary=f"Web applications and routes written in {title}",
        create=partial(create, host, language=language),
        doc=doc,
        route=route,
    )


def create(host: PluginHost, creation: Creation, language: str) -> Plugin:
    """Open the code, run main.py, and serve it; ``MldbError`` as MLDB words it. Called from a worker thread."""
    params: PluginParams = creation.params
    opener = Opener(creation.services, language)
    source = params.source.model_dump() if params.source is not None else None
    opened = opener.plugin(creation.id, params.address, source, creation.stored)
    args = None if params.args is None else to_bytes(encode_payload(params.args))
    held = host.stays_stopped(creation.id)
    before = _written(opened)
    try:
        plugin = host.call(_start(host, creation, opened, args, held))
    except BaseException:
        if creation.stored is None:  # what was kept over a restart may start another time
            opened.discard()
        raise
    if plugin.supervisor.last_answer is not None:
        traced("main.py", plugin.supervisor.last_answer, creation.id)
    if opened.watched and opened.folder is not None:
        plugin.watch(opened.folder)
        if _written(opened) != before:  # while it ran, and before anybody watched
            plugin.reload_soon()
    return plugin


def _written(opened: Opened) -> int:
    """When main.py was written, in ns since 1970; 0 without one."""
    try:
        return opened.main.stat().st_mtime_ns if opened.main is not None else 0
    except OSError:
        return 0


async def _start(host: PluginHost, creation: Creation, opened: Opened, args: bytes | None, held: bool) -> Plugin:
    plugin = Plugin(host, creation.id, opened, args)
    task = asyncio.ensure_future(plugin.supervisor.start(held=held))
    creation.progress.on_cancel(lambda: host.loop.call_soon_threadsafe(task.cancel))
    try:
        await task
    except BaseException as error:
        raise start_error(error, opened.language) from error
    host.register(plugin.supervisor, plugin.id)
    return plugin


def start_error(error: BaseException, language: str) -> BaseException:
    """The caller's error for a main.py that failed, died or hung."""
    match error:
        case MainFailed():
            details = error.answer.output().plain()
            return MldbError(f"Exception {_failed_while(language, details.get('exception') or {})}", details=details)
        case RequestFailed():
            return MldbError(str(error), code=error.code)
        case WorkerFailure():
            return MldbError(str(error), code=503)
        case LaunchFailed():
            return MldbError(f"Exception opening plugin: {error}")
        case OSError():
            return MldbError(f"Exception opening plugin: {error.strerror or error}")
        case asyncio.CancelledError() | CancelledError():
            return Cancelled("the creation of the plugin was cancelled")
    return error


def _failed_while(language: str, raised: dict[str, Any]) -> str:
    if language == "python":
        return "executing Python initialization script"
    compiling = raised.get("context") == ["Compiling plugin script"]  # as ``runtime.javascript`` tells
    return "compiling plugin script" if compiling else "running plugin script"


class Plugin:
    """A plugin entity: its routes, folders and status."""

    def __init__(self, host: PluginHost, id: str, opened: Opened, args: bytes | None) -> None:
        self.id = id
        self._notes = route_notes.RouteNotes()
        self._host = host
        self._opened = opened
        self._watch: FolderWatch | None = None
        self._switching = asyncio.Lock()  # so that what is kept of a stop is what the last request asked for

        def launch() -> Launch:
            try:
                return opened.launch(id, args, host.address, host.data_root)
            except MldbError as error:
                raise LaunchFailed(error.message) from None

        self.supervisor = Supervisor(
            launch,
            executor=host.executor,
            limits=host.limits(),
            perform=host.perform,
            log=host.log(id),
        )

    def watch(self, folder: Path) -> None:
        """Reload when code in the folder changes."""
        try:
            self._watch = self._host.watcher.watch(folder, self._on_change)
        except OSError as error:
            _logger.warning("changes of %s will not be noticed: %s", folder, error, extra={"source": self.id})

    def _on_change(self, _paths: frozenset[Path]) -> None:
        """Reload, on the watcher's thread. A folder that is gone takes its plugin with it, which is no reload."""
        if self._opened.main is not None and self._opened.main.exists():
            self.reload_soon()

    def reload_soon(self) -> None:
        """Start a reload and return, unless the operator has stopped the plugin. From any thread."""
        reload = self.supervisor.reload
        self._host.loop.call_soon_threadsafe(lambda: asyncio.ensure_future(reload(if_held=False)))

    async def reload(self) -> bool:
        """Start a new generation now; False when it failed and the old one keeps serving."""
        async with self._switching:
            await asyncio.to_thread(self._host.stopped.discard, self.id)
            return await self.supervisor.reload()

    async def stop(self) -> None:
        """End the worker; the plugin stays, also over a restart of the server, and serves again after a reload."""
        async with self._switching:
            await self.supervisor.hold()
            await asyncio.to_thread(self._host.stopped.add, self.id)

    def status(self) -> Any:
        """What is amiss, else what the plugin tells of itself."""
        status, generation = self.supervisor.status(), self.supervisor.generation
        return status if status is not None or generation is None else json.loads(generation.told)

    def report(self) -> dict[str, Any]:
        """What the console shows. Called from a thread, as ``version`` is: they read files."""
        report = {**self.supervisor.report(), "source": self.version()}
        generation = self.supervisor.generation
        routes = generation.folders.pages("index.html") if generation is not None else []
        return report | ({"page": f"{routes[0]}/index.html"} if routes else {})

    def version(self) -> dict[str, str]:
        """The version of the folder as it is now: a commit comes after the edits that were loaded before it."""
        return self._opened.current()

    async def route(self, request: Request) -> Response:
        """``/routes/…``: ``lastoutput``, static folders, then routes.py."""
        remaining = request.remaining
        if request.verb == "GET":
            if remaining == "/lastoutput":
                return self._last_output()
            generation = self.supervisor.generation
            found = generation.folders.static(remaining) if generation is not None else None
            if found is not None:
                return await plugin_files.serve(*found, request, self._host.macros)
        return await self._run_routes(request)

    async def documentation(self, request: Request) -> Response:
        """``/doc/…``: the documentation folder."""
        generation = self.supervisor.generation
        folder = generation.folders.doc() if generation is not None else None
        if folder is None:
            raise unknown_resource(request)
        if not request.remaining:  # links of the page are relative to the folder
            return Response(301, b"", "", [("Location", f"{request.path}/")])
        return await plugin_files.serve(folder, request.remaining.removeprefix("/"), request, self._host.macros)

    async def _run_routes(self, request: Request) -> Response:
        message = PluginRequest(
            request.verb,
            request.path,
            request.remaining,
            request.params,
            request.body,
            request.headers,
            request.content_type,
            request.content_length,
        )
        try:
            with tracing.span("plugin worker", plugin=self.id):
                message.headers.update(tracing.outgoing())
                answer = await self.supervisor.request(message, request.client.on_gone if request.client else None)
                traced("routes.py", answer, self.id)
        except RequestFailed as error:
            raise MldbError(str(error), code=error.code) from None
        response = _response(answer, request)
        raised = answer.exception.get("type", "") if answer.kind == protocol.RAISED and answer.exception else ""
        self._notes.note(request, response, raised)
        return response

    def described_routes(self) -> dict[str, dict[str, Any]]:
        """OpenAPI path items: those of ``main.py`` and ``routes.yaml``, else what requests have taught."""
        generation = self.supervisor.generation
        said = route_notes.of_code(generation.routes if generation is not None else ())
        return route_notes.merged(said, route_notes.declared(self._opened.folder)) or self._notes.learnt()

    def _last_output(self) -> Response:
        answer = self.supervisor.last_answer
        return Response(200, (answer.output().ordered() if answer is not None else b"{}") + b"\n", _JSON)

    def persist(self) -> dict[str, Any] | None:
        return self._opened.stored()

    def close(self) -> None:
        """End the workers once their requests have ended; called from a worker thread.

        Not waited for: a route may replace or delete its own plugin, and would wait for itself.
        """
        if self._watch is not None:
            self._watch.stop()
        self._host.forget(self.supervisor)
        asyncio.run_coroutine_threadsafe(self.supervisor.stop(), self._host.loop)

    def drop(self) -> None:
        """The checkout goes with the plugin; a folder of the user's stays. Called from a thread."""
        self._host.stopped.discard(self.id)
        self._opened.discard()


def _response(answer: Answer, request: Request) -> Response:
    end = b"" if request.in_process else b"\n"
    if answer.kind == protocol.RETURNED:
        return Response(answer.code, answer.body + end, _JSON)
    if answer.file is not None:
        headers = [*plugin_files.HEADERS, *answer.file.headers()]
        return Response(answer.code, answer.body, answer.file.content_type, headers)
    if answer.kind == protocol.RAISED:
        return Response(400, answer.output().free_form() + end, _JSON)
    if answer.kind == protocol.UNSET:
        raise MldbError("Return value is required for route handlers but not set", code=500)
    raise unknown_resource(request)
