"""What datasets that are table expressions over others share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.datasets.base import ReadOnly
from server.declarations import Creation, Services
from server.errors import MldbError
from server.sql.parser import parse_table
from server.sql.tree import DatasetRef, Table
from server.sql.views import View

Spec = str | dict[str, Any]


class ViewDataset(ReadOnly):
    """A dataset whose rows are those of a table expression, read anew by each query.

    ``stored`` is kept in the catalogue (the ids of input datasets that were made for the view).
    """

    def __init__(self, type_name: str, table: Table, stored: Mapping[str, Any] | None = None) -> None:
        self.type_name = type_name
        self._table = table
        self._stored = dict(stored or {})

    def layout(self) -> View:
        return View(self._table)

    def status(self) -> dict[str, Any]:
        return {}

    def persist(self) -> dict[str, Any]:
        return self._stored


def inputs(creation: Creation, specs: list[Any]) -> list[str]:
    """Ids of the datasets that specs name: existing ones by ``id``, others are created from ``type``."""
    if creation.stored:
        return list(creation.stored["inputs"])
    return [_input(creation.services, spec) for spec in specs]


def _input(services: Services, spec: Any) -> str:
    if isinstance(spec, str):
        spec = {"id": spec}
    if spec.get("type"):
        return str(services.create("dataset", spec)["id"])
    if not spec.get("id"):
        raise MldbError("a dataset is given by its id, or by the type and params to create it with")
    services.dataset(spec["id"])
    return str(spec["id"])


def nothing() -> View:
    """A table expression without rows and columns."""
    return View(parse_table("(SELECT {} AS * WHERE false)"))


def refer(ids: list[str]) -> tuple[Table, ...]:
    return tuple(DatasetRef(id) for id in ids)
