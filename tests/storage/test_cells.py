import math

from server.storage.cells import CellTables
from server.storage.database import new_table
from server.storage.pending import Pending
from server.values.atoms import Interval, PathValue, Timestamp
from server.values.kinds import Kind


def recorded(*rows):
    pending = Pending()
    for name, cells in rows:
        pending.add_row(name, cells)
    return pending


def listed(database, prefix):
    with database.cursor() as cursor:
        return [name for (name,) in cursor.execute(f"SELECT name FROM {prefix}_rows ORDER BY ord").fetchall()]


def test_a_small_batch_is_listed_backwards_and_several_by_hash(database):
    tables = CellTables(database, new_table())
    tables.append(recorded(*(((name,), []) for name in ("ex1", "ex2", "ex3"))))
    assert listed(database, tables.prefix) == ["ex3", "ex2", "ex1"]
    tables.append(recorded((("ex4",), [])))
    assert listed(database, tables.prefix) == ["ex4", "ex1", "ex3", "ex2"]


def test_columns_say_what_they_hold(database):
    tables = CellTables(database, new_table())
    tables.append(
        recorded(
            (
                ("r1",),
                [(("i",), 1, 0.0), (("n",), 1.5, 0.0), (("x", "t"), Timestamp(1.0), 0.0), (("big",), 2**63, 0.0)],
            ),
            (("r2",), [(("n",), 2, 0.0), (("n",), None, 1.0), (("x", "p"), PathValue(("a",)), 0.0)]),
            (("r3",), [(("i",), "text", 0.0), (("x",), Interval(1, 2, 3.0), math.nan)]),
        )
    )
    columns = tables.layout().columns
    assert [(column.path, column.kind) for column in columns.under(())] == [
        (("big",), Kind.UNSIGNED),
        (("i",), Kind.ANY),
        (("n",), Kind.NUMBER),
        (("x",), Kind.INTERVAL),
        (("x", "p"), Kind.PATH),
        (("x", "t"), Kind.TIMESTAMP),
    ]
    number = columns.get(("n",))
    assert (number.stores, number.multiple, number.nulls, number.rows) == ({"int", "num", "any"}, True, True, 2)
    assert [column.path for column in columns.under(("x",))] == [("x", "p"), ("x", "t")]
    assert columns.get(("absent",)) is None


def test_a_second_value_of_a_cell_in_a_later_batch_is_noticed(database):
    tables = CellTables(database, new_table())
    tables.append(recorded((("r",), [(("x",), 1, 0.0)])))
    assert not tables.layout().columns.get(("x",)).multiple
    tables.append(recorded((("r",), [(("x",), "b", 1.0)]), (("s",), [(("x",), 1, 0.0)])))
    column = tables.layout().columns.get(("x",))
    assert (column.multiple, column.rows, column.kind) == (True, 2, Kind.ANY)
