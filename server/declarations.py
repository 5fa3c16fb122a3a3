"""How types of entities are declared, and what an entity of each kind can do.

A type (``classifier.train``, ``tabular``, ``sql.expression``, …) is declared once, beside its code, as an
``EntityType``. Validation, its error texts, ``/v1/types``, OpenAPI, forms and reference pages come from that.
Whatever a type needs of the server reaches it through ``Services``; no type knows HTTP or another type.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from server.errors import MldbError
from server.values.atoms import Atom
from server.values.batches import RowBatch, RowType
from server.values.paths import Path

if TYPE_CHECKING:
    from server.learning.model_worker import ModelWorker
    from server.messages import Request, Response
    from server.settings import Settings
    from server.sql.tree import Select
    from server.sql.views import Layout
    from server.storage.database import Database
    from server.transfer.urls import Urls

EntityKind = Literal["dataset", "procedure", "function", "plugin"]
Recorded = tuple[Path, Sequence[tuple[Path, Atom, float]]]  # row path, [(column path, value, seconds)]


class Params(BaseModel):
    """Base of every type's parameters: unknown members are refused, names are MLDB's (camelCase)."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, defer_build=True, arbitrary_types_allowed=True)


class ProcedureParams(Params):
    """What every procedure takes."""

    runOnCreation: bool = Field(default=True, description="Run it as soon as it is created")


@dataclass(frozen=True)
class TypeName:
    """In ``Annotated``: what ``/v1/types`` calls a parameter's type, for forms to offer the right way to enter it."""

    name: str


def _dataset_spec(spec: Any) -> Any:
    if spec is None or isinstance(spec, str | Mapping):
        return spec
    raise ValueError("must be the id of a dataset, or an object with its id, type and params")


InputQuery = Annotated[Any, TypeName("InputQuery")]  # SQL text, or MLDB's object form of a query
# An id, or {"id", "type", "params"} of a dataset to create.
OutputDataset = Annotated[Any, AfterValidator(_dataset_spec), TypeName("OutputDataset")]
DatasetSpec = Annotated[Any, AfterValidator(_dataset_spec), TypeName("Dataset")]  # an id, or a dataset to create
SqlText = Annotated[str, TypeName("SqlExpression")]  # an expression, a condition or a SELECT list


@dataclass(frozen=True)
class Creation:
    """What a type's factory is given. ``params`` is an instance of the type's parameter model.

    ``stored`` is what the entity's ``persist()`` gave before a restart, None when the entity is new.
    """

    id: str
    config: dict[str, Any]
    params: Any
    services: Services
    progress: Progress
    stored: Any = None


@dataclass(frozen=True)
class EntityType:
    """A declared type. ``create`` builds the entity in a worker thread and may take its time.

    ``doc`` is one paragraph of Markdown; the fields of ``params`` carry their own descriptions. ``route`` answers
    ``/v1/types/<kind>s/<name>/routes/…`` (what follows is ``request.remaining``) and may be a coroutine function.
    """

    kind: EntityKind
    name: str
    params: type[Params]
    summary: str
    create: Callable[[Creation], Any]
    doc: str = ""
    route: Callable[[Services, Request], Response | Awaitable[Response]] | None = None


class Progress(Protocol):
    """Progress and cancellation of a construction, a run or a query. Thread-safe."""

    @property
    def cancelled(self) -> bool:
        """Whether a cancel was asked for."""

    def step(self, name: str, type: str = "percentile") -> None:
        """Begin the next step (the one before is ended). Types: ``percentile`` (0 to 1), ``counter``, ``lines``."""

    def update(self, value: float) -> None:
        """Value of the step under way; never falls. Raises ``Cancelled`` when a cancel was asked for."""

    def check(self) -> None:
        """Raise ``Cancelled`` when a cancel was asked for."""

    def on_cancel(self, callback: Callable[[], object]) -> None:
        """Call this when a cancel is asked for (to interrupt a query, to end a job process)."""

    def off_cancel(self, callback: Callable[[], object]) -> None:
        """What ``on_cancel`` was given need not be called any more."""

    def gauge(self, percent: Callable[[], float] | None) -> None:
        """Offer a measure of how far the SQL under way is: 0 to 100, negative when it is not known."""


