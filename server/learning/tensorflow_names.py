"""What the ``inputs`` and ``outputs`` texts of ``tensorflow.graph`` name: nodes of the graph, and free variables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from server.errors import MldbError
from server.sql.parser import parse_clauses
from server.sql.tree import Clause, ColumnRef, Extract, Item, Select, Wildcard
from server.values.paths import Path, parse_path


@dataclass(frozen=True)
class SelectList:
    """``renames``: (column read, name given) for each clause when every clause is a plain column, else None."""

    text: str
    clauses: tuple[Clause, ...]
    variables: tuple[Path, ...]
    renames: tuple[tuple[Path, Path], ...] | None
    wildcard: bool

    def names(self, parameter: str) -> tuple[str, ...]:
        """The graph nodes that the clauses are named after; every clause must have a name of its own."""
        return tuple(".".join(_name(clause, parameter)) for clause in self.clauses)


def read_select_list(text: str) -> SelectList:
    clauses = parse_clauses(text)
    return SelectList(
        text,
        clauses,
        tuple(dict.fromkeys(_variables(clauses))),
        _renames(clauses),
        any(isinstance(clause, Wildcard) for clause in clauses),
    )


def _name(clause: Clause, parameter: str) -> Path:
    match clause:
        case Item(name=name) if name is not None:
            return name
        case Item(expression=ColumnRef(path=path)):
            return path
    raise MldbError(f"'{parameter}' of a tensorflow.graph function must name a node of the graph in each clause")


def _renames(clauses: Sequence[Clause]) -> tuple[tuple[Path, Path], ...] | None:
    renames = []
    for clause in clauses:
        match clause:
            case Item(expression=ColumnRef(path=path), name=name):
                renames.append((path, path if name is None else name))
            case _:
                return None
    return tuple(renames)


def _variables(part: Any) -> Iterator[Path]:
    """Columns read from the row that the list is applied to."""
    match part:
        case ColumnRef(path=path):
            yield path
        case Extract(base=base):  # what stands in the brackets reads the base
            yield from _variables(base)
        case Select():  # reads its own tables
            return
        case tuple():
            for each in part:
                yield from _variables(each)
        case _ if is_dataclass(part):
            for field in fields(part):
                yield from _variables(getattr(part, field.name))


def node_path(name: str) -> Path:
    """The column path that holds a node's value: node names may hold dots, which split paths."""
    return (name,) if '"' in name else parse_path(name)
