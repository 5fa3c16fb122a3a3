"""What is seen of a dataset, to hold two ways of making it against each other."""

from __future__ import annotations

from typing import Any

from server.storage.layouts import Wide
from server.transfer.results import named_rows
from tests.transfer.conftest import Workbench


def described(bench: Workbench, id_: str) -> Any:
    """The columns of a table in their order, each row's cells, times included, and the status."""
    layout = bench.services.dataset(id_).layout()
    columns = [(c.path, c.kind, c.sparse) for c in layout.columns] if isinstance(layout, Wide) else None
    rows = [
        (name, [(cell.path, type(cell.value), cell.value, cell.timestamp) for cell in row])
        for query in (f"SELECT * FROM {id_}", f"SELECT columnCount() AS n, latest_timestamp({{*}}) AS t FROM {id_}")
        for name, row in named_rows(bench.services.query(query, timestamps=True))
    ]
    return columns, rows, bench.services.dataset(id_).status()
