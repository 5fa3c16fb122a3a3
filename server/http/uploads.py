"""``/v1/uploads``: data files that a browser brings, kept below the data root until they are imported or removed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from server import durable
from server.entities.json_answers import FreeForm, Typed, empty
from server.entities.parameters import Param
from server.entities.routes import DRAFT, Call, Spool
from server.errors import MldbError, NotFound
from server.file_names import names_in
from server.http.answers import ANY, GONE, IDS, INTEGER, NAMES, OBJECT, TEXT, answers, array, members, note
from server.http.host import Host
from server.messages import Response

_ONE = "/v1/uploads/{file}"
_PREVIEW: Final = members(
    {
        "kind": TEXT,
        "columns": IDS,
        "rows": array(array(ANY)),
        "steps": note(array(members({"type": TEXT, "params": OBJECT})), "Procedures to run in this order"),
    },
    {"total": INTEGER},
)


class Uploads:
    """The files below ``folder``; nothing in there is ever run or served as a page."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        if not self._folder.is_dir():
            return []
        return [name for name in names_in(self._folder) if not name.startswith(".")]

    def find(self, name: str) -> Path:
        file = self._folder / checked_name(name)
        if not file.is_file():
            raise NotFound(f"there is no uploaded file '{name}'")
        return file

    def take(self, name: str, draft: Path) -> Path:
        """Keep a file that lies whole in the folder already; one of that name is replaced."""
        file = self._folder / checked_name(name)
        durable.replace(draft, file)
        return file

    def write(self, name: str, content: bytes) -> Path:
        """Keep content of plugin code, whole or not at all; one of that name is replaced."""
        file = self._folder / checked_name(name)
        self._folder.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(prefix=DRAFT, dir=self._folder)
        try:
            with os.fdopen(handle, "wb") as sink:
                sink.write(content)
            durable.replace(Path(draft), file)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
        return file


def checked_name(name: str) -> str:
    """A name that is one plain file of a folder, wherever it came from."""
    if not name or name.startswith(".") or set(name) & set("/\\\0") or len(name.encode("utf-8", "replace")) > 200:
        raise MldbError(f"'{name}' will not do as the name of a file")
    return name


def address(file: Path) -> str:
    """The URL under which procedures read an uploaded file."""
    return f"file:///mldb_data/uploads/{quote(file.name)}"


def register(host: Host) -> None:
    folder = host.settings.data_dir.resolve() / "uploads"
    for left in folder.glob(DRAFT + "*"):
        left.unlink()  # the server was killed while it was on its way
    uploads = Uploads(folder)
    add = host.resources.add
    most = host.settings.upload_size * 2**20
    add("GET", "/v1/uploads", partial(_list, uploads, most), summary="List the uploaded files", replies=NAMES)
    add(
        "PUT",
        _ONE,
        partial(_put, uploads),
        summary="Upload a data file",
        replies=answers(members({"url": TEXT}), 201),
        result="{url}: what procedures read it by",
        spool=Spool(folder, most, "upload-size", _check),
    )
    add(
        "GET", f"{_ONE}/preview", partial(_preview, uploads), Param("dataset", "", help="Name of the dataset to make"),
        summary="The first rows of an uploaded file, and the procedures that import it", replies=answers(_PREVIEW),
    )  # fmt: skip
    add("DELETE", _ONE, partial(_delete, uploads), summary="Remove an uploaded file", replies=GONE)


def _list(uploads: Uploads, most: int, _: Call) -> Typed:
    """With the largest size, in bytes, in the header that the drafts of resumable uploads have for it."""
    return Typed(uploads.names(), headers=[("Upload-Limit", f"max-size={most}")])


def _put(uploads: Uploads, call: Call) -> Typed:
    request = call.request
    if not (request.file.stat().st_size if request.file is not None else request.body):
        raise MldbError("the file is empty")
    file = uploads.take(call["file"], request.file) if request.file else uploads.write(call["file"], request.body)
    return Typed({"url": address(file)}, 201)


def _check(segments: Mapping[str, str]) -> None:
    checked_name(segments["file"])


def _preview(uploads: Uploads, call: Call) -> Any:
    from server.transfer.previews import preview

    file = uploads.find(call["file"])
    return FreeForm(preview(file, address(file), call["dataset"] or file.stem))


def _delete(uploads: Uploads, call: Call) -> Response:
    uploads.find(call["file"]).unlink(missing_ok=True)
    return empty(204)
