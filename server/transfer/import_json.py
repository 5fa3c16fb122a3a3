"""``import.json``: one JSON object per line into a dataset (entity-types.md §3.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, cast

import duckdb
from pydantic import Field

from server.declarations import (
    Creation,
    EntityType,
    OutputDataset,
    ProcedureParams,
    Progress,
    RunResult,
    Services,
    SqlText,
)
from server.errors import MldbError
from server.storage.database import drop_tables, new_table
from server.storage.layouts import Wide
from server.transfer.inputs import STAGED, TimedResult, import_select, is_default, require_atom_name
from server.transfer.jsoncolumns import Arrays
from server.transfer.jsonlines import BLOCK_BYTES, JsonLines
from server.transfer.jsonload import LinesResult, Unknown, load
from server.transfer.lines import LineSource
from server.transfer.outputs import recording_dataset


class ImportJsonParams(ProcedureParams):
    """Parameters of import.json."""

    dataFileUrl: str = Field("", description="URL of the file; packed files and members of archives are read as well")
    outputDataset: OutputDataset = Field(default={}, description="Dataset to create; tabular unless it says otherwise")
    limit: int = Field(-1, description="Most lines to read; -1 for all")
    offset: int = Field(0, ge=0, description="Lines to leave out at the beginning")
    ignoreBadLines: bool = Field(False, description="Leave bad lines out instead of failing")
    select: SqlText = Field("*", description="What to record of each line")
    where: SqlText = Field("true", description="Which lines to record")
    named: SqlText = Field("lineNumber()", description="Name of a line's row")
    arrays: Arrays = Field(
        "parse", description="`parse`: a column for each index; `encode`: a column with 1 for each value"
    )


class TableDataset(Protocol):
    """A dataset that lets its one table be built in place, and says what becomes of columns the first row lacks."""

    unknown: Unknown

    def fill(self, build: Callable[[duckdb.DuckDBPyConnection, str], Wide]) -> None:
        """``build(cursor, table)`` makes the table and its description within a transaction of the dataset's."""


class ImportJson:
    """The procedure entity."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def run(self, params: ImportJsonParams, progress: Progress) -> RunResult:
        if not params.dataFileUrl:
            raise MldbError("dataFileUrl is a required property and must not be empty")
        progress.step("iterating", "lines")
        source = self._services.urls.open_source(params.dataFileUrl, patient=True)
        with source.stream as stream:
            lines = JsonLines(
                LineSource(stream, BLOCK_BYTES),
                offset=params.offset,
                limit=params.limit,
                ignore_bad=params.ignoreBadLines,
                arrays=params.arrays,
            )
            if is_default(params.select, params.where, params.named):
                count = self._record(lines, params, source.last_modified, progress)
            else:
                count = self._record_query(lines, params, source.last_modified, progress)
        return RunResult({"rowCount": count, "numLineErrors": lines.errors})

    def _record(self, lines: JsonLines, params: ImportJsonParams, time: float, progress: Progress) -> int:
        """Record the lines as they are; their number."""
        dataset = recording_dataset(self._services, params.outputDataset, "tabular")
        if not hasattr(dataset, "fill"):
            result = LinesResult(lines, time)
            dataset.write(result, progress)
            return result.rows
        table = cast(TableDataset, dataset)
        table.fill(lambda cursor, name: load(lines.blocks(), cursor, name, time, table.unknown, progress))
        return lines.rows

    def _record_query(self, lines: JsonLines, params: ImportJsonParams, time: float, progress: Progress) -> int:
        """Stage the lines, then record what the SQL parameters make of them; the rows recorded."""
        tree = import_select(
            select=params.select,
            where=params.where,
            named=params.named,
            timestamp="fileTimestamp()",
            file_timestamp=time,
            url=params.dataFileUrl,
        )
        database, table = self._services.database, new_table()
        try:
            with database.transaction(stoppable=True) as cursor:
                wide = load(lines.blocks(), cursor, table, time, "add", progress)
            require_atom_name(self._services, tree, wide)
            result = Counted(self._services.query(tree, layouts={STAGED: wide}, timestamps=True))
            dataset = recording_dataset(self._services, params.outputDataset, "tabular")
            dataset.write(result, progress)
            return result.count
        finally:
            with database.transaction() as cursor:
                drop_tables(cursor, table)


class Counted(TimedResult):
    """Counts the rows as they go by."""

    count = 0

    def batches(self, progress: Progress | None = None) -> Iterator[Any]:
        self.count = 0
        for batch in super().batches(progress):
            self.count += batch.rows.length
            yield batch


def create(creation: Creation) -> ImportJson:
    return ImportJson(creation.services)


TYPES = [
    EntityType(
        kind="procedure",
        name="import.json",
        params=ImportJsonParams,
        summary="Import a file with one JSON object per line",
        create=create,
        doc=(
            "Each line becomes a row named by its number, members of nested objects become columns such as `a.b`. "
            "`select`, `where` and `named` are SQL that is evaluated for each line."
        ),
    )
]
