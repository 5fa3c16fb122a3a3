"""The first rows of an uploaded file, and the procedures that would import it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from server.errors import MldbError
from server.transfer import csvguess

ROWS: Final = 20
_MEMBERS: Final = 100
_PICTURES: Final = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp")
_LONGEST: Final = 200  # characters of a shown value

Step = dict[str, Any]


def preview(file: Path, url: str, dataset: str) -> dict[str, Any]:
    """``{kind, columns, rows, steps}``: ``steps`` are configurations of procedures, to be run in order.

    ``MldbError`` for what is none of CSV, TSV, JSON lines, a JSON array, Parquet, Excel, and a zip of pictures.
    """
    with file.open("rb") as stream:
        head = stream.read(csvguess.HEAD)
    if head.startswith(b"PAR1"):
        return _parquet(file, url, dataset)
    if head.startswith(b"PK"):
        return _pictures(file, url, dataset)
    if head.startswith(csvguess.UTF_16):
        raise MldbError(f"'{file.name}' is text in UTF-16: save it as UTF-8")
    complete = file.stat().st_size <= csvguess.HEAD
    text, _ = csvguess.decoded(head, complete=complete)
    if not text.strip() or "\0" in text:
        raise MldbError(f"'{file.name}' is none of CSV, JSON, Parquet, Excel and a zip of pictures")
    if text.lstrip()[0] in "{[":
        return _json(file, text, url, dataset, complete)
    return _csv(head, url, dataset, complete)


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


def _csv(head: bytes, url: str, dataset: str, complete: bool) -> dict[str, Any]:
    found, rows = csvguess.parameters(head, complete=complete)
    delimiter = found.get("delimiter", ",")
    name = {",": "CSV", "\t": "TSV"}.get(delimiter, f"CSV with '{delimiter}'")
    shown = _shown(name, rows[0] if rows else [], rows[1 : ROWS + 1])
    return shown | {"steps": [_import("import.text", url, dataset, **found)]}


def _json(file: Path, text: str, url: str, dataset: str, complete: bool) -> dict[str, Any]:
    if text.lstrip().startswith("["):
        raise MldbError(
            f"'{file.name}' holds one JSON array: import.json reads an object a line (jq -c '.[]' makes that of it)"
        )
    lines = text.splitlines()
    seen = [line for line in (lines if complete or len(lines) < 2 else lines[:-1]) if line.strip()]
    objects = [found for line in seen if (found := _object(line)) is not None][:ROWS]
    if not objects:
        raise MldbError(f"no line of '{file.name}' is a JSON object: {_reason(seen[0])}")
    columns = list(dict.fromkeys(name for each in objects for name in each))
    rows = ([each.get(name) for name in columns] for each in objects)
    return _shown("JSON lines", columns, rows) | {"steps": [_import("import.json", url, dataset)]}


def _object(line: str) -> dict[str, Any] | None:
    """What a line holds; None when that is no object, which the import tells with the number of the line."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _reason(line: str) -> str:
    try:
        return f"it is of type {type(json.loads(line)).__name__}"
    except ValueError as error:
        return str(error)


def _pictures(file: Path, url: str, dataset: str) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(file) as packed:
            members = packed.infolist()
    except zipfile.BadZipFile as error:
        raise MldbError(f"'{file.name}' cannot be read as zip: {error}") from None
    if any(info.filename == "xl/workbook.xml" for info in members):
        return _workbook(url, dataset)
    members = [info for info in members if info.filename.lower().endswith(_PICTURES)]
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


def _workbook(url: str, dataset: str) -> dict[str, Any]:
    """An Excel workbook, without its rows: to show some, all of it would have to be read."""
    params = {"dataFileUrl": url, "outputDataset": {"id": dataset, "type": "sparse.mutable"}}
    return _shown("Excel workbook", [], ()) | {"steps": [{"type": "experimental.import.xlsx", "params": params}]}


def _shown(kind: str, columns: list[str], rows: Iterable[list[Any]]) -> dict[str, Any]:
    return {"kind": kind, "columns": columns, "rows": [[_value(value) for value in row] for row in rows]}


def _value(value: Any) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False, default=str)
    text = str(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
