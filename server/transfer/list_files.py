"""``list.files``: what lies below a URL, as a dataset (entity-types.md §3.10)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from server.declarations import (
    EntityType,
    OutputDataset,
    ProcedureParams,
    Progress,
    Recorded,
    RunResult,
    StatelessProcedure,
)
from server.transfer.outputs import record_all
from server.values.atoms import NEVER, Atom, Timestamp, parse_timestamp, timestamp_from_json

_COLUMNS = {"size": "size", "etag": "etag", "storageClass": "storage_class"} | {
    "ownerId": "owner_id", "ownerName": "owner_name",
}  # fmt: skip


class ListFilesParams(ProcedureParams):
    """Parameters of list.files."""

    path: str = Field(description="URL of the folder, archive or bucket to list")
    modifiedSince: Any = Field(None, description="Leave out what was last changed before; a time as text or seconds")
    maxDepth: int = Field(-1, ge=-1, description="Levels of folders to go down; 0 for the folder alone, -1 for all")
    outputDataset: OutputDataset = Field(default={}, description="Dataset to create; tabular unless it says otherwise")


class ListFiles(StatelessProcedure):
    def check(self, params: ListFilesParams) -> None:
        seconds_of(params.modifiedSince)

    def run(self, params: ListFilesParams, progress: Progress) -> RunResult:
        since = seconds_of(params.modifiedSince)
        progress.step("listing", "counter")
        files = (
            row for row, modified in self._files(params.path, params.maxDepth, progress) if not modified < since
        )  # fmt: skip
        _, dataset = self.services.output_dataset(params.outputDataset, "tabular")
        record_all(dataset, files, progress)
        return RunResult(dataset.status())

    def _files(self, url: str, depth: int, progress: Progress) -> Iterator[tuple[Recorded, float]]:
        """A row for each file below a folder, folder by folder, with the time of its last change."""
        progress.check()
        listing = self.services.urls.list(url)
        for file, facts in listing["objects"].items():
            modified = parse_timestamp(facts["lastModified"])
            yield row_of(file, facts, NEVER if modified is None else modified), modified or NEVER
        for folder in listing["dirs"] if depth else ():
            yield from self._files(folder, depth - 1, progress)


def row_of(url: str, facts: dict[str, Any], modified: float) -> Recorded:
    """Size in bytes, time of the last change, and what the storage says of the owner where it does."""
    cells: list[tuple[str, Atom]] = [("uri", url), ("last_modified", Timestamp(modified))]
    cells += [(column, facts[name]) for name, column in _COLUMNS.items()]
    return (url,), [((column,), None if value == "" else value, modified) for column, value in cells]


def seconds_of(moment: Any) -> float:
    """Seconds since 1970 of a time as recording routes take it; -inf for None."""
    return NEVER if moment is None else timestamp_from_json(moment)


TYPES = [
    EntityType(
        kind="procedure",
        name="list.files",
        params=ListFilesParams,
        summary="List the files below a URL",
        create=ListFiles.create,
        doc=(
            "Each file becomes a row named by its URL, with `uri`, `size` in bytes, `last_modified` and, where the "
            "storage tells, `etag`, `storage_class`, `owner_id` and `owner_name`."
        ),
    )
]
