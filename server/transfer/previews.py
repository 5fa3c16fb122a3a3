"""The first rows of an uploaded file, and the procedures that would import it."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from server.errors import MldbError

ROWS: Final = 20
_HEAD: Final = 256 << 10  # bytes of a text file that are looked at
_MEMBERS: Final = 100
_PICTURES: Final = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp")
_LONGEST: Final = 200  # characters of a shown value

Step = dict[str, Any]


def preview(file: Path, url: str, dataset: str) -> dict[str, Any]:
    """``{kind, columns, rows, steps}``: ``steps`` are configurations of procedures, to be run in order.

    ``MldbError`` for what is none of CSV, TSV, JSON lines, a JSON array, Parquet, and a zip of pictures.
    """
    with file.open("rb") as stream:
        head = stream.read(_HEAD)
    if head.startswith(b"PAR1"):
        return _parquet(file, url, dataset)
    if head.startswith(b"PK"):
        return _pictures(file, url, dataset)
    text = head.decode("utf-8", "replace").removeprefix("\ufeff")
    if not text.strip() or "\0" in text:
        raise MldbError(f"'{file.name}' is none of CSV, JSON, Parquet and a zip of pictures")
    complete = file.stat().st_size <= _HEAD
    if text.lstrip()[0] in "{[":
        return _json(file, text, url, dataset, complete)
    return _csv(text, url, dataset, complete)


def _import(type_: str, url: str, dataset: str, **params: Any) -> Step:
    output = {"id": dataset, "type": "tabular"}
    return {"type": type_, "params": {"dataFileUrl": url, "outputDataset": output, **params}}


def _parquet(file: Path, url: str, dataset: str) -> dict[str, Any]:
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(file) as found:
            batch = next(found.iter_batches(ROWS), None)
            rows = [] if batch is None else batch.to_pylist()
            columns, total = found.schema_arrow.names, found.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise MldbError(f"'{file.name}' cannot be read as Parquet: {error}") from None
    shown = _shown("Parquet", columns, ([row[name] for name in columns] for row in rows))
    return shown | {"total": total, "steps": [_import("import.parquet", url, dataset)]}


def _csv(text: str, url: str, dataset: str, complete: bool) -> dict[str, Any]:
    try:
        delimiter = csv.Sniffer().sniff(text[:8192], ",;\t|").delimiter
    except csv.Error:
        delimiter = ","
    lines = text.splitlines(keepends=True)
    rows = list(csv.reader(io.StringIO("".join(lines if complete else lines[:-1])), delimiter=delimiter))
    rows = [row for row in rows if row]
    columns = rows[0] if rows else []
    name = {",": "CSV", "\t": "TSV"}.get(delimiter, f"CSV with '{delimiter}'")
    step = _import("import.text", url, dataset, delimiter=delimiter, allowMultiLines=_has_long_cells(rows))
    return _shown(name, columns, rows[1 : ROWS + 1]) | {"steps": [step]}


def _has_long_cells(rows: list[list[str]]) -> bool:
    return any("\n" in cell for row in rows for cell in row)


def _json(file: Path, text: str, url: str, dataset: str, complete: bool) -> dict[str, Any]:
    if text.lstrip().startswith("["):
        raise MldbError(
            f"'{file.name}' holds one JSON array: import.json reads an object a line (jq -c '.[]' makes that of it)"
        )
    lines = text.splitlines()
    objects = [_object(line, file.name) for line in (lines if complete or len(lines) < 2 else lines[:-1]) if line]
    objects = objects[:ROWS]
    columns = list(dict.fromkeys(name for each in objects for name in each))
    rows = ([each.get(name) for name in columns] for each in objects)
    return _shown("JSON lines", columns, rows) | {"steps": [_import("import.json", url, dataset)]}


def _object(line: str, name: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise MldbError(f"'{name}' has a line that is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise MldbError(f"'{name}' has a line that is no JSON object")
    return found


def _pictures(file: Path, url: str, dataset: str) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(file) as packed:
            members = [info for info in packed.infolist() if info.filename.lower().endswith(_PICTURES)]
    except zipfile.BadZipFile as error:
        raise MldbError(f"'{file.name}' cannot be read as zip: {error}") from None
    if not members:
        raise MldbError(f"'{file.name}' holds no picture ({', '.join(_PICTURES)})")
    names = " OR ".join(f"lower(uri) LIKE '%{suffix}'" for suffix in _PICTURES)
    listing = f"{dataset}_files"
    steps = [
        {
            "type": "list.files",
            "params": {"path": f"archive+{url}#", "outputDataset": {"id": listing, "type": "tabular"}},
        },
        {
            "type": "transform",
            "params": {
                "inputData": f'SELECT uri, fetcher(uri)[content] AS image FROM "{listing}" WHERE {names}',
                "outputDataset": {"id": dataset, "type": "tabular"},
            },
        },
    ]
    rows = ([info.filename, info.file_size] for info in members[:_MEMBERS])
    return _shown("Pictures", ["name", "bytes"], rows) | {"total": len(members), "steps": steps}


def _shown(kind: str, columns: list[str], rows: Iterable[list[Any]]) -> dict[str, Any]:
    return {"kind": kind, "columns": columns, "rows": [[_value(value) for value in row] for row in rows]}


def _value(value: Any) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    text = value if isinstance(value, str) else f"{len(value)} bytes" if isinstance(value, bytes) else str(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
