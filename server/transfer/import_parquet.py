"""``import.parquet``: the rows of any Parquet file."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pyarrow as pa
from pydantic import Field

from server.declarations import (
    EntityType,
    NamedBatch,
    OutputDataset,
    ProcedureParams,
    Progress,
    RunResult,
    Services,
    SqlText,
    StatelessProcedure,
)
from server.errors import MldbError
from server.values import compute as pc
from server.values.arrow_types import ARROW_TYPES
from server.values.batches import Column, RowBatch, RowType
from server.values.kinds import Kind

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

_ROWS: Final = 65_536  # that are read at a time


class ImportParquetParams(ProcedureParams):
    """Parameters of import.parquet."""

    dataFileUrl: str = Field(description="URL of the file")
    outputDataset: OutputDataset = Field(default={}, description="Dataset to create; tabular unless it says otherwise")
    named: SqlText = Field("", description="Column that names the rows; their numbers do when empty")


@contextmanager
def parquet_file(services: Services, url: str) -> Iterator[tuple[ParquetFile, float]]:
    """An open file and the time of its last change. Its end is read first, so it is copied to the disk."""
    from pyarrow.parquet import ParquetFile

    source = services.urls.open_source(url, patient=True)
    with tempfile.TemporaryFile(dir=services.settings.scratch) as copy:
        with source.stream as stream:
            shutil.copyfileobj(stream, copy, 1 << 20)
        try:
            file = ParquetFile(copy)
        except (pa.ArrowException, OSError) as error:
            raise MldbError(f"'{url}' cannot be read as Parquet: {error}") from None
        with file:
            yield file, source.last_modified


class ParquetRows:
    """The rows of a file as a query result. Columns of lists and structures hold their JSON."""

    def __init__(self, file: ParquetFile, named: str, time: float) -> None:
        self._file = file
        self._named = named
        self._time = time
        schema = file.schema_arrow
        if named and named not in schema.names:
            raise MldbError(f"the file has no column '{named}' that could name the rows")
        self._fields = [field for field in schema if field.name != named]
        self.type = RowType(tuple(Column((field.name,), kind_of(field.type)) for field in self._fields))

    def batches(self, progress: Progress | None = None) -> Iterator[NamedBatch]:
        done = 0
        for batch in self._file.iter_batches(_ROWS):
            values = [converted(batch.column(field.name), kind_of(field.type)) for field in self._fields]
            names = batch.column(self._named).cast(pa.string()) if self._named else _numbers(done, batch.num_rows)
            yield NamedBatch(names, RowBatch(self.type, batch.num_rows, values, [self._time] * len(values)))
            done += batch.num_rows
            if progress is not None:
                progress.update(done / max(1, self._file.metadata.num_rows))


def _numbers(begin: int, count: int) -> pa.Array:
    return pa.array([str(number) for number in range(begin + 1, begin + count + 1)], pa.string())


def kind_of(type_: pa.DataType) -> Kind:
    """The kind of atom that holds values of an Arrow type."""
    types = pa.types
    if types.is_dictionary(type_):
        return kind_of(type_.value_type)
    tests = (
        (types.is_boolean, Kind.BOOLEAN),
        (types.is_uint64, Kind.UNSIGNED),
        (types.is_integer, Kind.INTEGER),
        (types.is_floating, Kind.NUMBER),
        (types.is_decimal, Kind.NUMBER),
        (types.is_timestamp, Kind.TIMESTAMP),
        (types.is_date, Kind.TIMESTAMP),
        (types.is_binary, Kind.BLOB),
        (types.is_large_binary, Kind.BLOB),
    )
    return next((kind for test, kind in tests if test(type_)), Kind.STRING)


def converted(array: pa.Array, kind: Kind) -> pa.Array:
    """An array as its kind is held. ``MldbError`` when a value does not fit."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    try:
        if kind is Kind.TIMESTAMP:
            micros = array.cast(pa.timestamp("us")).cast(pa.int64())
            return pc.divide(micros.cast(pa.float64(), safe=False), 1e6)
        if kind is Kind.STRING and pa.types.is_nested(array.type):
            return _json(array)
        return array.cast(ARROW_TYPES[kind], safe=kind is not Kind.NUMBER)
    except pa.ArrowException as error:
        raise MldbError(f"a column of type {array.type} cannot be imported: {error}") from None


def _json(array: pa.Array) -> pa.Array:
    import orjson

    texts = (None if value is None else orjson.dumps(value, default=str).decode() for value in array.to_pylist())
    return pa.array(texts, pa.string())


class ImportParquet(StatelessProcedure):
    def run(self, params: ImportParquetParams, progress: Progress) -> RunResult:
        progress.step("reading")
        with parquet_file(self.services, params.dataFileUrl) as (file, modified):
            rows = ParquetRows(file, params.named, modified)
            progress.step("importing")
            _, dataset = self.services.output_dataset(params.outputDataset, "tabular")
            dataset.write(rows, progress)
        return RunResult(dataset.status())


TYPES = [
    EntityType(
        kind="procedure",
        name="import.parquet",
        params=ImportParquetParams,
        summary="Import a Parquet file",
        create=ImportParquet.create,
        doc=(
            "Each row of the file becomes a row, each column a column of the kind that holds it; lists and structures "
            "become their JSON texts. Rows are numbered from 1, or named by a column."
        ),
    )
]
