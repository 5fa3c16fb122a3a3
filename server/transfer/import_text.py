"""``import.text``: lines and CSV into a dataset (entity-types.md §3.2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
from pydantic import Field, field_validator

from server.declarations import (
    Dataset,
    EntityType,
    OutputDataset,
    ProcedureParams,
    Progress,
    RunResult,
    SqlText,
    StatelessProcedure,
)
from server.errors import MldbError
from server.procedures.validators import item_path
from server.sql.positions import did_you_mean
from server.sql.tree import Clause, ColumnExpr, ColumnRef, Extract, Item, Node, Select, children
from server.storage.layouts import Wide
from server.storage.readers import interrupted_by
from server.storage.wide import write_wide
from server.transfer.csvformat import CsvFormat, checked_format
from server.transfer.csvread import CsvReader, ReadOptions
from server.transfer.inputs import WHEN, Fillable, TimedResult, ahead, import_select, is_default, staged
from server.transfer.lines import LineSource
from server.transfer.staging import Staging
from server.values.paths import Path, format_path
from server.values.regexes import Pattern

FILE_TIME = "fileTimestamp()"


class ImportTextParams(ProcedureParams):
    """Parameters of import.text."""

    dataFileUrl: str = Field("", description="URL of the file; packed files and members of archives are read as well")
    outputDataset: OutputDataset = Field(default={}, description="Dataset to create; tabular unless it says otherwise")
    headers: list[str] = Field(default=[], description="Column names of a file without a header row")
    autoGenerateHeaders: bool = Field(False, description="Name the columns 0, 1, 2, …; the first row is data")
    quoteChar: str = Field('"', description="Character around cells; empty for none")
    delimiter: str = Field(",", description="Character between cells; empty (with `quoteChar`) for whole lines")
    limit: int = Field(-1, description="Most lines to read; -1 for all")
    offset: int = Field(0, ge=0, description="Data lines to leave out at the beginning")
    preHeaderOffset: int = Field(0, ge=0, description="Lines to leave out before the header")
    encoding: str = Field("utf-8", description="utf-8, latin1 or ascii")
    ignoreBadLines: bool = Field(False, description="Leave bad lines out instead of failing")
    structuredColumnNames: bool = Field(False, description="A dot in a header separates the elements of a path")
    replaceInvalidCharactersWith: str = Field("", description="Character for badly encoded ones; empty: an error")
    select: SqlText = Field("*", description="What to record of each line")
    where: SqlText = Field("true", description="Which lines to record")
    named: SqlText = Field("lineNumber()", description="Name of a line's row")
    timestamp: SqlText = Field(FILE_TIME, description="Timestamp of a line's row")
    allowMultiLines: bool = Field(False, description="A quoted cell may go on in the next line")
    ignoreExtraColumns: bool = Field(False, description="Leave out cells beyond the header")
    processExcelFormulas: bool = Field(True, description='Read cells of the form ="x" as x')
    skipLineRegex: str = Field("", description="Lines that match as a whole are left out")
    nullValues: list[str] = Field(default=[], description="Cells that are null, as empty ones are: such as NA")

    @field_validator("headers", mode="before")
    @classmethod
    def _names_are_texts(cls, names: Any) -> Any:
        return [str(name) for name in names] if isinstance(names, list) else names


class ImportText(StatelessProcedure):
    def check(self, params: ImportTextParams) -> None:
        csv_format(params)
        read_options(params)

    def run(self, params: ImportTextParams, progress: Progress) -> RunResult:
        csv, options = csv_format(params), read_options(params)
        if not params.dataFileUrl:
            raise MldbError("dataFileUrl is a required property and must not be empty")
        progress.step("iterating", "lines")
        source = self.services.urls.open_source(params.dataFileUrl, patient=True)
        with source.stream as stream:
            reader = CsvReader(LineSource(stream), csv, options)
            self._record(reader, params, source.last_modified, progress)
        return RunResult({"rowCount": reader.rows, "numLineErrors": reader.errors})

    def _record(self, reader: CsvReader, params: ImportTextParams, file_time: float, progress: Progress) -> None:
        plain = is_default(params.select, params.where, params.named) and params.timestamp == FILE_TIME
        if not plain:
            self._record_query(reader, params, file_time, progress)
            return
        _, dataset = self.services.output_dataset(params.outputDataset, "tabular")
        if isinstance(dataset, Fillable):
            dataset.fill(lambda cursor, table: load(reader, cursor, table, file_time, progress))
        else:
            self._record_query(reader, params, file_time, progress, dataset)

    def _record_query(
        self,
        reader: CsvReader,
        params: ImportTextParams,
        file_time: float,
        progress: Progress,
        dataset: Dataset | None = None,
    ) -> None:
        """Stage the lines, then record what the SQL parameters make of them."""
        tree = import_select(
            select=params.select,
            where=params.where,
            named=params.named,
            timestamp=params.timestamp,
            file_timestamp=file_time,
            url=params.dataFileUrl,
        )
        require_known(tree, reader.paths)
        with staged(
            self.services, tree, lambda cursor, table: load(reader, cursor, table, file_time, progress)
        ) as result:
            refuse_rows(result, tree.clauses)
            if dataset is None:
                _, dataset = self.services.output_dataset(params.outputDataset, "tabular")
            dataset.write(result, progress)


def load(
    reader: CsvReader, cursor: duckdb.DuckDBPyConnection, table: str, timestamp: float, progress: Progress
) -> Wide:
    """Read everything into a wide table, described as the storage layer wants it."""
    with interrupted_by(progress, cursor.interrupt):
        staging = Staging(cursor, table, reader.paths, timestamp)
        for block in ahead(reader.blocks()):
            staging.append(block)
            progress.update(staging.rows)
        wide = staging.finish()
        write_wide(cursor, wide)
    return wide


def require_known(tree: Select, columns: Sequence[Path]) -> None:
    """``MldbError`` for the first column that an import reads and that the file has not."""
    for path in _read(tree):
        if not any(column[: len(path)] == path for column in columns):
            known = [format_path(column) for column in columns]
            name = format_path(path)
            raise MldbError(
                f"Unknown column name in import.text procedure: '{name}'.{did_you_mean(name, known)}",
                details={"columnName": name, "knownColumnNames": known},
            )


def _read(node: Node) -> Iterator[Path]:
    """The columns of the lines that a query reads."""
    if isinstance(node, ColumnRef):
        yield node.path
    elif isinstance(node, Extract):
        yield from _read(node.base)
    elif not isinstance(node, ColumnExpr):
        for child in children(node):  # sub-queries read other tables
            yield from _read(child)


def refuse_rows(result: TimedResult, clauses: Sequence[Clause]) -> None:
    """An import records atoms under names that differ. Rows spread by ``AS *`` are atoms once their names show."""
    items = [item for item in clauses if isinstance(item, Item)]
    names = [item_path(item) for item in items]
    if len(set(names)) < len(names):
        raise MldbError("Duplicate column name in select expression")
    given = {column.path for column in result.type.columns} | {WHEN}
    rows = [item for item in items if not isinstance(item.expression, ColumnRef) and item_path(item) not in given]
    if rows or any(column.shape is not None for column in result.type.columns):
        raise MldbError("Import select expression cannot have row-valued columns.")


def csv_format(params: ImportTextParams) -> CsvFormat:
    """How cells are cut, with MLDB's errors for parameters that do not go together."""
    if params.autoGenerateHeaders and params.headers:
        raise MldbError("autoGenerateHeaders cannot be true if headers is defined.")
    return checked_format(
        delimiter=params.delimiter,
        quote=params.quoteChar,
        encoding=params.encoding,
        replacement=params.replaceInvalidCharactersWith,
        multi_line=params.allowMultiLines,
        ignore_extra=params.ignoreExtraColumns,
        excel=params.processExcelFormulas,
        nulls=params.nullValues,
    )


def read_options(params: ImportTextParams) -> ReadOptions:
    """Which lines are read."""
    try:
        skip = Pattern(params.skipLineRegex) if params.skipLineRegex else None
    except ValueError as error:
        raise MldbError(f"skipLineRegex is not a regular expression: {error}") from None
    return ReadOptions(
        headers=params.headers,
        generate_headers=params.autoGenerateHeaders,
        structured=params.structuredColumnNames,
        pre_header_offset=params.preHeaderOffset,
        offset=params.offset,
        limit=params.limit,
        ignore_bad=params.ignoreBadLines,
        skip=skip,
    )


TYPES = [
    EntityType(
        kind="procedure",
        name="import.text",
        params=ImportTextParams,
        summary="Import a text file, such as CSV, line by line",
        create=ImportText.create,
        doc=(
            "Each line becomes a row named by its number in the file. A cell that is a number becomes one, an empty "
            "cell is null, everything else is text. `select`, `where`, `named` and `timestamp` are SQL that is "
            "evaluated for each line; there `lineNumber()`, `fileTimestamp()` and `dataFileUrl()` are known too."
        ),
    )
]
