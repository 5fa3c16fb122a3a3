"""A compiled query: the DuckDB SQL of a bound one, and what its result columns are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import duckdb
import pyarrow as pa

from server import tracing
from server.declarations import NamedBatch, Progress
from server.errors import Cancelled, MldbError, Vanished
from server.sql import coerce, tasks
from server.sql.binder.query import Query
from server.sql.blame import blame, of_several, span_of
from server.sql.bound import NEVER_SQL, Atom, Embedding, Leaf, MultiValue, Row, path_text, typed
from server.sql.cell_streams import CellStream, Rows, cell_stream
from server.sql.engine_errors import OF_VALUES, engine_errors, reading
from server.sql.parser import parse_statement
from server.sql.positions import located
from server.sql.scope import DefinedFunction
from server.sql.whole_embeddings import with_whole_embeddings
from server.storage.database import Database
from server.storage.layouts import Cells
from server.values.arrow_types import ARROW_TYPES, CELLS_ARROW
from server.values.atoms import NEVER
from server.values.batches import Column, ListedArrays, RowBatch, RowType
from server.values.kinds import CELL_TYPE, Kind
from server.values.paths import Path

BATCH_ROWS = 65536  # rows per batch that leaves DuckDB
FEW_CELLS = 4096  # as Python objects they leave sooner than as Arrow
_ATTEMPTS = 20  # at a query of a dataset whose columns change all the time
_PIN = "FROM dataset_tables LIMIT 0"  # a transaction reads of the moment of its first statement
# Kinds whose values are the same whether they leave DuckDB as Python objects or as Arrow.
_PLAIN = frozenset(
    {Kind.BOOLEAN, Kind.INTEGER, Kind.UNSIGNED, Kind.NUMBER, Kind.STRING, Kind.TIMESTAMP, Kind.BLOB, Kind.PATH}
)


@dataclass
class Plan:
    """``sql`` gives ``name``, the columns ``c0``, … of ``type``, with ``timestamps`` also ``t0``, …, and ``rest``.

    ``rows``: how many at most. The text says it, or the last run, for a plan is only kept while its data stay.
    """

    sql: str
    type: RowType
    timestamps: bool
    rows: int | None = field(default=None, compare=False)
    query: Query | None = field(default=None, compare=False, repr=False)  # to find what failed
    text: str = field(default="", compare=False, repr=False)  # and where it stands
    functions: tuple[DefinedFunction, ...] = field(default=(), compare=False, repr=False)  # that the SQL calls
    stream: CellStream | None = field(default=None, compare=False, repr=False)  # the same rows, read sooner
    cells: tuple[Cells, ...] = field(default=(), compare=False, repr=False)  # sparse datasets as it takes them to be

    @property
    def current(self) -> bool:
        """Whether the datasets were as it takes them to be for whoever has begun to read by now."""
        return all(cells.columns.current() for cells in self.cells)

    @property
    def few(self) -> bool:
        """Whether it gives at most ``FEW_CELLS`` that ``read_rows`` can read."""
        return self.rows is not None and self.rows * (len(self.type.columns) + 1) <= FEW_CELLS and self.plain

    @cached_property
    def stoppable(self) -> bool:
        """Whether it calls functions that ask for the number of their task."""
        return tasks.TASK_SQL in self.sql

    @cached_property
    def plain(self) -> bool:
        """Whether ``read_rows`` can read the columns."""
        return not self.type.open and all(
            column.shape is None and column.kind in _PLAIN for column in self.type.columns
        )


def compile_query(query: Query, *, timestamps: bool, text: str, whole: bool) -> Plan:
    """The final step: which columns leave, and the SQL that makes them. ``whole``: see ``Engine.query``."""
    items: dict[str, str] = {"name": path_text(query.path)}
    row = with_whole_embeddings(query.row) if whole else query.row
    columns, fields = output_columns(row, timestamps=timestamps)
    items.update(fields)
    rows = 1 if query.relation.single else query.limit
    stream = cell_stream(query, row, {name: sql for name, sql in items.items() if name != "rest"})
    return Plan(query.render(items, ordered=True), columns, timestamps, rows, query, text, stream=stream)


def output_columns(row: Row, *, timestamps: bool) -> tuple[RowType, dict[str, str]]:
    """A row value as result columns. What NULL in a column would not tell goes to the rest: cells of several values,
    and NULLs that are there in a column that rows may lack."""
    columns: list[Column] = []
    fields: dict[str, str] = {}
    beside: dict[Path, Leaf] = {}
    for path, leaf in row.columns.items():
        if isinstance(leaf, MultiValue):
            beside[path] = leaf
            continue
        if isinstance(leaf, Atom) and leaf.there:
            null = leaf.there if leaf.kind is Kind.NULL else f"({leaf.there} AND {leaf.sql} IS NULL)"
            beside[path] = Atom("NULL", Kind.NULL, leaf.ts, sparse=True, there=null)
        index = len(columns)
        columns.append(_column(path, leaf))
        fields[f"c{index}"] = typed(leaf)
        if timestamps:
            fields[f"t{index}"] = f"coalesce({leaf.ts()}, {NEVER_SQL})"
    opened = bool(beside or row.rests)
    if opened:
        cells = coerce.to_cells(Row(beside, row.rests))
        fields["rest"] = f"CAST(coalesce({cells}, []) AS {CELL_TYPE}[])"
    prefixes = {rest.prefix for rest in row.rests} | ({()} if beside else set())
    rows = tuple((*rest.prefix, *path) for rest in row.rests for path in rest.rows if rest.prefix or path)
    return RowType(tuple(columns), opened, tuple(sorted(prefixes)), rows), fields


def _column(path: Path, leaf: Atom | Embedding) -> Column:
    if isinstance(leaf, Embedding):
        return Column(path, leaf.kind, leaf.shape or (-1,), names=leaf.names)
    return Column(path, Kind.ANY if leaf.kind is Kind.NULL else leaf.kind, sparse=leaf.sparse)


class _Outdated(Exception):
    """A plan was about to run over a dataset whose columns have changed since it was made."""


@dataclass
class Result:
    """A query ready to run, as ``server.declarations.QueryResult``. ``inputs`` are Arrow tables it reads by name.

    ``again``: the same plan has run before, and is likely to run once more. ``compiled`` makes it anew, for the
    columns of a sparse dataset may have changed before it runs.
    """

    database: Database
    plan: Plan
    inputs: Mapping[str, pa.Table]
    again: bool
    compiled: Callable[[], Plan]
    _told: bool = field(default=False, init=False, repr=False)

    @property
    def type(self) -> RowType:
        self._told = True
        return self.plan.type

    def batches(self, progress: Progress | None = None) -> Iterator[NamedBatch]:
        """Run the query. Raises ``MldbError`` with the engine's message, ``Cancelled`` when it was cancelled.

        ``Vanished`` when its ``type`` has been asked for, and a commit gave the rows another one since.

        Without a ``progress`` of its own it ends with the task of the thread that runs it.
        """
        try:
            yield from self._batches(progress or tasks.current())
        except Cancelled:
            raise
        except MldbError as error:
            raise self._blamed(error) from error.__cause__

    def _blamed(self, error: MldbError) -> MldbError:
        """The error with the row and the expression that it comes from."""
        if self.plan.query is None or not isinstance(error.__cause__, OF_VALUES):
            return error
        found = blame(self.database, self.plan.query, self.inputs)
        error.details |= found
        if found and self.plan.text and error.span is None:
            error.span = span_of(found["expression"], parse_statement(self.plan.text))
            located(error, self.plan.text)
        if found and of_several(self.plan.query):
            error.message += f" (in row '{found['row']}', at '{found['expression']}')"
        return error

    def _batches(self, task: Progress | None) -> Iterator[NamedBatch]:
        with tracing.detached("duckdb"):
            for attempt in range(_ATTEMPTS):
                try:
                    yield from self._attempt(task, pinned=attempt > 0)
                    return
                except _Outdated:
                    self._compile_anew()
        raise Vanished("the columns of a dataset change faster than it can be read: ask again")

    def _compile_anew(self) -> None:
        plan = self.compiled()
        if self._told and plan.type != self.plan.type:
            raise Vanished("a dataset got other columns, or values of other types, before it was read: ask again")
        self.plan = plan

    def _attempt(self, task: Progress | None, *, pinned: bool) -> Iterator[NamedBatch]:
        """Run the plan. ``_Outdated`` before the first batch when it reads datasets that were changed since.

        ``pinned``: not what was committed while it runs, but only what was before makes it so.
        """
        with reading(self.database, self.plan.sql, task) as reader:
            cursor = reader.cursor
            for name, table in self.inputs.items():
                cursor.register(name, table)
            if pinned or self.plan.stream is not None:
                cursor.execute("BEGIN TRANSACTION")
            if pinned:
                with self._begun():
                    cursor.execute(_PIN)
            if self.plan.few:
                with self._begun(pinned):
                    rows = reader.fetch(self.plan.sql, again=self.again and not self.plan.stoppable)
                tasks.check_task(task)
                if rows:
                    names = pa.array([row[0] for row in rows], pa.string())
                    yield NamedBatch(names, read_rows(rows, self.plan, skip=1))
            else:
                yield from self._many(cursor, task, pinned)
            if pinned or self.plan.stream is not None:
                cursor.execute("COMMIT")
            for name in self.inputs:
                cursor.unregister(name)

    @contextmanager
    def _begun(self, pinned: bool = False) -> Iterator[None]:
        """Around the statement that fixes which version of the datasets is read, unless that is ``pinned`` already."""
        try:
            yield
        except duckdb.Error:
            if pinned or self.plan.current:
                raise
            raise _Outdated from None
        if not pinned and not self.plan.current:
            raise _Outdated

    def _many(self, cursor: duckdb.DuckDBPyConnection, task: Progress | None, pinned: bool) -> Iterator[NamedBatch]:
        rows = 0
        for batch, rest in self._read(cursor, task, pinned):
            tasks.check_task(task)
            if batch.num_rows:
                rows += batch.num_rows
                yield NamedBatch(batch.column(0), to_rows(batch, self.plan, rest))
        self.plan.rows = rows
        tasks.check_task(task)

    def _read(self, cursor: duckdb.DuckDBPyConnection, task: Progress | None, pinned: bool) -> Iterator[Rows]:
        stream = self.plan.stream
        if stream is not None:
            with self._begun(pinned):
                rows = stream.lines(cursor)
            yield from stream.batches(cursor, rows, task, BATCH_ROWS)
            return
        with self._begun(pinned):
            reader = cursor.sql(self.plan.sql).to_arrow_reader(BATCH_ROWS)
        for batch in reader:
            yield batch, None

    def explain(self) -> list[tuple[str, str]]:
        """The statements that a run executes, one after the other, each with the engine's plan of it as text."""
        with self.database.cursor() as cursor, engine_errors():
            for name, table in self.inputs.items():
                cursor.register(name, table)
            stream = self.plan.stream
            statements = [self.plan.sql] if stream is None else stream.statements(cursor)
            return [
                (sql, "\n".join(row[1] for row in cursor.execute(f"EXPLAIN {sql}").fetchall())) for sql in statements
            ]


