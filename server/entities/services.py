"""What entities may ask of the server: the one implementation of ``server.declarations.Services``."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from server import tracing
from server.declarations import Dataset, EntityKind, Function, PerformResult, Progress, QueryResult, RunResult, Sources
from server.entities import inline, jsontext, sources
from server.entities.configs import generated_id, parse_config
from server.entities.runner import current_progress
from server.errors import Cancelled, Conflict, MldbError, NotFound
from server.messages import Request
from server.sql.positions import did_you_mean

if TYPE_CHECKING:
    from server.entities.dispatch import Resources
    from server.entities.jobs import Jobs
    from server.entities.registry import Registry
    from server.entities.runner import Runner
    from server.learning.model_worker import ModelWorker
    from server.settings import Settings
    from server.sql.engine import Engine
    from server.sql.tree import Select
    from server.sql.views import Layout
    from server.storage.database import Database
    from server.transfer.urls import Urls


class Catalog:
    """What the SQL engine sees of the registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    @property
    def version(self) -> int:
        """Grows with every change of datasets and functions, their data included."""
        return self._registry.version

    def layout(self, dataset_id: str) -> Layout:
        try:
            ready = self._registry.ready("dataset", dataset_id)
        except NotFound as error:
            near = did_you_mean(dataset_id, self._registry.ids("dataset"))
            raise NotFound(f"{error.message}{near and '.' + near}", details=error.details) from None
        dataset: Dataset = ready.entity
        layout = dataset.layout()
        if (noting := sources.current()) is not None:
            noting.dataset(dataset_id, ready.type.name, layout)
        return layout

    def function(self, name: str) -> Function | None:
        ready = self._registry.serving("function", name)
        if ready is None:
            return None
        if (noting := sources.current()) is not None:
            noting.function(name, ready)
        function: Function = ready.entity
        return function

    def deterministic(self, name: str) -> bool:
        ready = self._registry.serving("function", name)
        return ready is None or bool(ready.config.get("deterministic", True))


