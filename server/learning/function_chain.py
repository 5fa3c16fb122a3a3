"""The function ``serial``: functions one after the other as one function (entity-types.md §4.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pydantic import Field

from server.declarations import BoundFunction, Creation, EntityType, Function, Params, Services, SqlText
from server.errors import MldbError
from server.transfer.results import rows_of
from server.values.batches import ANY_ROW, RowBatch, RowType
from server.values.cells import cells_array, cells_of


class Step(Params):
    """One function of the chain: an existing one by ``id``, or one to make from ``type`` and ``params``."""

    id: str = ""
    name: str = Field("", description="Accepted for compatibility")
    type: str = ""
    params: dict[str, Any] = Field({}, description="Its parameters")
    with_: SqlText = Field("*", alias="with", description="SELECT list over what is known so far: the function's input")
    extract: SqlText = Field("*", description="SELECT list over the function's output: what is known from then on")


class ChainParams(Params):
    steps: list[Step] = Field(
        min_length=1,
        description="Functions by `id`, or by `type` and `params`; `with` selects the input of each, `extract` from "
        "its output",
    )


@dataclass(frozen=True)
class Link:
    """A step whose function is there."""

    function: Function
    select: str
    extract: str


class Chain:
    """The function entity. ``made``: ids of the functions that the chain has made for itself."""

    input = output = ANY_ROW

    def __init__(self, services: Services, links: Sequence[Link], made: Sequence[str]) -> None:
        self._services = services
        self._links = links
        self._made = made

    def bind(self, given: RowType) -> BoundFunction:
        """Each step is bound to what the input and the steps before it give."""
        known, result = given, RowType()
        bound: list[_BoundLink] = []
        for link in self._links:
            select = self._services.engine.expression(link.select, known)
            function = link.function.bind(select.output)
            extract = self._services.engine.expression(link.extract, function.output)
            bound.append(_BoundLink(select, function, extract))
            known, result = joined(known, extract.output), joined(result, extract.output)
        return _BoundChain(tuple(bound), result)

    def persist(self) -> dict[str, Any]:
        return {"functions": list(self._made)}

    def drop(self) -> None:
        for id in self._made:
            self._services.delete("function", id)


@dataclass(frozen=True)
class _BoundLink:
    select: BoundFunction
    function: BoundFunction
    extract: BoundFunction

    def apply(self, known: RowBatch) -> RowBatch:
        return self.extract.apply(self.function.apply(self.select.apply(known)))


@dataclass(frozen=True)
class _BoundChain:
    links: tuple[_BoundLink, ...]
    output: RowType

    def apply(self, batch: RowBatch) -> RowBatch:
        known, result = batch, RowBatch(RowType(), batch.length, [])
        for link in self.links:
            found = link.apply(known)
            known, result = beside(known, found), beside(result, found)
        return result


def joined(before: RowType, after: RowType) -> RowType:
    """The columns of two rows as one row; what the second has takes the place of what the first calls the same.

    Which columns an open row has, only its cells tell: then what came before becomes cells too.
    """
    if after.open:
        return RowType(after.columns, open=True)
    return RowType(tuple(before.columns[at] for at in _kept(before, after)) + after.columns, before.open)


def beside(before: RowBatch, after: RowBatch) -> RowBatch:
    """Two batches of the same length as one, row by row, as ``joined`` says."""
    type_ = joined(before.type, after.type)
    keep = [] if after.type.open else _kept(before.type, after.type)
    values = [*(before.values[at] for at in keep), *after.values]
    times = [*(before.timestamp(at) for at in keep), *(after.timestamp(at) for at in range(len(after.values)))]
    return RowBatch(type_, before.length, values, times, _rest(before, after) if type_.open else None)


def _kept(before: RowType, after: RowType) -> list[int]:
    names = {column.path[:1] for column in after.columns}
    return [at for at, column in enumerate(before.columns) if column.path[:1] not in names]


def _rest(before: RowBatch, after: RowBatch) -> pa.Array:
    """The cells that are not in known columns, those of ``before`` only where ``after`` has nothing of that name."""
    known = {column.path[:1] for column in after.type.columns}
    first = rows_of(before) if after.type.open else cells_of(before.rest)
    second = cells_of(after.rest) if after.rest is not None else [[]] * after.length
    rows = []
    for old, new in zip(first, second, strict=True):
        names = known | {cell.path[:1] for cell in new}
        rows.append([cell for cell in old if cell.path[:1] not in names] + list(new))
    return cells_array(rows)


def _create(creation: Creation) -> Chain:
    params: ChainParams = creation.params
    stored = iter(creation.stored["functions"] if creation.stored else ())
    links: list[Link] = []
    made: list[str] = []
    for step in params.steps:
        id = step.id
        if step.type:
            id = next(stored, "") or str(
                creation.services.create("function", {"type": step.type, "params": step.params})["id"]
            )
            made.append(id)
        links.append(Link(_function(creation.services, id), step.with_, step.extract))
    return Chain(creation.services, links, made)


def _function(services: Services, id: str) -> Function:
    function = services.function(id)
    if function is None:
        raise MldbError(f"A step of a serial function needs a type, or the id of a function: there is no '{id}'")
    return function


TYPES = [
    EntityType(
        "function",
        "serial",
        ChainParams,
        "Applies functions one after the other",
        _create,
        "The input of each step is selected by `with` from the input and the outputs of the steps before; the output "
        "has what `extract` selects from the output of each.",
    )
]
