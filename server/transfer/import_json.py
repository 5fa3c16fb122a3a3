"""``import.json``: one JSON object per line into a dataset (entity-types.md §3.3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import orjson
from pydantic import Field

from server.declarations import (
    Creation,
    Dataset,
    EntityType,
    OutputDataset,
    ProcedureParams,
    Progress,
    Recorded,
    RunResult,
    Services,
    SqlText,
)
from server.errors import MldbError
from server.transfer.inputs import STAGED, TimedResult, import_select, is_default, require_atom_name
from server.transfer.jsonrows import cells_of_object
from server.transfer.lines import LineSource
from server.transfer.melt import record_all
from server.transfer.outputs import recording_dataset

_SHOWN = 10_000  # characters of a bad line that its error repeats
_BLANKS = b" \t\r\f\v"


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
    arrays: Literal["parse", "encode"] = Field(
        "parse", description="`parse`: a column for each index; `encode`: a column with 1 for each value"
    )


class JsonLines:
    """The rows of a stream of lines. ``errors`` counts the lines left out."""

    def __init__(self, source: LineSource, params: ImportJsonParams, time: float) -> None:
        self._source = source
        self._params = params
        self._time = time
        self.errors = 0

    def rows(self) -> Iterator[Recorded]:
        for _ in range(self._params.offset):
            self._source.next_line()
        left = self._params.limit
        while left != 0 and (line := self._source.next_line()) is not None:
            left -= 1
            row = self._row(self._source.line - 1, line)
            if row is not None:
                yield row

    def _row(self, number: int, line: bytes) -> Recorded | None:
        try:
            value = parsed(line)
        except ValueError as error:
            if self._params.ignoreBadLines:
                self.errors += 1
                return None
            shown = line.decode("utf-8", "replace")[:_SHOWN]
            raise MldbError(f"Error parsing JSON row: {error}", details={"lineNumber": number, "line": shown}) from None
        cells = cells_of_object(value, self._params.arrays)
        return (str(number),), [(path, atom, self._time) for path, atom in cells]


def parsed(line: bytes) -> dict[str, Any]:
    """The object of a line; ``ValueError`` when it holds none."""
    if not line.strip(_BLANKS):
        raise ValueError("empty line")
    value = orjson.loads(line)
    if not isinstance(value, dict):
        raise ValueError("a line must be a JSON object")
    return value


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
            lines = JsonLines(LineSource(stream), params, source.last_modified)
            if is_default(params.select, params.where, params.named):
                dataset = recording_dataset(self._services, params.outputDataset, "tabular")
                count = record_all(dataset, lines.rows(), progress)
            else:
                count = self._record_query(lines, params, source.last_modified, progress)
        return RunResult({"rowCount": count, "numLineErrors": lines.errors})

    def _record_query(self, lines: JsonLines, params: ImportJsonParams, time: float, progress: Progress) -> int:
        """Stage the lines as a dataset, then record what the SQL parameters make of them; the rows recorded."""
        config = {"type": "tabular", "params": {"unknownColumns": "add"}, "persistent": False}
        staged_id, staged = self._services.output_dataset(config, "tabular")
        try:
            record_all(staged, lines.rows(), progress)
            return self._record_staged(staged, params, time, progress)
        finally:
            self._services.delete("dataset", staged_id)

    def _record_staged(self, staged: Dataset, params: ImportJsonParams, time: float, progress: Progress) -> int:
        tree = import_select(
            select=params.select,
            where=params.where,
            named=params.named,
            timestamp="fileTimestamp()",
            file_timestamp=time,
            url=params.dataFileUrl,
        )
        require_atom_name(self._services, tree, staged.layout())
        result = Counted(self._services.query(tree, layouts={STAGED: staged.layout()}, timestamps=True))
        dataset = recording_dataset(self._services, params.outputDataset, "tabular")
        dataset.write(result, progress)
        return result.count


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
