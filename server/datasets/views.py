"""What datasets that are table expressions over others share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from server.datasets.base import ReadOnly
from server.declarations import Creation, Services
from server.errors import MldbError
from server.sql.parser import parse_table
from server.sql.tree import DatasetRef, Table
from server.sql.views import View

Spec = str | dict[str, Any]
Counts = Callable[[list[dict[str, Any]]], dict[str, Any]]


class ViewDataset(ReadOnly):
    """A dataset whose rows are those of a table expression, read anew by each query.

    ``stored`` is kept in the catalogue: the ids of its input datasets, and what else it is to keep. ``counts`` tells
    the status from those of the inputs, as far as that can be told without reading rows.
    """

    def __init__(
        self,
        type_name: str,
        table: Table,
        stored: Mapping[str, Any] | None = None,
        *,
        services: Services,
        counts: Counts = lambda _: {},
    ) -> None:
        self.type_name = type_name
        self._table = table
        self._stored = dict(stored or {})
        self._services = services
        self._counts = counts

    def layout(self) -> View:
        return View(self._table)

    def status(self) -> dict[str, Any]:
        """What is known of the rows, and ``datasets``: the statuses of the inputs by id, null for one that is gone."""
        statuses = {id: self._status_of(id) for id in self._stored.get("inputs", ())}
        known = [status for status in statuses.values() if status is not None]
        counts = self._counts(known) if len(known) == len(statuses) else {}
        return {**counts, "datasets": statuses}

    def _status_of(self, id: str) -> dict[str, Any] | None:
        try:
            return self._services.dataset(id).status()
        except MldbError:
            return None

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
