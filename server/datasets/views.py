"""What datasets that are table expressions over others share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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

    @property
    def inputs(self) -> list[str]:
        """Ids of the datasets that it is made of, as far as they are not named in a table expression."""
        return list(self._stored.get("inputs", ()))

    def status(self) -> dict[str, Any]:
        """What is known of the rows, and ``datasets``: how large the inputs are by id, null for one that is gone."""
        known: dict[str, dict[str, Any] | None] = {}
        counts = self.counts(known)
        return {**counts, "datasets": {id: known[id] for id in self.inputs}}

    def counts(self, known: dict[str, dict[str, Any] | None]) -> dict[str, Any]:
        """How large it is. ``known`` keeps what was found of the datasets below, each of which is asked once."""
        for id in self.inputs:
            if id not in known:
                known[id] = None  # a circle ends here
                known[id] = self._counts_of(id, known)
        found = [counts for id in self.inputs if (counts := known[id]) is not None]
        return self._counts(found) if len(found) == len(self.inputs) else {}

    def _counts_of(self, id: str, known: dict[str, dict[str, Any] | None]) -> dict[str, Any] | None:
        try:
            dataset = self._services.dataset(id)
            return dataset.counts(known) if isinstance(dataset, ViewDataset) else dataset.status()
        except MldbError:
            return None

    def persist(self) -> dict[str, Any]:
        return self._stored


def inputs(creation: Creation, specs: list[Any]) -> list[str]:
    """Ids of the datasets that specs name: existing ones by ``id``, others are created from ``type``."""
    if creation.stored:
        return list(creation.stored["inputs"])
    ids = [_input(creation.services, spec) for spec in specs]
    if creation.id in _below(creation.services, ids):
        raise MldbError(f"Dataset '{creation.id}' cannot be made of itself")
    return ids


def _below(services: Services, ids: Iterable[str]) -> set[str]:
    """These datasets and those that they are made of, however deep."""
    found: set[str] = set()
    waiting = list(ids)
    while waiting:
        id = waiting.pop()
        if id not in found:
            found.add(id)
            dataset = services.dataset(id)
            waiting += dataset.inputs if isinstance(dataset, ViewDataset) else ()
    return found


def _input(services: Services, spec: Any) -> str:
    if isinstance(spec, str):
        spec = {"id": spec}
    if spec.get("type"):
        return services.inline_dataset(spec)
    if not spec.get("id"):
        raise MldbError("a dataset is given by its id, or by the type and params to create it with")
    services.dataset(spec["id"])
    return str(spec["id"])


def nothing() -> View:
    """A table expression without rows and columns."""
    return View(parse_table("(SELECT {} AS * WHERE false)"))


def refer(ids: list[str]) -> tuple[Table, ...]:
    return tuple(DatasetRef(id) for id in ids)
