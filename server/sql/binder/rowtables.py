"""``row_dataset(r)`` and ``atom_dataset(r)``: a row value as a table (sql-dialect.md §6.2)."""

from __future__ import annotations

from dataclasses import replace

from server.errors import MldbError
from server.sql import coerce
from server.sql.binder.base import bind, binds_table
from server.sql.binder.sources import constant_scope
from server.sql.bound import Atom, Embedding, Leaf, MultiValue, Open, Row, RowBuilder, Value
from server.sql.notes import Note
from server.sql.relations import Relation, require_row
from server.sql.scope import Context
from server.sql.tree import RowTable
from server.values.kinds import Kind
from server.values.paths import Path

NOTES = [
    Note("row_dataset(r: row) → table", "A row for each column of a row: `column`, a path, and `value`.",
         ("SELECT max(value) AS x FROM row_dataset({a: 1, b: 2})", "2"), ("an error: NULL is no row", None)),
    Note("atom_dataset(r: row) → table", "A row for each atom of a row: `column`, its full path, and "
         "`value`.", ("SELECT count(*) AS x FROM atom_dataset({a: {b: 1, c: 2}})", "2"),
         ("an error: NULL is no row", None)),
]  # fmt: skip


@binds_table(RowTable)
def _row_table(node: RowTable, context: Context) -> Relation:
    scope = constant_scope(context)
    value = bind(node.expression, scope)
    if isinstance(value, Atom | MultiValue):
        got = "NULL" if value.kind is Kind.NULL else "scalar"
        raise MldbError(f"Argument to {node.name} must be a row, not a scalar or NULL (got {got})")
    atoms = node.name == "atom_dataset"
    return RowTableRelation(context.number(), value, scope.relation, atoms=atoms, alias=node.alias)


class RowTableRelation(Relation):
    """One row per (top-level) column of a row value: its name in ``column``, its value in ``value``."""

    def __init__(self, number: int, value: Value, given: Relation, *, atoms: bool, alias: str | None) -> None:
        """``given`` is the one row over which the value is bound."""
        super().__init__(number, alias)
        # What shows only at run time to be an atom is refused then.
        self.value = replace(value, sql=f"m_only_row({value.cells})", named=False) if isinstance(value, Open) else value
        self.given = given
        row = None if isinstance(value, Open) else require_row(value, "a row is needed")
        flat = row is not None and not row.rests and all(self._single(path, row.columns[path]) for path in row.columns)
        self.atoms = atoms or flat

    @staticmethod
    def _single(path: Path, leaf: Leaf) -> bool:
        return len(path) == 1 and not isinstance(leaf, Embedding)

    def row(self) -> Row:
        builder = RowBuilder()
        builder.add(("column",), Atom(self.ref("name"), Kind.PATH, lambda: self.ref("ts")))
        if self.atoms:
            builder.add(("value",), Atom(self.ref("value"), Kind.ANY, lambda: self.ref("ts")))
        else:
            builder.add(("value",), Open(self.ref("value")))
        return builder.build()

    def row_path(self) -> Atom:
        return Atom(self.ref("_row"), Kind.INTEGER)

    def order(self) -> list[str]:
        return [self.ref("_row")]

    def base(self, used: set[str], ordered: bool) -> str:
        cells = coerce.to_cells(self.value)
        if self.atoms:
            listed, value, ts = f"u_natural_cells({cells})", "c.v", "c.t"
        else:
            listed, value, ts = f"u_row_items({cells})", "c.c", "m_newest(c.c)"
        inner = f"SELECT unnest({listed}) AS c, unnest(generate_series(0, len({listed}) - 1)) AS _row"
        inner += f" FROM {self.given.render(listed, ordered=False)}"
        return f"(SELECT _row, c.p AS name, {value} AS value, {ts} AS ts FROM ({inner})) AS r{self.number}"