class Entity(Protocol):
    """What every entity may offer; the registry asks with ``getattr``, so each part is optional.

    ``status()``: the ``status`` member of the status object (JSON); ``persist()``: JSON kept in the catalogue and
    handed back as ``Creation.stored``; ``close()``: free what it holds in memory, called once, also at shutdown;
    ``drop()``: called before ``close()`` when the entity was deleted or replaced: remove what it has stored;
    ``route(request)``: answers ``/v1/<kind>s/<id>/routes/…``, ``documentation(request)`` ``…/doc/…`` (what follows
    is ``request.remaining``; they may be coroutine functions, others run in a thread); ``details()``: JSON of a
    function's ``…/details``; of a plugin ``version()`` and ``report()``, JSON of the routes of these names, and the
    coroutine functions ``reload()`` and ``stop()``.
    """


class Dataset(Protocol):
    """A dataset entity."""

    def layout(self) -> Layout:
        """How the committed data lie now. Raises ``MldbError`` when not readable yet."""

    def status(self) -> dict[str, Any]: ...

    def record_rows(self, rows: Iterable[Recorded]) -> None:
        """Buffer rows; ``MldbError`` when the type does not record or a value is refused."""

    def record_columns(self, columns: Iterable[Recorded]) -> None:
        """As ``record_rows`` with rows and columns changed over."""

    def commit(self) -> None:
        """Make what was recorded durable and readable, atomically."""

    def write(self, result: QueryResult, progress: Progress) -> None:
        """Record a whole query result and commit: the bulk path of transform, import and training outputs."""


class Function(Protocol):
    """A function entity. ``input`` and ``output`` are what ``/info`` shows.

    Inputs are refused whose names are not in ``input.top``.
    """

    @property
    def input(self) -> RowType: ...
    @property
    def output(self) -> RowType: ...

    def bind(self, given: RowType) -> BoundFunction:
        """Prepare for rows of this shape; ``MldbError`` when a required input cannot be had from it.

        It may be the function itself, where nothing depends on the shape.
        """


def refuse_unknown_inputs(function: Function, known: frozenset[str] | None, names: Iterable[str]) -> None:
    """``MldbError`` when one of the names is none of ``known``, the function's ``input.top`` (rest-api.md §8.1)."""
    for name in names:
        if known is not None and name not in known:
            raise MldbError(f"Unknown field '{name}' extracting type {type(function).__name__}")


class BoundFunction(Protocol):
    """A function for one input shape. Safe to call from several threads.

    With an attribute ``timestamps`` that is true, queries give and take the times of values; without it the times of
    what it gives are those of its input. With ``brief`` that is true, a single row takes a moment only, or ends with
    the task of the thread: queries need no thread of its own for it.
    """

    @property
    def output(self) -> RowType: ...

    def apply(self, batch: RowBatch) -> RowBatch:
        """Apply to a batch whose type is the bound one; gives as many rows, of type ``output``."""


@dataclass(frozen=True)
class RunResult:
    """What a procedure's run gives: ``status`` (the run's ``status``, None: absent) and ``details``."""

    status: Any = None
    details: Any = None


class Procedure(Protocol):
    """A procedure entity: ``run`` works in a thread of its own with the merged, validated parameters."""

    def run(self, params: Any, progress: Progress) -> RunResult: ...


@dataclass(frozen=True)
class StatelessProcedure(ABC):
    """A procedure that has nothing but the server's services and the parameters of each run.

    ``create`` is the factory for its ``EntityType``. Runs may be given other parameters: ``run`` checks again.
    """

    services: Services

    @classmethod
    def create(cls, creation: Creation) -> Self:
        """Whoever creates a procedure hears of mistakes at once."""
        made = cls(creation.services)
        made.check(creation.params)
        return made

    def check(self, params: Any) -> Any:
        """``MldbError`` for what can be told to be wrong before any row is read."""
        return None

    @abstractmethod
    def run(self, params: Any, progress: Progress) -> RunResult: ...


