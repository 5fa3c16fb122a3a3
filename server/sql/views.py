"""Datasets that are a table expression over others: merged, union, transposed, sampled, sub-selects."""

from __future__ import annotations

from dataclasses import dataclass

from server.sql.tree import Table
from server.storage.layouts import Cells, Wide


@dataclass(frozen=True, slots=True)
class View:
    """Read anew by each query. Of ``TableCall("union", …)`` the rows of input k are named ``k.row``."""

    table: Table


Layout = Wide | Cells | View
