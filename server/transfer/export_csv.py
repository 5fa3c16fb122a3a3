"""``export.csv``: a query's rows as a CSV file (entity-types.md §3.5)."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from pydantic import Field

from server.declarations import (
    EntityType,
    InputQuery,
    ProcedureParams,
    Progress,
    QueryResult,
    RunResult,
    StatelessProcedure,
)
from server.errors import MldbError
from server.procedures.validators import checked_query
from server.sql.tree import ColumnRef, Item, OrderKey, RowLiteral, Select
from server.transfer.results import element_paths, named_rows, sliced
from server.values import compute as pc
from server.values.atoms import Atom, atom_text
from server.values.batches import RowType
from server.values.cells import Row
from server.values.paths import Path, format_path, natural_key
from server.values.texts import column_texts

NAME = "export.csv"
FLUSH_LINES = 4096


class ExportCsvParams(ProcedureParams):
    """Parameters of export.csv."""

    exportData: InputQuery = Field(description="The query whose rows are written")
    dataFileUrl: str = Field(description="URL of the file; an existing one is replaced, extensions such as .gz pack it")
    headers: bool = Field(True, description="Write the column names as first line")
    delimiter: str = Field(",", description="Character between cells")
    quoteChar: str = Field('"', description="Character around cells that hold the delimiter or the character itself")
    skipDuplicateCells: bool = Field(False, description="Write the first value of a cell that has several")


class ExportCsv(StatelessProcedure):
    def check(self, params: ExportCsvParams) -> Select:
        """The tree of the query; ``MldbError`` for it and for characters that are none."""
        if len(params.delimiter) != 1:
            raise MldbError("delimiter must be 1 char long.")
        if len(params.quoteChar) != 1:
            raise MldbError("Quotechar must be 1 char long.")
        return checked_query(self.services, params.exportData, NAME)

    def run(self, params: ExportCsvParams, progress: Progress) -> RunResult:
        tree = self.check(params)
        progress.step("exporting", "counter")
        table = self._table(tree, progress)
        writer = CsvWriter(params.delimiter, params.quoteChar)
        with self.services.urls.open_write(params.dataFileUrl) as file:
            if params.headers:
                file.write(writer.line(table.headers()))
            if table.columnar:
                write_columns(file, writer, table, progress)
            else:
                write_rows(file, writer, table.rows(params.skipDuplicateCells, progress), progress)
        return RunResult()

    def _table(self, tree: Select, progress: Progress) -> Table:
        result = self.services.query(tree)
        if not result.type.open:
            return Table(result, known_paths(result.type), prefixed=False)
        # Columns that come twice, or that only the rows know: each clause gets an element of its own in front, and
        # the rows are read once for the names.
        result = self.services.query(clause_by_clause(tree))
        return Table(result, discovered_paths(result, progress), prefixed=True)


def write_rows(file: BinaryIO | Any, writer: CsvWriter, rows: Iterator[Sequence[Atom]], progress: Progress) -> None:
    lines: list[bytes] = []
    for number, row in enumerate(rows, 1):
        lines.append(writer.line([atom_text(atom) for atom in row]))
        if len(lines) == FLUSH_LINES:
            file.write(b"".join(lines))
            lines = []
            progress.update(number)
    file.write(b"".join(lines))


def write_columns(file: BinaryIO | Any, writer: CsvWriter, table: Table, progress: Progress) -> None:
    """The rows of a ``columnar`` table: what ``write_rows`` writes, column by column."""
    number = 0
    for columns in table.blocks(progress):
        file.write(writer.lines(columns))
        number += len(columns[0])
        progress.update(number)


class Table:
    """A result as rows of cells in a fixed order of columns. ``prefixed``: a path's first element is a clause."""

    def __init__(self, result: QueryResult, paths: Sequence[Path], *, prefixed: bool) -> None:
        self._result = result
        self._paths = paths
        self._prefixed = prefixed
        self._places = {path: index for index, path in enumerate(paths)}

    def headers(self) -> list[str]:
        return [format_path(self._shown(path)) for path in self._paths]

    @property
    def columnar(self) -> bool:
        """Whether its columns, each of them there once, are those of the result."""
        columns = self._result.type.columns
        plain = not self._result.type.open and all(column.shape is None for column in columns)
        return plain and 0 < len(columns) == len(self._places)

    def blocks(self, progress: Progress) -> Iterator[list[pa.Array]]:
        """The texts of a ``columnar`` table's columns, some rows at a time."""
        for batch in self._result.batches(progress):
            for begin in range(0, batch.rows.length, FLUSH_LINES):
                rows = sliced(batch, begin, FLUSH_LINES).rows
                progress.check()
                yield [
                    column_texts(values, column.kind)
                    for column, values in zip(rows.type.columns, rows.values, strict=True)
                ]

    def rows(self, skip_duplicates: bool, progress: Progress) -> Iterator[Sequence[Atom]]:
        for name, cells in named_rows(self._result, progress):
            yield self._row(name, cells, skip_duplicates)

    def _row(self, name: str, cells: Row, skip_duplicates: bool) -> Sequence[Atom]:
        row: list[Atom] = [None] * len(self._paths)
        filled: set[int] = set()
        for cell in cells:
            place = self._places[cell.path]
            if place not in filled:
                filled.add(place)
                row[place] = cell.value
            elif not skip_duplicates:
                raise MldbError(
                    f"CSV export does not work over cells having multiple values, at row '{name}' "
                    f"for column '{format_path(self._shown(cell.path))}'"
                )
        return row

    def _shown(self, path: Path) -> Path:
        return path[1:] if self._prefixed else path


