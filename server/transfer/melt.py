"""``melt``: columns into rows (entity-types.md §3.7)."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from server.declarations import (
    Creation,
    Dataset,
    EntityType,
    InputQuery,
    OutputDataset,
    ProcedureParams,
    Progress,
    Recorded,
    RunResult,
    Services,
)
from server.errors import MldbError
from server.procedures.validators import has_part, input_query
from server.transfer.outputs import recording_dataset
from server.transfer.results import named_rows
from server.values.cells import Row
from server.values.paths import Path, format_path, parse_path

CHUNK_ROWS = 10_000
_CHECKED_ROWS = 100  # made before a cancel is looked for


class MeltParams(ProcedureParams):
    """Parameters of melt."""

    inputData: InputQuery = Field(description="A query that selects rows `to_fix` and `to_melt`")
    outputDataset: OutputDataset = Field(default={}, description="Dataset to create; tabular unless it says otherwise")
    keyColumnName: str = Field("key", description="Column for the names of the melted columns")
    valueColumnName: str = Field("value", description="Column for their values")


class Melt:
    """The procedure entity."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def run(self, params: MeltParams, progress: Progress) -> RunResult:
        tree = input_query(self._services, params.inputData)
        if not (has_part(tree, "to_melt") and has_part(tree, "to_fix")):
            raise MldbError("melt procedure expect a rows named 'to_melt' and 'to_fix'")
        progress.step("melting", "counter")
        result = self._services.query(tree, timestamps=True)
        dataset = recording_dataset(self._services, params.outputDataset, "tabular")
        key, value = parse_path(params.keyColumnName), parse_path(params.valueColumnName)
        melted = (row for name, cells in named_rows(result, progress) for row in melt_row(name, cells, key, value))
        record_all(dataset, melted, progress)
        return RunResult()


def melt_row(name: str, cells: Row, key: Path, value: Path) -> Iterator[Recorded]:
    """A row for each cell under ``to_melt``, named by the row's name and the cell's column."""
    fixed = [(cell.path[1:] or cell.path, cell.value, cell.timestamp) for cell in cells if cell.path[:1] == ("to_fix",)]
    melted = [cell for cell in cells if cell.path[:1] == ("to_melt",) and len(cell.path) > 1]
    newest = max((cell.timestamp for cell in melted), default=0.0)
    row = parse_path(name)
    for cell in melted:
        column = cell.path[1:]
        yield row + column, [*fixed, (key, format_path(column), newest), (value, cell.value, newest)]


def record_all(dataset: Dataset, rows: Iterator[Recorded], progress: Progress) -> int:
    """Record rows in chunks and commit; their number."""
    count = 0
    chunk: list[Recorded] = []
    for row in rows:
        chunk.append(row)
        if not len(chunk) % _CHECKED_ROWS:
            progress.check()
        if len(chunk) == CHUNK_ROWS:
            count += len(chunk)
            dataset.record_rows(chunk)
            progress.update(count)
            chunk = []
    dataset.record_rows(chunk)
    dataset.commit()
    return count + len(chunk)


def create(creation: Creation) -> Melt:
    return Melt(creation.services)


TYPES = [
    EntityType(
        kind="procedure",
        name="melt",
        params=MeltParams,
        summary="Turn columns into rows",
        create=create,
        doc=(
            "The query selects two rows: `{…} AS to_fix`, the columns to keep, and `{…} AS to_melt`. Each cell of the "
            "second becomes a row with the kept columns, the cell's column name and its value."
        ),
    )
]
