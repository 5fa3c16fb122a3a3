"""``Query``: a query on one dataset, put together clause by clause, as ``BatFrame`` and ``Column`` do it."""

from __future__ import annotations

import copy
import json
from collections import Counter
from typing import Any

import requests

from .failures import checked


class Query:
    """The clauses by their names in 0.8.1; combined with ``&`` and ``|``."""

    def __init__(self, dataset_url: str) -> None:
        self.dataset_url = dataset_url
        self.SELECT: Counter[str] = Counter()
        self.WHERE: str | None = None
        self.GROUPBY: list[str] = []
        self.OFFSET: int | None = None
        self.LIMIT: int | None = None
        self.ORDERBY: list[str] = []

    def addSELECT(self, obj: str) -> None:  # noqa: N802
        self.SELECT[obj] += 1

    def removeSELECT(self, obj: str) -> None:  # noqa: N802
        self.SELECT -= Counter([obj])

    def addWHERE(self, where: str | None, boolean: str | None = None) -> None:  # noqa: N802
        """Add a condition; ``RuntimeError`` unless ``boolean`` says how it joins the one that is there."""
        if where is None:
            return
        if self.WHERE is not None and boolean not in ("AND", "OR"):
            raise RuntimeError("there is a condition already: join the two with & or |")
        self.WHERE = where if self.WHERE is None else f"({self.WHERE} {boolean} {where})"

    def addGROUPBY(self, value: Any) -> None:  # noqa: N802
        self.GROUPBY.append(str(value))

    def addORDERBY(self, value: str) -> None:  # noqa: N802
        self.ORDERBY.append(value)

    def setOFFSET(self, value: int) -> None:  # noqa: N802
        self.OFFSET = max(_place(value), self.OFFSET or 0)

    def setLIMIT(self, value: int) -> None:  # noqa: N802
        self.LIMIT = _place(value) if self.LIMIT is None else min(_place(value), self.LIMIT)

    def mergeQuery(self, query: Query, how: str | None = None) -> None:  # noqa: N802
        """Take over the clauses of another; ``RuntimeError`` when both are sliced."""
        self.SELECT += query.SELECT
        self.addWHERE(query.WHERE, how)
        self.GROUPBY += query.GROUPBY
        self.ORDERBY += query.ORDERBY
        for clause in ("OFFSET", "LIMIT"):
            theirs = getattr(query, clause)
            if theirs is not None and getattr(self, clause) is not None:
                raise RuntimeError("both queries are sliced already")
            if theirs is not None:
                setattr(self, clause, theirs)

    def buildQuery(self) -> dict[str, Any]:  # noqa: N802
        """The parameters of the dataset's query route."""
        clauses = {
            "select": ",".join(self.SELECT) or "*",
            "where": self.WHERE,
            "groupBy": ",".join(self.GROUPBY) or None,
            "offset": self.OFFSET,
            "limit": self.LIMIT,
            "orderBy": ",".join(self.ORDERBY) or None,
        }
        return {name: value for name, value in clauses.items() if value is not None}

    def executeQuery(self, format: str) -> Any:  # noqa: N802
        """Run it; ``ResourceError`` for an answer that is an error."""
        params = {**self.buildQuery(), "format": format}
        return fetch(f"{self.dataset_url}/query", params)

    def copy(self) -> Query:
        return copy.deepcopy(self)

    def __and__(self, other: Query) -> Query:
        return self._with(other, "AND")

    def __or__(self, other: Query) -> Query:
        return self._with(other, "OR")

    def _with(self, other: Query, how: str) -> Query:
        joined = self.copy()
        joined.mergeQuery(other, how)
        return joined

    def __repr__(self) -> str:
        return json.dumps(self.buildQuery(), indent=4)


def _place(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise RuntimeError("slices begin and end at integers from 0 up")
    return value


def fetch(url: str, params: Any = None) -> Any:
    """The JSON of a GET; ``ResourceError`` for an answer that is an error."""
    return checked(requests.get(url, params=params)).json()  # noqa: S113 - a query may take its time
