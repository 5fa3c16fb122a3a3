"""``temporal_…``: over all values of a cell (sql-dialect.md §8.9), of a scalar or of each top-level column of a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from server.errors import MldbError
from server.sql.bound import NEVER_SQL, Atom, Leaf, MultiValue, Open, Row, RowBuilder, Value, possible
from server.sql.functions.openaggregates import AGGREGATES, by_path
from server.sql.functions.registry import Builtin, executing, number_argument
from server.sql.routines import CELLS, Routine
from server.sql.scope import Scope
from server.sql.tree import Call
from server.values.batches import Cell
from server.values.kinds import Kind


@dataclass(frozen=True)
class _Found:
    """The answer over the values of a cell: its SQL, kind and timestamp."""

    sql: str
    kind: Kind
    ts: str


def _present(cell: MultiValue) -> str:
    return f"list_filter({cell.sql}, lambda c: c.v IS NOT NULL)"


def _fold(cell: MultiValue, name: str) -> _Found:
    """count, sum and avg: at the newest timestamp of the values that are not null."""
    there = _present(cell)
    ts = f"list_max(list_transform({there}, lambda c: c.t))"
    if name == "count":
        return _Found(f"nullif(len({there}), 0)", Kind.INTEGER, ts)
    number = number_argument(Atom("c.v", cell.kind), f"temporal_{name}")
    return _Found(f"list_{name}(list_transform({there}, lambda c: {number}))", Kind.NUMBER, ts)


def _key(kind: Kind) -> str:
    """What orders the values: NaN is less than every number."""
    match kind:
        case Kind.ANY:
            return "m_sort_key(c.v)"
        case Kind.NUMBER:
            return "struct_pack(n := NOT isnan(c.v), v := c.v)"
    return "c.v"


def _extreme(cell: MultiValue, name: str) -> _Found:
    sign, function = ("", "min") if name == "min" else ("-", "max")
    entry = f"struct_pack(k := {_key(cell.kind)}, t := {sign}(c.t), v := c.v)"
    best = f"list_{function}(list_transform({_present(cell)}, lambda c: {entry}))"
    return _Found(f"{best}.v", cell.kind, f"{sign}({best}.t)")


def _by_time(cell: MultiValue, name: str) -> _Found:
    there = _present(cell)
    if name == "latest":
        return _Found(f"m_latest({there}).v", cell.kind, f"-(m_latest({there}).t)")
    return _Found(f"m_earliest({there}).v", cell.kind, f"m_earliest({there}).t")


_OVER: dict[str, Callable[[MultiValue, str], _Found]] = {
    "count": _fold, "sum": _fold, "avg": _fold, "min": _extreme, "max": _extreme, "earliest": _by_time,
    "latest": _by_time,
}  # fmt: skip


def _over_one(atom: Atom, name: str) -> Atom:
    """Over a cell that has one value at most."""
    if atom.kind is Kind.NULL:
        return atom
    if name == "count":
        sql, kind = f"CASE WHEN {atom.sql} IS NULL THEN NULL ELSE 1::BIGINT END", Kind.INTEGER
    elif name in ("sum", "avg"):
        sql, kind = number_argument(atom, f"temporal_{name}"), Kind.NUMBER
    else:
        sql, kind = atom.sql, atom.kind

    def ts() -> str:
        return f"CASE WHEN {atom.sql} IS NULL THEN {NEVER_SQL} ELSE {atom.ts()} END"

    return replace(atom, sql=sql, kind=kind, ts=ts, may_be_nan=possible, literal=None)


def _column(leaf: Leaf, name: str) -> Leaf:
    """Over a column of a row; a cell that the row lacks stays out, one that holds only nulls stays null."""
    if isinstance(leaf, Atom):
        return _over_one(leaf, name)
    if not isinstance(leaf, MultiValue):
        return leaf
    found = _OVER[name](leaf, name)
    cell = f"[struct_pack(v := {found.sql}, t := coalesce({found.ts}, {NEVER_SQL}))]"
    return MultiValue(f"CASE WHEN coalesce(len({leaf.sql}), 0) = 0 THEN [] ELSE {cell} END", found.kind)


def _temporal(node: Call, args: list[Value], scope: Scope) -> Value:
    name, value = node.name.removeprefix("temporal_"), args[0]
    match value:
        case Atom():
            return _over_one(value, name)
        case MultiValue():
            found = _OVER[name](value, name)
            return Atom(found.sql, found.kind, lambda: f"coalesce({found.ts}, {NEVER_SQL})")
        case Open():
            return Open(scope.stage(f"u_temporal('{name}', {value.cells})"))
        case Row():
            return _row(value, name, scope)
    raise MldbError("expected an atom or a row, got an embedding")


def _row(row: Row, name: str, scope: Scope) -> Row:
    builder = RowBuilder()
    for path, leaf in row.columns.items():
        builder.add(path, _column(leaf, name) if len(path) == 1 else leaf)
    for rest in row.rests:
        if rest.prefix:
            builder.rests.append(rest)
        else:
            builder.add((), Open(scope.stage(f"u_temporal('{name}', {rest.sql})")))
    return builder.build()


def temporal(name: str, cells: list[Cell]) -> list[Cell]:
    """The answer for each path of at most one element; deeper cells stay as they are."""
    found: list[Cell] = []
    for path, group in by_path(cells).items():
        if len(path) > 1:
            found.extend(group)
        elif all(cell.value is None for cell in group):
            found.append(Cell(path, None))
        else:
            found.append(executing(f"temporal_{name}", AGGREGATES[name])(path, group))
    return found


ROUTINES = [Routine("u_temporal", (Kind.STRING, CELLS), CELLS, temporal)]

_SUMMARIES = {
    "count": ("How many values a cell has.", '{"a": 2}'),
    "sum": ("The sum of all values of a cell.", '{"a": 12}'),
    "avg": ("The mean of all values of a cell.", '{"a": 6}'),
    "min": ("The smallest value of a cell.", '{"a": 4}'),
    "max": ("The greatest value of a cell.", '{"a": 8}'),
    "earliest": ("The value of a cell with the oldest timestamp.", '{"a": 4}'),
    "latest": ("The value of a cell with the newest timestamp.", '{"a": 8}'),
}

BUILTINS = [
    Builtin(
        f"temporal_{name}(x: any) → the form of x",
        f"{summary} Of a row: for each column.",
        (f"temporal_{name}({{4 @ '2015-01-01' AS a, 8 @ '2015-01-02' AS a}})", answer),
        bind=_temporal,
        null=("NULLs are left out; NULL when nothing is left", (f"temporal_{name}({{NULL @ 1 AS a}})", '{"a": null}')),
    )
    for name, (summary, answer) in _SUMMARIES.items()
]