def known_paths(type_: RowType) -> list[Path]:
    """The columns of a closed result, embeddings spelled out."""
    paths: list[Path] = []
    for column in type_.columns:
        if column.shape is None:
            paths.append(column.path)
        elif min(column.shape, default=0) >= 0:
            paths.extend(element_paths(column, 0))
        else:
            raise MldbError(f"CSV export needs embeddings of one size, but that of '{format_path(column.path)}' varies")
    return paths


def discovered_paths(result: QueryResult, progress: Progress) -> list[Path]:
    """All columns of an open result: by clause, then known ones in their order and others by name."""
    known = [column.path for column in result.type.columns if column.shape is None]
    seen = dict.fromkeys(known)
    others: set[Path] = set()
    for _, cells in named_rows(result, progress):
        others.update(cell.path for cell in cells if cell.path not in seen)
    mixed = {path[0] for path in others}
    ordered = sorted((path for path in (*known, *others) if path[0] in mixed), key=natural_key)
    ordered += [path for path in known if path[0] not in mixed]
    return sorted(ordered, key=lambda path: int(path[0]))


def clause_by_clause(tree: Select) -> Select:
    """The query with clause i as row ``i``; ORDER BY keeps its meaning where it names an alias."""
    aliases = {item.name: item.expression for item in tree.clauses if isinstance(item, Item) and item.name is not None}
    order = tuple(
        OrderKey(aliases.get(key.expression.path, key.expression), key.descending)
        if isinstance(key.expression, ColumnRef)
        else key
        for key in tree.order_by
    )
    clauses = tuple(Item(RowLiteral((clause,)), (str(index),)) for index, clause in enumerate(tree.clauses))
    return dataclasses.replace(tree, clauses=clauses, order_by=order)


class CsvWriter:
    """Cells as lines of bytes. A cell is quoted only if it holds the delimiter or the quote character."""

    def __init__(self, delimiter: str, quote: str) -> None:
        self._delimiter = delimiter
        self._quote = quote
        self._special = (delimiter, quote)
        self._needs_quotes = re.compile("|".join(map(re.escape, self._special))).search

    def line(self, cells: Sequence[str]) -> bytes:
        return (self._delimiter.join(map(self._cell, cells)) + "\n").encode("utf-8", "surrogatepass")

    def lines(self, columns: Sequence[pa.Array]) -> pa.Buffer:
        """The lines of texts by column, as bytes; null is an empty cell."""
        *others, last = (self._cells(column) for column in columns)
        # Wide offsets: the lines of long texts may be more than two gigabytes.
        ended = pc.binary_join_element_wise(last, "\n", "")
        wide = [texts.cast(pa.large_string()) for texts in (*others, ended)]
        lines = pc.binary_join_element_wise(*wide, pa.scalar(self._delimiter, pa.large_string()))
        return lines.buffers()[2] or pa.py_buffer(b"")

    def _cells(self, texts: pa.Array) -> pa.Array:
        texts = pc.fill_null(texts, "")
        special = pa.array(np.zeros(len(texts), bool))
        for text in self._special:
            special = pc.or_(special, pc.match_substring(texts, text))
        if not pc.any(special).as_py():
            return texts
        quoted = pc.replace_substring(texts, self._quote, self._quote * 2)
        return pc.if_else(special, pc.binary_join_element_wise(self._quote, quoted, self._quote, ""), texts)

    def _cell(self, cell: str) -> str:
        if self._needs_quotes(cell) is None:
            return cell
        return self._quote + cell.replace(self._quote, self._quote * 2) + self._quote


TYPES = [
    EntityType(
        kind="procedure",
        name=NAME,
        params=ExportCsvParams,
        summary="Write the rows of a query to a CSV file",
        create=ExportCsv.create,
        doc="Row names are written only if the query selects them. Null cells are empty.",
    )
]