def to_rows(batch: pa.RecordBatch, plan: Plan, rest: pa.Array | None = None) -> RowBatch:
    """The result columns of a record batch as rows, with the open rest where that is none of them."""
    by_name = dict(zip(batch.schema.names, batch.columns, strict=True))
    count = len(plan.type.columns)
    values = [by_name[f"c{index}"] for index in range(count)]
    times: list[pa.Array | float] = [by_name[f"t{index}"] if plan.timestamps else NEVER for index in range(count)]
    rest = by_name.get("rest", rest)
    if rest is not None and rest.null_count:
        rest = pa.compute.coalesce(rest, pa.scalar([], CELLS_ARROW))
    return RowBatch(plan.type, batch.num_rows, values, times, rest)


def read_rows(rows: list[tuple[Any, ...]], plan: Plan, skip: int = 0) -> RowBatch:
    """The result columns of fetched rows of a ``plain`` plan, without its first ``skip`` fields.

    For few rows: Arrow results cost DuckDB more than Python objects.
    """
    fields = list(zip(*rows, strict=True))[skip:]
    if not rows:
        fields = [()] * (len(plan.type.columns) * (2 if plan.timestamps else 1))
    values, times = (fields[::2], fields[1::2]) if plan.timestamps else (fields, [])
    arrays = ListedArrays(values, [ARROW_TYPES[column.kind] for column in plan.type.columns])
    return RowBatch(plan.type, len(rows), arrays, ListedArrays(times, [pa.float64()] * len(times)))
