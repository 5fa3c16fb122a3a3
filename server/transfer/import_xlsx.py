"""``experimental.import.xlsx``: the sheets of an Excel workbook (entity-types.md §3.4)."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, Field

from server.declarations import (
    EntityType,
    ProcedureParams,
    Progress,
    Recorded,
    RunResult,
    Services,
    StatelessProcedure,
)
from server.errors import MldbError
from server.extras import extra
from server.transfer.outputs import record_all, recording_dataset
from server.transfer.pythonvalues import atom_of_python

_FREE = 64 << 20  # bytes that any workbook may unpack to, whatever the ratio


class ImportXlsxParams(ProcedureParams):
    """Parameters of experimental.import.xlsx."""

    dataFileUrl: str = Field(description="URL of the workbook (.xlsx)")
    output: dict[str, Any] = Field(
        validation_alias=AliasChoices("output", "outputDataset"), description="Dataset to create, with its type"
    )


@contextmanager
def workbook(services: Services, url: str) -> Iterator[tuple[Any, float]]:
    """An open workbook and the time of its last change. Zip archives are read from a file, so others are copied."""
    openpyxl = extra("openpyxl", "excel", "Importing Excel workbooks")
    with tempfile.TemporaryDirectory(prefix="workbook-", dir=services.settings.scratch) as folder:
        source = services.urls.open_source(url, patient=True)
        file = Path(folder) / "workbook.xlsx"
        with source.stream as stream, file.open("wb") as copy:
            shutil.copyfileobj(stream, copy, 1 << 20)
        _check_size(services, file, url)
        try:
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        except Exception as error:  # whatever parsers of zip and XML raise for hostile files
            raise MldbError(f"'{url}' cannot be read as an Excel workbook: {error}") from None
        try:
            yield book, source.last_modified
        finally:
            book.close()


def _check_size(services: Services, file: Path, url: str) -> None:
    """Refuse what would unpack to more than archives may."""
    settings = services.settings
    try:
        with zipfile.ZipFile(file) as packed:
            size = sum(member.file_size for member in packed.infolist())
    except zipfile.BadZipFile as error:
        raise MldbError(f"'{url}' cannot be read as an Excel workbook: {error}") from None
    if size > settings.archive_size << 20:
        raise MldbError(f"'{url}' unpacks to {size} bytes; the setting is archive_size")
    if size > max(_FREE, settings.archive_ratio * file.stat().st_size):
        raise MldbError(f"'{url}' unpacks to {size} bytes, too many for its size; the setting is archive_ratio")


def rows_of(book: Any, time: float) -> Iterator[Recorded]:
    """The rows of all sheets that have a cell: ``Sheet:NN``, with columns ``A``, ``B``, …"""
    for sheet in book.worksheets:
        digits = len(str(sheet.max_row or 1))
        for cells in sheet.iter_rows():
            filled = [cell for cell in cells if cell.value is not None]
            if filled:
                name = f"{sheet.title}:{filled[0].row:0{digits}}"
                yield (name,), [((cell.column_letter,), atom_of_python(cell.value), time) for cell in filled]


class ImportXlsx(StatelessProcedure):
    def run(self, params: ImportXlsxParams, progress: Progress) -> RunResult:
        if not params.output.get("type"):
            raise MldbError("experimental.import.xlsx needs the type of its output dataset")
        progress.step("iterating", "counter")
        with workbook(self.services, params.dataFileUrl) as (book, modified):
            dataset = recording_dataset(self.services, params.output, "sparse.mutable")
            count = record_all(dataset, rows_of(book, modified), progress)
        return RunResult({"rowCount": count})


TYPES = [
    EntityType(
        kind="procedure",
        name="experimental.import.xlsx",
        params=ImportXlsxParams,
        summary="Import the sheets of an Excel workbook",
        create=ImportXlsx.create,
        doc=(
            "Each row of each sheet becomes a row `Sheet:number` with columns `A`, `B`, …; formulas give the value "
            "that was saved with them, dates become timestamps. Needs the extra `excel`."
        ),
    )
]
