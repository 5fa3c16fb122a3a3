"""Query results made by hand, and the reading of layouts back into Python for comparison."""

from dataclasses import dataclass

import pyarrow as pa

from server.declarations import NamedBatch
from server.storage.layouts import TIME, Cells, Wide, times_joined
from server.values.batches import RowType
from server.values.cells import atoms_of
from server.values.kinds import Kind
from server.values.paths import format_path


@dataclass
class Result:
    type: RowType
    parts: list[NamedBatch]

    def batches(self, progress=None):
        yield from self.parts


class Unhurried:
    """Progress nobody watches."""

    cancelled = False

    def step(self, name, type="percentile"):
        del name, type

    def update(self, value):
        del value

    def check(self):
        return None

    def on_cancel(self, callback):
        del callback

    def off_cancel(self, callback):
        del callback

    def gauge(self, percent):
        del percent


def cells_of(database, layout):
    """All cells of a layout as {row: sorted [(column, atom text, time text)]}, rows in listing order."""
    return _from_cells(database, layout) if isinstance(layout, Cells) else _from_wide(database, layout)


def _from_cells(database, layout: Cells):
    found = {}
    with database.cursor() as cursor:
        for (name,) in cursor.execute(f"SELECT name FROM {layout.prefix}_rows ORDER BY ord").fetchall():
            found[name] = []
        for store, kind in (("int", Kind.INTEGER), ("num", Kind.NUMBER), ("str", Kind.STRING), ("any", Kind.ANY)):
            table = cursor.sql(
                f'SELECT began.name, c.name AS col, {TIME} AS ts, "value" FROM {layout.prefix}_{store} v'
                f" JOIN {layout.prefix}_cols c ON c.id = v.col{times_joined(layout.prefix)}"
            ).to_arrow_table()
            rows, columns, times = (table[index].to_pylist() for index in range(3))
            for row, column, time, atom in zip(rows, columns, times, atoms_of(table["value"], kind), strict=True):
                found[row].append((column, repr(atom), str(time)))
    return {row: sorted(cells) for row, cells in found.items()}


def _from_wide(database, layout: Wide):
    with database.cursor() as cursor:
        table = cursor.sql(f"SELECT * FROM {layout.table}").to_arrow_table()
    names = table["_row"].to_pylist()
    times = table["_ts"].to_pylist()
    found = {str(name): [] for name in names}
    for column in layout.columns:
        values = table[column.name]
        atoms = atoms_of(values, column.kind) if column.shape is None else values.to_pylist()
        for name, time, atom in zip(names, times, atoms, strict=True):
            if atom is not None or not column.sparse:
                found[str(name)].append((format_path(column.path), repr(atom), str(time)))
    return {row: sorted(cells) for row, cells in found.items()}


def batch(names, type_, values, timestamps=(), rest=None):
    from server.values.batches import RowBatch

    return NamedBatch(pa.array(names, pa.string()), RowBatch(type_, len(names), values, timestamps, rest))
