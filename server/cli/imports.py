"""``mldb import``: files and addresses into datasets, with their progress."""

from __future__ import annotations

import argparse
import json
import secrets
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from server.cli.actions import speaks_to_server
from server.cli.client import Server, ServerError, segment
from server.cli.output import say
from server.cli.run import tracked

_NOT_READABLE = "outside the folders that may be accessed"
_EXCEL: Final = "experimental.import.xlsx"
_TYPES: Final = {
    ".json": "import.json",
    ".jsonl": "import.json",
    ".ndjson": "import.json",
    ".parquet": "import.parquet",
    ".xlsx": _EXCEL,
}
_PICTURES: Final = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp")


def add(commands: Any) -> None:
    load = commands.add_parser("import", help="import a file or a URL into a dataset, with its progress")
    load.add_argument("source", help="a file or a URL: CSV, or by its name JSON, Parquet or Excel; a zip of pictures")
    load.add_argument("dataset", help="the dataset to make")
    load.add_argument("--type", help="the procedure type to use, such as import.text")
    load.add_argument(
        "--param", action="append", default=[], type=_pair, metavar="NAME=VALUE", help="a parameter of that type"
    )
    speaks_to_server(load, _import)


def _pair(text: str) -> tuple[str, Any]:
    """``name=value``, where the value is JSON, or a text that is none."""
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not name=value")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _import(options: argparse.Namespace) -> int:
    server = Server(options)
    if "://" in options.source:
        _run(options, server, _step(options, options.source))
    else:
        file = Path(options.source)
        file.stat()  # an error names the file as it was called
        _import_file(options, server, file.resolve())
    status = server.json("GET", f"/v1/datasets/{segment(options.dataset)}")
    count = (status.get("status") or {}).get("rowCount")
    say(f"{options.dataset}: {count} row{'' if count == 1 else 's'}", options, **status)
    return 0


def _import_file(options: argparse.Namespace, server: Server, file: Path) -> None:
    """Import a file from where it lies if the server can read it there and as it is, else by an upload."""
    if options.type is None and _holds_pictures(file):
        with _uploaded(server, file) as (path, _):
            preview = server.json("GET", f"{path}/preview?{urlencode({'dataset': options.dataset})}")
            for step in preview["steps"]:
                _run(options, server, step)
        return
    if options.type is None and _is_array(file):
        with _lines_of(file) as lines, _uploaded(server, lines) as (_, url):
            _run(options, server, _step(options, url, "import.json"))
        return
    try:
        _run(options, server, _step(options, file.as_uri()))
    except ServerError as error:
        if _NOT_READABLE not in str(error):
            raise
        with _uploaded(server, file) as (_, url):
            _run(options, server, _step(options, url))


def _run(options: argparse.Namespace, server: Server, step: dict[str, Any]) -> None:
    """Run a procedure that is there for as long as it takes."""
    name = f"import {options.dataset} {secrets.token_hex(4)}"
    path = f"/v1/procedures/{segment(name)}"
    params = {**step["params"], "runOnCreation": False}
    server.json("PUT", path, {"type": step["type"], "persistent": False, "params": params})
    try:
        tracked(options, {}, name)
    finally:
        server.text("DELETE", path)


def _step(options: argparse.Namespace, url: str, type_: str = "") -> dict[str, Any]:
    """The configuration of the procedure that imports what is at the URL."""
    name = options.type or type_ or _type_of(options.source)
    params = dict(options.param)
    if name == "import.text" and "://" not in options.source:
        params = _told_by(Path(options.source)) | params
    # Rows of a sheet have the columns that are filled in them.
    output = {"id": options.dataset, "type": "sparse.mutable" if name == _EXCEL else "tabular"}
    return {"type": name, "params": {"dataFileUrl": url, "outputDataset": output, **params}}


def _type_of(source: str) -> str:
    suffixes = Path(urlsplit(source).path).suffixes
    return next((_TYPES[suffix] for suffix in suffixes if suffix in _TYPES), "import.text")


def _told_by(file: Path) -> dict[str, Any]:
    """The parameters of import.text that the file's first bytes tell; none of a packed file."""
    from server.transfer import csvguess

    with file.open("rb") as stream:
        head = stream.read(csvguess.HEAD)
    if head.startswith(csvguess.UTF_16):
        raise ValueError(f"{file} is text in UTF-16: save it as UTF-8")
    if b"\0" in head:
        return {}
    found, _ = csvguess.parameters(head, complete=file.stat().st_size <= csvguess.HEAD)
    return found


def _holds_pictures(file: Path) -> bool:
    if _type_of(file.name) == _EXCEL:
        return False
    if not zipfile.is_zipfile(file):
        if file.suffix.lower() == ".zip":
            raise ValueError(f"{file} is no zip archive, or a damaged one")
        return False
    with zipfile.ZipFile(file) as packed:
        return any(name.lower().endswith(_PICTURES) for name in packed.namelist())


def _is_array(file: Path) -> bool:
    """Whether a file of JSON is one array, in place of an object a line."""
    if _type_of(file.name) != "import.json":
        return False
    with file.open("rb") as stream:
        return stream.read(64).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


@contextmanager
def _lines_of(file: Path) -> Iterator[Path]:
    """The members of the array, one a line, in a file that goes again."""
    members = json.loads(file.read_text(encoding="utf-8-sig"))
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".jsonl") as lines:
        lines.writelines(f"{json.dumps(member)}\n" for member in members)
        lines.flush()
        yield Path(lines.name)


@contextmanager
def _uploaded(server: Server, file: Path) -> Iterator[tuple[str, str]]:
    """The path of an upload, which is removed in the end, and the URL that procedures read it by."""
    path = f"/v1/uploads/{segment(f'{secrets.token_hex(4)}-{file.name}')}"
    url = server.upload(path, file)["url"]
    try:
        yield path, url
    finally:
        server.text("DELETE", path)