class ServerServices:
    """Implements ``Services``. All methods are for worker threads; none is for the event loop."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        urls: Urls,
        registry: Registry,
        runner: Runner,
        jobs: Jobs,
        models: ModelWorker,
    ) -> None:
        self.settings = settings
        self.database = database
        self.urls = urls
        self.models = models
        self._registry = registry
        self._runner = runner
        self._jobs = jobs
        self._loop: asyncio.AbstractEventLoop | None = None
        self._resources: Resources | None = None
        self._engine: Engine | None = None
        self._making = threading.Lock()

    def attach(self, loop: asyncio.AbstractEventLoop, resources: Resources) -> None:
        """Called once the event loop runs: from then on ``perform`` works."""
        self._loop, self._resources = loop, resources

    @property
    def engine(self) -> Engine:
        with self._making:  # of the first queries, which come at once, one makes it
            if self._engine is None:
                self._engine = self._new_engine()
            return self._engine

    def _new_engine(self) -> Engine:
        from server.learning.tensorflow_op import operations
        from server.sql.binder import sources
        from server.sql.engine import Engine
        from server.sql.functions import jseval
        from server.transfer.fetcher import Fetcher
        from server.values import regexes

        sources.MAX_VIEWS = self.settings.query_views
        jseval.TIME_LIMIT = self.settings.jseval_time
        regexes.TIME_LIMIT = self.settings.regex_time
        jseval.MEMORY_LIMIT = self.settings.jseval_memory << 20
        fetcher = Fetcher(self.urls, -1, patient=False)
        return Engine(self.database, Catalog(self._registry), fetcher, operations(self))

    # ── entities ──

    def dataset(self, id: str) -> Dataset:
        dataset: Dataset = self._registry.ready("dataset", id).entity
        return dataset

    def function(self, id: str) -> Function | None:
        ready = self._registry.serving("function", id)
        return None if ready is None else ready.entity

    def output_dataset(self, spec: Any, default_type: str) -> tuple[str, Dataset]:
        config = {"id": spec} if isinstance(spec, str) else dict(parse_config(spec))
        config["type"] = config.get("type") or default_type
        config["id"] = config.get("id") or generated_id(config)
        try:
            entry = self._registry.create("dataset", config)
        except MldbError:
            half_made = self._registry.find("dataset", config["id"])
            if half_made is not None and half_made.building is not None and half_made.building.state == "cancelled":
                self._registry.delete("dataset", config["id"])
            raise
        self._runner.output(entry.id)
        return entry.id, self.dataset(entry.id)

    def create(self, kind: EntityKind, config: Mapping[str, Any]) -> dict[str, Any]:
        plain: dict[str, Any] = jsontext.parse(jsontext.typed(self.make(kind, parse_config(dict(config)))))
        return plain

    def make(
        self, kind: EntityKind, config: Mapping[str, Any], *, must_be_new: bool = False, background: bool = False
    ) -> dict[str, Any]:
        """Create an entity of a config that was checked; its status object, to be written as typed JSON."""
        if kind == "procedure":  # which has a first run
            return self._runner.create(config, must_be_new=must_be_new, background=background)
        return self._registry.create(kind, config, must_be_new=must_be_new, background=background).status()

    def inline_dataset(self, config: Mapping[str, Any]) -> str:
        making = inline.current()
        if config.get("id"):
            entry = self._registry.find("dataset", str(config["id"]))
            return entry.id if entry is not None else str(self.create("dataset", config)["id"])
        if making is None or making.lasting:
            id = str(self.create("dataset", config)["id"])
        else:
            id = str(self.create("dataset", {**config, "persistent": False})["id"])
        if making is not None:
            making.ids.append(id)
        return id

    def delete(self, kind: EntityKind, id: str) -> None:
        if kind == "procedure":
            self._runner.delete(id)
        else:
            self._registry.delete(kind, id)

    def check_id(self, kind: EntityKind, id: str) -> None:
        self._registry.check(kind, id)

    def run_procedure(self, config: Mapping[str, Any]) -> RunResult:
        if not config.get("type") and config.get("id"):
            return self._runner.start(str(config["id"]), {"params": config.get("params") or {}}).result or RunResult()
        config = {**config, "params": {**(config.get("params") or {}), "runOnCreation": False}, "persistent": False}
        kept = "id" in config
        config.setdefault("id", generated_id(config))
        try:
            self.create("procedure", config)
            return self._runner.start(str(config["id"]), None).result or RunResult()
        finally:
            if not kept:
                self.delete("procedure", config["id"])

    # ── work ──

    def query(
        self,
        query: str | Mapping[str, Any] | Select,
        *,
        parameters: Mapping[str, Any] | None = None,
        timestamps: bool = False,
        layouts: Mapping[str, Layout] | None = None,
        whole: bool = False,
    ) -> QueryResult:
        with tracing.span("sql bind"):
            result: QueryResult = self.engine.query(
                query, parameters=parameters, timestamps=timestamps, layouts=layouts, whole=whole
            )
        return result

    def sources(self) -> AbstractContextManager[Sources]:
        return sources.noted()

    def perform(
        self,
        verb: str,
        path: str,
        params: Sequence[tuple[str, str]] = (),
        payload: Any = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> PerformResult:
        if self._loop is None or self._resources is None:
            raise Conflict("the server is still starting")
        request = in_process_request(verb, path, params, payload, headers)
        progress = current_progress()
        if progress is not None:
            request.client = _RunWaits(progress, self._loop)
        future = asyncio.run_coroutine_threadsafe(self._resources.dispatch(request), self._loop)
        try:
            answer = future.result()
        except concurrent.futures.CancelledError:
            raise Cancelled("the request was cancelled") from None
        if not isinstance(answer.body, bytes):
            raise MldbError("this resource streams its answer and cannot be used in process")
        return PerformResult(answer.status, answer.body, answer.content_type, answer.headers)

    def job(self, target: str, arguments: Mapping[str, Any], progress: Progress) -> Any:
        with tracing.span("job", target=target):
            return self._jobs.run(target, arguments, progress)

    def log(self, source: str, message: str, level: str = "info") -> None:
        number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
        logging.getLogger("mldb").log(number, message, extra={"source": source})


class _RunWaits:
    """The client of a run's requests: gone when the run is cancelled."""

    def __init__(self, progress: Progress, loop: asyncio.AbstractEventLoop) -> None:
        self._progress = progress
        self._loop = loop

    def on_gone(self, callback: Callable[[], object]) -> None:
        self._progress.on_cancel(lambda: self._loop.call_soon_threadsafe(callback))


def in_process_request(
    verb: str,
    path: str,
    params: Sequence[tuple[str, str]],
    payload: Any,
    headers: Iterable[tuple[str, str]],
) -> Request:
    """A request of plugin or script code: texts and bytes are sent as they are, all else as JSON (§14).

    A query string inside the path counts too. No payload is the JSON text ``null``.
    """
    path, _, query = path.partition("?")
    pairs = [*parse_qsl(query, keep_blank_values=True), *params]
    body = payload if isinstance(payload, bytes) else _payload_text(payload).encode("utf-8", "surrogatepass")
    texts = [(str(name), value if isinstance(value, str) else _json_text(value)) for name, value in pairs]
    lowered = {str(name).lower(): str(value) for name, value in headers}
    content_type = lowered.pop("content-type", "")
    lowered.pop("content-length", None)
    return Request(verb.upper(), path, texts, body, lowered, content_type, len(body), in_process=True)


def _payload_text(payload: Any) -> str:
    return payload if isinstance(payload, str) else _json_text(payload) + "\n"


def _json_text(value: Any) -> str:
    return jsontext.typed(value).decode()
