"""Bound values: what an expression is once names and types are known, each part as DuckDB SQL text.

    Atom        one atom of a known kind (``Kind.ANY`` when it varies by row)
    MultiValue  a multi-valued cell: a list of ``{v, t}``
    Embedding   numbers or other atoms of one kind in a list, with a shape
    Row         known columns by path, and open rests
    Open        a value known only at run time, atom or row: a list of cells ``{p, v, t}``, an atom at path ''

Timestamps are second expressions, made only when asked for: ``ts`` is a function that gives the SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeGuard

from server.errors import MldbError
from server.sql.duck import literal_text, macro
from server.values.kinds import CELL_TYPE, Kind
from server.values.paths import Path, element_paths, format_path

NEVER_SQL = "'-inf'::DOUBLE"
NAN_SQL = "'nan'::DOUBLE"
NO_CELLS = f"[]::{CELL_TYPE}[]"

Ts = Callable[[], str]


def never() -> str:
    """The timestamp of constants."""
    return NEVER_SQL


def fixed(sql: str) -> Ts:
    """A timestamp that is just this SQL."""
    return lambda: sql


def possible() -> bool:
    """That a value may be NULL, or NaN, where nothing is known of it."""
    return True


def impossible() -> bool:
    """That it cannot."""
    return False


@dataclass(frozen=True, slots=True)
class Atom:
    """SQL of one atom of a known kind, ``ts`` gives that of its timestamp (DOUBLE, seconds).

    ``constant``: the value is known before any row is read; ``literal`` is the value, where the query spells it.
    ``sparse``: some rows may have no such cell; the SQL is NULL for them. Where a cell that is there can be NULL too,
    ``there`` is SQL of a condition that tells which rows have the cell, else it is "".
    ``may_be_null`` tells whether a cell that a row has can be NULL, ``may_be_nan`` whether a NUMBER can be NaN, which
    MLDB orders before all numbers and DuckDB after them. Both may ask the database, so they are asked only if needed.
    ``part``: the embedding that it is an element of, and the place of the element in that.
    """

    sql: str
    kind: Kind
    ts: Ts = never
    constant: bool = False
    sparse: bool = False
    may_be_nan: Callable[[], bool] = possible
    part: tuple[Embedding, int] | None = field(default=None, compare=False, repr=False)
    there: str = ""
    may_be_null: Callable[[], bool] = possible
    literal: object = None

    # Compiling makes hundreds of atoms: ``dataclasses.replace`` would take a third of its time.

    def present(self) -> Atom:
        """The atom as a value that is there: NULL where the row lacks the cell."""
        if not self.sparse:
            return self
        return Atom(
            self.sql, self.kind, self.ts, self.constant, False, self.may_be_nan, self.part, literal=self.literal
        )  # fmt: skip

    @property
    def presence(self) -> str:
        """SQL of whether a row has the cell, not TRUE where it lacks it; "" where all have it."""
        if not self.sparse:
            return ""
        return self.there or f"({self.sql} IS NOT NULL)"

    def nullable(self) -> bool:
        """Whether a row may have the cell with NULL in it."""
        return bool(self.there) if self.sparse else self.kind is Kind.NULL or self.may_be_null()

    def where(self, condition: str, ts: Ts | None = None) -> Atom:
        """The atom in the rows in which a condition holds; other rows lack it."""
        sql = self.sql if self.kind is Kind.NULL else f"CASE WHEN {condition} THEN {self.sql} END"
        return Atom(
            sql, self.kind, ts or self.ts, False, True, self.may_be_nan, self.part, self._there(condition),
            self.may_be_null,
        )  # fmt: skip

    def only(self, condition: str) -> Atom:
        """As ``where``, of an atom that is NULL anyway where the condition does not hold."""
        return Atom(
            self.sql, self.kind, self.ts, self.constant, True, self.may_be_nan, self.part, self._there(condition),
            self.may_be_null, self.literal,
        )  # fmt: skip

    def _there(self, condition: str) -> str:
        return " AND ".join(filter(None, (condition, self.presence))) if self.nullable() else ""


@dataclass(frozen=True, slots=True)
class MultiValue:
    """All values of a cell: a list of ``STRUCT(v <kind>, t DOUBLE)``, empty or NULL where the row lacks it.

    ``newest``: SQL of ``STRUCT(t, v)``, the latest value and its time below zero, where it is had without the list.
    """

    sql: str
    kind: Kind
    newest: Callable[[], str] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Embedding:
    """SQL of a list of atoms of one kind, row-major, with ONE timestamp (``ts`` gives its SQL).

    ``shape``: the size of each dimension, None for one dimension whose size only the data tell.
    ``names`` are the element names where they are not 0, 1, 2, …: paths below that of the embedding, in order.
    ``may_be_null`` tells whether an element can be NULL.
    """

    sql: str
    kind: Kind
    shape: tuple[int, ...] | None = None
    ts: Ts = never
    names: tuple[Path, ...] | None = None
    constant: bool = False
    may_be_null: Callable[[], bool] = field(default=possible, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Open:
    """A value of which only the data tell whether it is an atom or a row, and of which columns.

    ``sql`` gives its cells, a list of ``{p, v, t}``: the path relative to the value ('' for an atom), the value as
    ``ANY``, and the timestamp in seconds. Without any cells it is an empty row, but if it is ``named``, that is a
    column that the query asked for by its name, it is null.
    """

    sql: str
    constant: bool = False
    named: bool = False

    @property
    def cells(self) -> str:
        return macro("m_or_null", self.sql) if self.named else self.sql


@dataclass(frozen=True, slots=True)
class Rest:
    """Cells of a row whose paths only the data tell, as a list like that of ``Open``; all lie below ``prefix``.

    The paths are relative to the prefix. ``disjoint``: it is certain that no cell is one of the row's known columns.
    ``rows`` are the paths below the prefix where a row is for certain, be it empty.
    """

    prefix: Path
    sql: str
    disjoint: bool = False
    constant: bool = False
    rows: tuple[Path, ...] = ()

    @property
    def is_row(self) -> bool:
        """Whether the whole is a row for certain."""
        return not self.prefix and () in self.rows

    def cells(self) -> str:
        """The cells with the prefix put in front of their paths."""
        if not self.prefix:
            return self.sql
        return f"m_prefixed({self.sql}, {literal_text(format_path(self.prefix))})"


Leaf = Atom | MultiValue | Embedding


@dataclass(frozen=True)
class Row:
    """A row value: known columns by full path, in the order they were written, and rests.

    ``empty`` are the paths under which rows without columns were given: to functions these are not missing.
    Without any cells it is an empty row, but if it is ``named`` (as of ``Open``), it is null.
    """

    columns: dict[Path, Leaf] = field(default_factory=dict)
    rests: tuple[Rest, ...] = ()
    constant: bool = False
    empty: tuple[Path, ...] = field(default=(), compare=False)
    named: bool = field(default=False, compare=False)


Value = Atom | MultiValue | Embedding | Open | Row


def concat_lists(lists: list[str]) -> str:
    if not lists:
        return NO_CELLS
    if len(lists) == 1:
        return lists[0]
    return "flatten([" + ", ".join(f"coalesce({text}, {NO_CELLS})" for text in lists) + "])"


class RowBuilder:
    """Collects the columns of a row; a path given twice becomes a multi-valued cell (§4.4)."""

    def __init__(self) -> None:
        self.columns: dict[Path, Leaf] = {}
        self.rests: list[Rest] = []
        self._by_element: set[Path] = set()  # where embeddings are spelled out
        self.empty: list[Path] = []

    def add(self, path: Path, value: Value) -> None:
        """Put a value under a path (``()`` merges a row's columns)."""
        match value:
            case Row():
                for below, leaf in value.columns.items():
                    self._leaf((*path, *below), leaf)
                self.rests.extend(replace(rest, prefix=(*path, *rest.prefix), disjoint=False) for rest in value.rests)
                self.empty.extend((*path, *below) for below in value.empty)
                if path and not value.columns and not value.rests:
                    self.empty.append(path)
            case Open(constant=constant):
                self.rests.append(Rest(path, value.cells, constant=constant))
            case _:
                self._leaf(path, value)

    def _leaf(self, path: Path, leaf: Leaf) -> None:
        known = self.columns.get(path)
        if isinstance(known, Embedding):  # values of one name share the names of their elements
            self.spell(path, known)
            del self.columns[path]
            known = None
        if isinstance(leaf, Embedding) and (not path or known is not None or path in self._by_element):
            self.spell(path, leaf)
        else:
            self.columns[path] = leaf if known is None else superpose(known, leaf)

    def spell(self, path: Path, embedding: Embedding) -> None:
        """Put the elements of an embedding below a path."""
        self._by_element.add(path)
        if embedding.shape is None and embedding.names is None:
            self.rests.append(Rest(path, embedding_cells("", embedding), constant=embedding.constant))
            return
        for index, element in enumerate_elements(embedding):
            self._leaf((*path, *index), element)

    def build(self) -> Row:
        constant = all(map(is_constant, self.columns.values())) and all(rest.constant for rest in self.rests)
        return Row(self.columns, tuple(self.rests), constant, tuple(self.empty))


def presence(value: Value) -> str:
    """SQL of whether a row has a column; "" where all have it."""
    if isinstance(value, MultiValue | Open):
        return f"coalesce(len({value.sql}) > 0, FALSE)"
    return value.presence if isinstance(value, Atom) else ""


def if_one_may_be_null(atoms: Sequence[Atom]) -> Callable[[], bool]:
    """``may_be_null`` of what is NULL only where one of its operands is."""
    return lambda: any(atom.nullable() for atom in atoms)


def present(value: Value) -> Value:
    """A value that was asked for by name: where the row lacks it, it is there as null, at -Inf."""
    match value:
        case Atom(sparse=True):
            return value.present()
        case MultiValue(sql, kind):
            missing = f"[struct_pack(v := NULL, t := {NEVER_SQL})]"
            return MultiValue(f"CASE WHEN coalesce(len({sql}), 0) = 0 THEN {missing} ELSE {sql} END", kind)
    return value


def only_where(row: Row, condition: str) -> Row:
    """The columns of what is there only where a condition holds, and NULL elsewhere."""
    return replace(row, columns={p: v.only(condition) if isinstance(v, Atom) else v for p, v in row.columns.items()})


def is_null(value: Value) -> TypeGuard[Atom]:
    """Whether a value is NULL before any row is read."""
    return isinstance(value, Atom) and value.kind is Kind.NULL


def is_open(value: Value) -> bool:
    """Whether only the data tell all columns of a value, or whether it is a row at all."""
    return isinstance(value, Open) or (isinstance(value, Row) and bool(value.rests))


def is_constant(value: Value) -> bool:
    return not isinstance(value, MultiValue) and value.constant


def as_constant(value: Value, constant: bool = True) -> Value:
    """The value as one that is known before any row is read, or as one that is not, whatever it is made of."""
    match value:
        case Row(columns, rests):
            leaves = {path: _leaf_as_constant(leaf, constant) for path, leaf in columns.items()}
            return Row(leaves, tuple(replace(rest, constant=constant) for rest in rests), constant)
        case MultiValue():
            return value
    return value if value.constant == constant else replace(value, constant=constant)


def _leaf_as_constant(leaf: Leaf, constant: bool) -> Leaf:
    return leaf if isinstance(leaf, MultiValue) or leaf.constant == constant else replace(leaf, constant=constant)


def superpose(left: Leaf, right: Leaf) -> MultiValue:
    """Both values in one cell."""
    first, second = as_multi_value(left), as_multi_value(right)
    if first.kind is not second.kind:
        first, second = _any_multi_value(first), _any_multi_value(second)
    return MultiValue(f"list_concat({first.sql}, {second.sql})", first.kind)


def as_multi_value(leaf: Leaf) -> MultiValue:
    if isinstance(leaf, MultiValue):
        return leaf
    if isinstance(leaf, Embedding):
        raise MldbError("an embedding cannot share its column name with another value")
    one = f"[struct_pack(v := {typed(leaf)}, t := {leaf.ts()})]"
    if leaf.sparse:
        one = f"CASE WHEN {leaf.presence} THEN {one} ELSE [] END"
    return MultiValue(one, Kind.ANY if leaf.kind is Kind.NULL else leaf.kind)


def _any_multi_value(cell: MultiValue) -> MultiValue:
    if cell.kind is Kind.ANY:
        return cell
    value = any_sql("c.v", cell.kind)
    body = f"list_transform({cell.sql}, lambda c: struct_pack(v := {value}, t := c.t))"
    return MultiValue(body, Kind.ANY)


_ANY_MACROS = {
    Kind.BOOLEAN: "any_n", Kind.INTEGER: "any_i", Kind.UNSIGNED: "any_u", Kind.NUMBER: "any_n", Kind.STRING: "any_s",
    Kind.TIMESTAMP: "any_t", Kind.INTERVAL: "any_v", Kind.BLOB: "any_b", Kind.PATH: "any_p",
}  # fmt: skip


def any_sql(sql: str, kind: Kind) -> str:
    """SQL of a kind as ``ANY``."""
    if kind is Kind.NULL:
        return "NULL::any_value_t"
    if kind is Kind.BOOLEAN:
        sql = f"CAST({sql} AS DOUBLE)"
    return sql if kind is Kind.ANY else macro(_ANY_MACROS[kind], sql)


def typed(leaf: Leaf) -> str:
    """The SQL of a leaf with its type certain (an atom that is a bare NULL has none)."""
    return "NULL::any_value_t" if is_null(leaf) else leaf.sql


def path_text(path: Atom) -> str:
    """SQL of the text of a path, which is an INTEGER where rows are numbered."""
    return path.sql if path.kind is Kind.PATH else f"CAST({path.sql} AS VARCHAR)"


def only_latest(cell: MultiValue) -> MultiValue:
    """The cell with its newest value alone; the row still lacks it where it did."""
    return MultiValue(f"m_only_latest({cell.sql})", cell.kind)


def latest(cell: MultiValue) -> Atom:
    """The LATEST filter (§2.4): greatest timestamp, then smallest value."""
    best = cell.newest() if cell.newest else f"m_latest({cell.sql})"
    return Atom(f"{best}.v", cell.kind, lambda: f"-({best}.t)")


def latest_ts(values: Iterable[Value]) -> Ts:
    """The greatest of the values' timestamps, as a timestamp expression."""
    parts = list(values)

    def build() -> str:
        texts = [text for text in dict.fromkeys(timestamp_of(part) for part in parts) if text != NEVER_SQL]
        if not texts:
            return NEVER_SQL
        return texts[0] if len(texts) == 1 else f"greatest({', '.join(texts)})"

    return build


def timestamp_of(value: Value) -> str:
    """SQL of a value's effective timestamp: of a row, the newest of its columns."""
    match value:
        case Atom() | Embedding():
            return value.ts()
        case MultiValue():
            return latest(value).ts()
        case Open(sql):
            return f"coalesce(m_newest({sql}), {NEVER_SQL})"
        case Row():
            parts: list[Value] = [*value.columns.values(), *(Open(rest.sql) for rest in value.rests)]
            return latest_ts(parts)()


def enumerate_elements(embedding: Embedding) -> Iterator[tuple[Path, Atom]]:
    """The elements of an embedding whose size is known, with their relative paths."""
    if embedding.names is None and embedding.shape is None:
        raise MldbError("the size of this embedding is not known before the query runs")
    paths = embedding.names if embedding.names is not None else element_paths(embedding.shape or ())
    for position, path in enumerate(paths):
        sql, part = f"{embedding.sql}[{position + 1}]", (embedding, position)
        may_be_null = embedding.may_be_null
        yield path, Atom(sql, embedding.kind, embedding.ts, embedding.constant, part=part, may_be_null=may_be_null)


def as_any_list(embedding: Embedding) -> str:
    if embedding.kind is Kind.ANY:
        return embedding.sql
    return f"list_transform({embedding.sql}, lambda e: {any_sql('e', embedding.kind)})"


def embedding_cells(path: str, embedding: Embedding) -> str:
    """SQL of the cells of an embedding under a path, as text."""
    if embedding.names is not None or (embedding.shape is not None and len(embedding.shape) > 1):
        named = ", ".join(literal_text(format_path(below)) for below, _ in enumerate_elements(embedding))
        names, prefix = f"[{named}]", literal_text(path)
        return f"m_named_cells({as_any_list(embedding)}, {names}, {prefix}, {embedding.ts()})"
    return f"m_vector_cells({as_any_list(embedding)}, {literal_text(path)}, {embedding.ts()})"


def spelled(row: Row) -> Row:
    """The row with the elements of embeddings as columns; they are a rest where only the data tell how many."""
    if not any(isinstance(leaf, Embedding) for leaf in row.columns.values()):
        return row
    builder = RowBuilder()
    for path, leaf in row.columns.items():
        if isinstance(leaf, Embedding):
            builder.spell(path, leaf)
        else:
            builder.add(path, leaf)
    builder.rests.extend(row.rests)
    return builder.build()
