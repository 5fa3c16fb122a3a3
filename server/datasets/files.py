"""Saving datasets to URLs and loading them, whatever the scheme."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from server.declarations import Services
from server.errors import MldbError
from server.messages import Request, Response
from server.sql.tree import DatasetRef, Select, Wildcard
from server.sql.views import View
from server.storage.cells import CellTables
from server.storage.database import new_table
from server.storage.dataset_files import DatasetFile, save
from server.storage.layouts import Cells, Wide
from server.storage.pending import Pending


def save_to(services: Services, layout: Cells | Wide, url: str, type_name: str) -> None:
    """Write a dataset's cells to a URL; nothing is seen there before all is written."""
    with tempfile.TemporaryDirectory(prefix="dataset-", dir=services.settings.scratch) as folder:
        file = Path(folder) / "dataset.parquet"
        with services.urls.open_write(url) as target:
            with services.database.cursor() as cursor:
                save(cursor, layout, file, type_name)
            with file.open("rb") as source:
                shutil.copyfileobj(source, target, 1 << 20)


def save_dataset(services: Services, id: str, url: str) -> str:
    """Write the rows of any dataset, as a file of ``tabular`` where it lies as a table, else of ``beh``; says which.

    A view is written as it is now.
    """
    layout = services.dataset(id).layout()
    if not isinstance(layout, View):
        type_name = "tabular" if isinstance(layout, Wide) else "beh"
        save_to(services, layout, url, type_name)
        return type_name
    tables = CellTables(services.database, new_table())
    try:
        with tables.batch() as add:
            for batch in services.query(Select((Wildcard(),), source=DatasetRef(id)), timestamps=True).batches():
                piece = Pending()
                piece.add_batch(batch)
                add(piece)
        save_to(services, tables.layout(), url, "beh")
        return "beh"
    finally:
        tables.drop()


@contextmanager
def opened(services: Services, url: str) -> Iterator[DatasetFile]:
    """The dataset file behind a URL; one that is not a plain local file is copied first."""
    with tempfile.TemporaryDirectory(prefix="dataset-", dir=services.settings.scratch) as folder:
        file = services.urls.local_path(url)
        if file is None:
            file = Path(folder) / "dataset.parquet"
            with services.urls.open_read(url) as source, file.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
        dataset = DatasetFile(file, url)
        try:
            yield dataset
        finally:
            dataset.close()


def saves_url(request: Request) -> str:
    """The ``dataFileUrl`` of a ``POST …/routes/saves``; ``MldbError`` for any other route."""
    if request.remaining.strip("/") != "saves" or request.verb != "POST":
        raise MldbError(f"Unknown route '{request.verb} {request.remaining}': there is POST /saves", code=404)
    try:
        body: Any = orjson.loads(request.body or b"{}")
    except orjson.JSONDecodeError as error:
        raise MldbError(f"the body of saves is a JSON object with dataFileUrl: {error}") from None
    url = body.get("dataFileUrl") if isinstance(body, dict) else None
    if not isinstance(url, str) or not url:
        raise MldbError("saves needs a dataFileUrl")
    return url


def saved(type_name: str, url: str) -> Response:
    """The config that loads the file again."""
    return Response(200, orjson.dumps({"type": type_name, "params": {"dataFileUrl": url}}))
