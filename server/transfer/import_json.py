"""``import.json``: one JSON object per line into a dataset (entity-types.md §3.3)."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import duckdb
from pydantic import Field

from server.declarations import (
    EntityType,
    OutputDataset,
    ProcedureParams,
    Progress,
    RunResult,
    SqlText,
    StatelessProcedure,
)
from server.errors import MldbError
from server.storage.layouts import Wide
from server.transfer.inputs import Fillable, import_select, is_default, staged
from server.transfer.jsoncolumns import Arrays
from server.transfer.jsonlines import BLOCK_BYTES, JsonLines
from server.transfer.jsonload import LinesResult, Unknown, load
from server.transfer.lines import LineSource
from server.transfer.outputs import recording_dataset
from server.transfer.results import Counted


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


@runtime_checkable
class FillableTable(Fillable, Protocol):
    """A dataset that also says what becomes of columns that the first row lacks."""

    unknown: Unknown


class ImportJson(StatelessProcedure):
    def run(self, params: ImportJsonParams, progress: Progress) -> RunResult:
        if not params.dataFileUrl:
            raise MldbError("dataFileUrl is a required property and must not be empty")
        progress.step("iterating", "lines")
        source = self.services.urls.open_source(params.dataFileUrl, patient=True)
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
        dataset = recording_dataset(self.services, params.outputDataset, "tabular")
        if isinstance(dataset, FillableTable):
            unknown = dataset.unknown
            dataset.fill(lambda cursor, table: load(lines.blocks(), cursor, table, time, unknown, progress))
            return lines.rows
        result = LinesResult(lines, time)
        dataset.write(result, progress)
        return result.rows

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

        def stage(cursor: duckdb.DuckDBPyConnection, table: str) -> Wide:
            return load(lines.blocks(), cursor, table, time, "add", progress)

        with staged(self.services, tree, stage) as found:
            result = Counted(found)
            dataset = recording_dataset(self.services, params.outputDataset, "tabular")
            dataset.write(result, progress)
        return result.count


TYPES = [
    EntityType(
        kind="procedure",
        name="import.json",
        params=ImportJsonParams,
        summary="Import a file with one JSON object per line",
        create=ImportJson.create,
        doc=(
            "Each line becomes a row named by its number, members of nested objects become columns such as `a.b`. "
            "`select`, `where` and `named` are SQL that is evaluated for each line."
        ),
    )
]