@dataclass(frozen=True)
class NamedBatch:
    """A batch of query rows: path text of each row (Arrow strings) and the rows."""

    names: Any
    rows: RowBatch


class QueryResult(Protocol):
    """A bound query, ready to run (any number of times)."""

    @property
    def type(self) -> RowType:
        """Known output columns in SELECT order; ``open`` when rows may hold others."""

    def batches(self, progress: Progress | None = None) -> Iterator[NamedBatch]:
        """Run it; batches in result order. Columns come in the order of ``type``."""


class Engine(Protocol):
    """What entities may ask of the SQL engine."""

    def expression(self, text: str, given: RowType) -> BoundFunction:
        """A SELECT list (without the keyword) over rows of this type, as a bound function."""


class Sources(Protocol):
    """What queries were bound to, as plain JSON.

    ``datasets``: ``id`` and ``type``, of stored ones ``rows`` and ``version``, which changes with every commit;
    ``functions``: ``id`` and ``type``, of models the ``digest``.
    """

    @property
    def datasets(self) -> list[dict[str, Any]]: ...
    @property
    def functions(self) -> list[dict[str, Any]]: ...


class Services(Protocol):
    """What entities may ask of the server."""

    settings: Settings
    database: Database
    urls: Urls
    models: ModelWorker

    @property
    def engine(self) -> Engine: ...

    def dataset(self, id: str) -> Dataset:
        """A ready dataset; ``NotFound`` or ``Conflict`` with MLDB's texts."""

    def function(self, id: str) -> Function | None:
        """A ready function, or None."""

    def output_dataset(self, spec: Any, default_type: str) -> tuple[str, Dataset]:
        """Create (overwrite) the dataset that an ``outputDataset`` parameter asks for: id and dataset."""

    def inline_dataset(self, config: Mapping[str, Any]) -> str:
        """Create the dataset that a parameter describes; its id. It goes with the entity or the run that it is for.

        One with an id of its own is there to stay; a dataset of this id that exists already is meant.
        """

    def create(self, kind: EntityKind, config: Mapping[str, Any]) -> dict[str, Any]:
        """Create (overwrite) an entity as PUT would; its status object."""

    def delete(self, kind: EntityKind, id: str) -> None: ...

    def check_id(self, kind: EntityKind, id: str) -> None:
        """``MldbError`` when nothing of this kind may be called so."""

    def run_procedure(self, config: Mapping[str, Any]) -> RunResult:
        """Create a procedure and run it; what the run gives. It stays only when the config gives it an id.

        An id without a type is a procedure that is there: it is run, with what ``params`` says else than its own.

        In a run it is part of the step under way: shown in its ``subProgress``, and cancelled with it.
        """

    def query(
        self,
        query: str | Mapping[str, Any] | Select,
        *,
        parameters: Mapping[str, Any] | None = None,
        timestamps: bool = False,
        layouts: Mapping[str, Layout] | None = None,
        whole: bool = False,
    ) -> QueryResult:
        """Bind a query: SQL text, MLDB's object form, or a tree. ``timestamps``: batches carry them.

        ``layouts``: tables by name that stand before the datasets of the same name. ``whole``: an embedding whose
        elements all leave as columns leaves as one column, under what their names have in common.
        """

    def sources(self) -> AbstractContextManager[Sources]:
        """Note what the queries read that are bound in this thread until the block ends."""

    def perform(
        self,
        verb: str,
        path: str,
        params: Sequence[tuple[str, str]] = (),
        payload: Any = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> PerformResult:
        """An in-process request, from a thread; enters the same resource table as HTTP."""

    def job(self, target: str, arguments: Mapping[str, Any], progress: Progress) -> Any:
        """Run ``module:function(arguments, report)`` in a job process; its (plain data) result.

        ``arguments`` and result are msgpack-able; files carry the rest. The process is killed on cancel.
        """

    def log(self, source: str, message: str, level: str = "info") -> None:
        """A line of the server log (``/logs/mldb``)."""


@dataclass(frozen=True)
class PerformResult:
    """An in-process answer: status, body bytes and headers."""

    status: int
    body: bytes = b""
    content_type: str = ""
    headers: Sequence[tuple[str, str]] = field(default=())
