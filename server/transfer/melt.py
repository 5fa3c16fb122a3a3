"""``melt``: columns into rows (entity-types.md §3.7)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from server.declarations import (
    Creation,
    EntityType,
    InputQuery,
    OutputDataset,
    ProcedureParams,
    Progress,
    RunResult,
    Services,
)
from server.errors import MldbError
from server.procedures.validators import has_part, input_query, refuse, require_from
from server.sql.tree import Select
from server.transfer.melted import MeltedRows
from server.transfer.outputs import recording_dataset
from server.values.paths import parse_path

NAME = "melt"


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
        tree = checked_query(self._services, params.inputData)
        progress.step("melting", "counter")
        result = self._services.query(tree, timestamps=True)
        dataset = recording_dataset(self._services, params.outputDataset, "tabular")
        key, value = parse_path(params.keyColumnName), parse_path(params.valueColumnName)
        dataset.write(MeltedRows(result, key, value), progress)
        return RunResult()


def checked_query(services: Services, query: Any) -> Select:
    tree = input_query(services, query)
    refuse(tree, NAME, "groupBy", "having")
    if not (has_part(tree, "to_melt") and has_part(tree, "to_fix")):
        raise MldbError("melt procedure expect a rows named 'to_melt' and 'to_fix'")
    require_from(tree, NAME)
    return tree


def create(creation: Creation) -> Melt:
    checked_query(creation.services, creation.params.inputData)
    return Melt(creation.services)


TYPES = [
    EntityType(
        kind="procedure",
        name=NAME,
        params=MeltParams,
        summary="Turn columns into rows",
        create=create,
        doc=(
            "The query selects two rows: `{…} AS to_fix`, the columns to keep, and `{…} AS to_melt`. Each cell of the "
            "second becomes a row with the kept columns, the cell's column name and its value."
        ),
    )
]
