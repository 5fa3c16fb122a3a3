"""A bound statement, and the relations that are made of other relations by exporting what is read of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from server.sql.bound import Atom, Embedding, Leaf, MultiValue, Open, Row, Value
from server.sql.duck import order_clause, select_list, where_clause
from server.sql.relations import Relation
from server.values.kinds import Kind


@dataclass
class Query:
    """A statement whose names are resolved. ``row`` and the rest are SQL over ``relation``.

    ``order`` are ORDER BY terms; without them the rows come in the relation's listing order. ``hash`` is the row
    hash of the *output* row.
    """

    relation: Relation
    row: Row
    path: Atom
    hash: str
    where: list[str] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    distinct: list[str] = field(default_factory=list)
    limit: int | None = None
    offset: int = 0

    def render(self, items: Mapping[str, str], *, ordered: bool) -> str:
        """SELECT of these columns (name → SQL). ``ordered``: the order of the rows matters to who reads them."""
        order = self.order
        if not order and (ordered or self.limit is not None or self.offset):
            order = self.relation.order()
        elif not ordered and self.limit is None and not self.offset and not self.distinct:
            order = []
        columns = select_list(items)
        distinct = f"DISTINCT ON ({', '.join(self.distinct)}) " if self.distinct else ""
        where, sorting = where_clause(self.where), order_clause(order)
        tail = f" LIMIT {self.limit}" if self.limit is not None else ""
        tail += f" OFFSET {self.offset}" if self.offset else ""
        if (where or tail) and not distinct:
            source = self.relation.chosen(f"{columns} {sorting}", self.where, order, tail)
            if source is not None:
                return f"SELECT {columns} FROM {source}{sorting}"
        if self.limit is not None and order and not distinct:
            source = self.relation.leading(order, self.where, self.limit + self.offset)
            if source is not None:
                return f"SELECT {columns} FROM {source}{where}{sorting}{tail}"
        tail = sorting + tail
        source = self.relation.render(f"{columns} {distinct} {where} {tail}", ordered=ordered and not self.order)
        return f"SELECT {distinct}{columns} FROM {source}{where}{tail}"


class Exporter(Relation):
    """A relation over others: what is asked of them becomes a column ``e<n>`` of its own."""

    def __init__(self, number: int, alias: str | None = None) -> None:
        super().__init__(number, alias)
        self._exports: dict[str, str] = {}

    def offer(self, sql: str) -> str:
        """The reference to a column ``e<n>`` that SQL over the relations below becomes."""
        name = self._exports.setdefault(sql, f"e{len(self._exports)}")
        return self.ref(name)

    def export(self, value: Value, *, missing: bool = False) -> Value:
        """A value over the relations below as a value over this one; ``missing``: rows may lack it (outer joins)."""
        match value:
            case Open():
                return Open(self.offer(value.cells))
            case Row():
                return self.export_row(value, missing=missing)
        return self._export_leaf(value, missing)

    def _export_leaf(self, leaf: Leaf, missing: bool) -> Leaf:
        match leaf:
            case Atom():
                return self._export_atom(leaf, missing)
            case MultiValue(sql, kind, newest):
                return MultiValue(self.offer(sql), kind, newest and (lambda: self.offer(newest())))
            case Embedding(sql=sql, ts=ts):
                return replace(leaf, sql=self.offer(sql), ts=lambda: self.offer(ts()), constant=False)

    def _export_atom(self, atom: Atom, missing: bool) -> Atom:
        null = atom.kind is Kind.NULL
        return Atom(
            atom.sql if null else self.offer(atom.sql),
            atom.kind,
            lambda: self.offer(atom.ts()),
            sparse=atom.sparse or (missing and not null),
            may_be_nan=atom.may_be_nan,
            there=atom.there and self.offer(atom.there),
            may_be_null=atom.may_be_null,
        )

    def export_row(self, row: Row, *, missing: bool = False) -> Row:
        columns = {path: self._export_leaf(leaf, missing) for path, leaf in row.columns.items()}
        return Row(columns, tuple(replace(rest, sql=self.offer(rest.sql)) for rest in row.rests))

    def exported(self, used: set[str]) -> dict[str, str]:
        """The columns to compute: name → SQL over the relations below."""
        return {name: sql for sql, name in self._exports.items() if name in used}


class SelectRelation(Exporter):
    """A sub-select."""

    atoms_only = True

    def __init__(self, number: int, query: Query, alias: str | None = None) -> None:
        super().__init__(number, alias)
        self.query = query
        self._row: Row | None = None

    def row(self) -> Row:
        if self._row is None:
            self._row = self.export_row(self.query.row)
        return self._row

    def row_path(self) -> Atom:
        return Atom(self.offer(self.query.path.sql), self.query.path.kind)

    def row_hash(self) -> str:
        return self.offer(self.query.hash)

    def base(self, used: set[str], ordered: bool) -> str:
        return f"({self.query.render(self.exported(used), ordered=ordered)}) AS r{self.number}"


class FromRelation(Exporter):
    """A relation over others whose FROM text a subclass gives."""

    def source(self, above: str, ordered: bool) -> str:
        raise TypeError(f"{type(self).__name__} has no source")

    def base(self, used: set[str], ordered: bool) -> str:
        columns = select_list(self.exported(used))
        return f"(SELECT {columns} FROM {self.source(columns, ordered)}) AS r{self.number}"
