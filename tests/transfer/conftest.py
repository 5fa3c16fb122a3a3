"""A server without its network: services, registry and database, as procedures see them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.app import Server
from server.declarations import Services
from server.errors import MldbError
from server.http.security import Gate
from server.settings import Settings
from server.values.cells import atoms_of


class Workbench:
    """Runs procedures and reads datasets. ``root`` is the folder that ``file:`` URLs may point into."""

    def __init__(self, services: Services, root: Path) -> None:
        self.services = services
        self.root = root

    def url(self, name: str) -> str:
        return f"file://{self.root / name}"

    def file(self, name: str, content: bytes | str) -> str:
        """Write a file; its URL."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return self.url(name)

    def run(self, type_: str, **params: Any) -> Any:
        """Create a procedure and run it: the status of the first run. Raises the run's own error."""
        try:
            status = self.services.create("procedure", {"id": "work", "type": type_, "params": params})
        except MldbError as error:
            inner = error.details.get("runError")
            if inner is None:
                raise
            raise MldbError(inner["error"], code=inner["httpCode"], details=inner.get("details")) from error
        return status["status"]["firstRun"].get("status")

    def dataset(self, id_: str, rows: list[tuple[str, list[tuple[str, Any]]]], type_: str = "sparse.mutable") -> None:
        """Make a dataset of rows of cells, all at time 0."""
        self.services.create("dataset", {"id": id_, "type": type_, "params": {}})
        dataset = self.services.dataset(id_)
        dataset.record_rows(
            ((name,), [((*column.split("."),), value, 0.0) for column, value in cells]) for name, cells in rows
        )
        dataset.commit()

    def rows(self, query: str) -> dict[str, dict[str, Any]]:
        """Rows of a query by name: cells by the text of their column, nulls included."""
        result = self.services.query(query)
        rows: dict[str, dict[str, Any]] = {}
        for batch in result.batches():
            columns = [
                (".".join(column.path), atoms_of(values, column.kind))
                for column, values in zip(result.type.columns, batch.rows.values, strict=True)
            ]
            for index, name in enumerate(batch.names.to_pylist()):
                rows[name] = {path: atoms[index] for path, atoms in columns}
        return rows


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "files").mkdir()
    return Settings(data_dir=tmp_path / "data", file_root=[tmp_path / "files"], fetch_private=True, database_threads=2)


@pytest.fixture
def bench(settings: Settings) -> Iterator[Workbench]:
    server = Server(settings, Gate(settings), lambda: None)
    yield Workbench(server.services, settings.file_root[0])
    asyncio.run(server.close())
