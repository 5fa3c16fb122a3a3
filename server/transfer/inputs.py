"""What importers share: SQL over the lines they have read, with the functions that only importers know.

``lineNumber()`` is the name of a staged row, so that ``rowHash()`` and ``rowName()`` are the engine's own;
``fileTimestamp()`` and ``dataFileUrl()`` are constants of the run.
"""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar, runtime_checkable

import duckdb
import pyarrow as pa

from server.declarations import NamedBatch, Progress, QueryResult, Services
from server.errors import MldbError
from server.sql.parser import parse_expression, parse_select_list
from server.sql.tree import Call, Cast, Constant, DatasetRef, Expression, Item, Node, Select
from server.sql.views import Layout
from server.storage.database import drop_tables, new_table
from server.storage.layouts import Wide
from server.values.atoms import NOT_A_DATE, Atom, Timestamp, parse_timestamp
from server.values.batches import Column, RowBatch, RowType
from server.values.cells import Cell, atoms_of, cells_array, cells_of

STAGED = "lines"  # the FROM of an importer's query
WHEN = ("timestamp of the import",)  # the column that carries the rows' timestamps; cut off before they are written
Thing = TypeVar("Thing")
# Makes a table of this name in DuckDB, and its description, within a transaction.
Build = Callable[[duckdb.DuckDBPyConnection, str], Wide]


@runtime_checkable
class Fillable(Protocol):
    """A dataset that lets its one table be built in place."""

    def fill(self, build: Build) -> None: ...


def import_select(
    *, select: str, where: str, named: str, timestamp: str | None, file_timestamp: float, url: str
) -> Select:
    """The query over staged lines that an importer's SQL parameters make, a timestamp column at its end."""
    functions: Mapping[str, Callable[[], Expression]] = {
        "lineNumber": lambda: Cast(Call("rowName", ()), "integer"),
        "fileTimestamp": lambda: Constant(Timestamp(file_timestamp)),
        "dataFileUrl": lambda: Constant(url),
    }
    distinct, clauses = parse_select_list(select)
    if distinct:
        raise MldbError("DISTINCT cannot be used in an import")
    if timestamp is not None:
        clauses = (*clauses, Item(parse_expression(timestamp), WHEN))
    tree = Select(
        clauses,
        named=None if _says(named, "lineNumber()") else parse_expression(named),
        source=DatasetRef(STAGED),
        where=None if _says(where, "true", "1") else parse_expression(where),
    )
    replaced = replace_calls(tree, functions)
    assert isinstance(replaced, Select)
    return replaced


@contextmanager
def staged(services: Services, tree: Select, build: Build) -> Iterator[TimedResult]:
    """The result of an importer's query over the lines; their table goes when the block ends."""
    database, table = services.database, new_table()
    try:
        with database.transaction(stoppable=True) as cursor:
            wide = build(cursor, table)
        require_atom_name(services, tree, wide)
        yield TimedResult(services.query(tree, layouts={STAGED: wide}, timestamps=True))
    finally:
        with database.transaction() as cursor:
            drop_tables(cursor, table)


def require_atom_name(services: Services, tree: Select, layout: Layout) -> None:
    """``MldbError`` when NAMED gives rows rather than atoms."""
    if tree.named is None:
        return
    alone = dataclasses.replace(tree, clauses=(Item(tree.named, ("name",)),), named=None, where=None)
    type_ = services.query(alone, layouts={STAGED: layout}).type
    if type_.open or any(column.path != ("name",) or column.shape is not None for column in type_.columns):
        raise MldbError("Cannot convert value of type row to the name of a row")


def is_default(select: str, where: str, named: str) -> bool:
    """Whether SQL parameters keep every line as it is, named by its number."""
    everything = parse_select_list(select)[1] == parse_select_list("*")[1]
    return everything and _says(where, "true", "1") and _says(named, "lineNumber()")


def _says(text: str, *expressions: str) -> bool:
    parsed = parse_expression(text)
    return any(parsed == parse_expression(expression) for expression in expressions)


def replace_calls(node: Any, functions: Mapping[str, Callable[[], Expression]]) -> Any:
    """A tree with the calls of some functions without arguments replaced; sub-selects are left as they are."""
    if isinstance(node, tuple):
        return tuple(replace_calls(part, functions) for part in node)
    if not isinstance(node, Node):
        return node
    if isinstance(node, Call) and node.name in functions and not node.args:
        return functions[node.name]()
    parts = {
        field.name: replace_calls(getattr(node, field.name), functions)
        for field in dataclasses.fields(node)
        if field.name != "span"
    }
    return dataclasses.replace(node, **parts)


class TimedResult:
    """A query's rows, dated by their last column, which is left out."""

    def __init__(self, inner: QueryResult) -> None:
        self._inner = inner
        columns = inner.type.columns
        if not columns or columns[-1].path != WHEN:
            raise MldbError("the timestamp of an import must be an atom")
        self._time_column = columns[-1]
        self.type = RowType(columns[:-1], inner.type.open)

    def batches(self, progress: Progress | None = None) -> Iterator[NamedBatch]:
        for batch in self._inner.batches(progress):
            rows = batch.rows
            times = seconds_of(rows.values[-1], self._time_column)
            rest = None if rows.rest is None else _dated(rows.rest, times)
            count = len(self.type.columns)
            yield NamedBatch(batch.names, RowBatch(self.type, rows.length, rows.values[:-1], [times] * count, rest))


def seconds_of(values: pa.Array, column: Column) -> pa.Array:
    """Timestamps out of a column of timestamps, numbers or texts."""
    return pa.array([_seconds(atom) for atom in atoms_of(values, column.kind)], pa.float64())


def _seconds(atom: Atom) -> float:
    match atom:
        case Timestamp(seconds):
            return seconds
        case int() | float():
            return float(atom)
        case str():
            parsed = parse_timestamp(atom)
            if parsed is None:
                raise MldbError(f"couldn't parse date: '{atom}'; use seconds since 1970 or an ISO 8601 text")
            return parsed
        case None:
            return NOT_A_DATE
    raise MldbError("the timestamp of an import must be a timestamp, a number or a text")


def _dated(rest: pa.Array, times: pa.Array) -> pa.Array:
    return cells_array(
        [
            [Cell(cell.path, cell.value, seconds) for cell in row]
            for row, seconds in zip(cells_of(rest), times.to_pylist(), strict=True)
        ]
    )


def ahead(things: Iterable[Thing]) -> Iterator[Thing]:
    """Make the next thing in a thread while the last one is used; errors come out where they belong."""
    ready: queue.Queue[tuple[Thing | None, BaseException | None, bool]] = queue.Queue(maxsize=1)
    stopped = threading.Event()

    def put(item: tuple[Thing | None, BaseException | None, bool]) -> None:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for thing in things:
                put((thing, None, False))
                if stopped.is_set():
                    return
            put((None, None, True))
        except BaseException as error:  # handed to the consumer, whatever it is
            put((None, error, True))

    worker = threading.Thread(target=work, name="import-reader", daemon=True)
    worker.start()
    try:
        while True:
            thing, error, ended = ready.get()
            if error is not None:
                raise error
            if ended:
                return
            yield thing  # type: ignore[misc]
    finally:
        stopped.set()
        worker.join()
