import math
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.storage.cells import CellTables
from server.storage.database import Database, new_table
from server.storage.dataset_files import cell_lines
from server.storage.layouts import FARTHEST, cell_times
from server.storage.pending import Pending
from server.storage.stores import STORES
from server.values.atoms import Interval, PathValue, Timestamp
from server.values.kinds import Kind
from tests.effort import cases


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


def stored(database, layout):
    """The cells as the files of datasets have them: row, column, time, whole number."""
    with database.cursor() as cursor:
        lines = cell_lines(layout, dict.fromkeys(STORES, 0))
        found = cursor.execute(f'SELECT "name", name_1, ts, "integer" FROM ({lines})').fetchall()
    return sorted(found)


def encoded(database, prefix):
    with database.cursor() as cursor:
        return {time for (time,) in cursor.execute(f'SELECT DISTINCT "time" FROM {prefix}_int').fetchall()}


def test_a_time_for_each_row_is_told_once(database):
    tables = CellTables(database, new_table())
    rows = {f"r{row}": 1000.0 + 7 * (row * 37 % 100) for row in range(100)}
    columns = ("a", "b", "c")
    tables.append(recorded(*(((n,), [((c,), 1, time) for c in columns if n != "r9"]) for n, time in rows.items())))
    assert encoded(database, tables.prefix) == {-1}
    wanted = [(n, c, time, 1) for n, time in rows.items() for c in columns if n != "r9"]
    assert stored(database, tables.layout()) == sorted(wanted)
    # A later batch knows some of the rows and of the times.
    later = [("r5", "a", 1000.0, 2), ("r9", "a", 1007.0, 2), ("new", "a", math.inf, 2), ("new", "b", -math.inf, 2)]
    tables.append(recorded(*(((n,), [((c,), value, time)]) for n, c, time, value in later)))
    assert stored(database, tables.layout()) == sorted(wanted + later)


def test_one_time_for_all_is_told_once(database):
    tables = CellTables(database, new_table())
    tables.append(recorded(*(((f"r{row}",), [(("a",), row, 5.0)]) for row in range(100))))
    assert encoded(database, tables.prefix) == {-1}


@pytest.mark.parametrize(("step", "least"), [(1, -40), (60, -FARTHEST - 40), (7, -40 * 7)])
def test_times_of_a_row_are_small_numbers(database, step, least):
    tables = CellTables(database, new_table())
    wanted = [
        (f"r{row}", f"c{column}", 1e9 + 1e6 * row + step * (column * 7 % 40), 1)
        for row in range(50)
        for column in range(40)
    ]
    tables.append(recorded(*(((row,), [((column,), value, time)]) for row, column, time, value in wanted)))
    assert least <= min(encoded(database, tables.prefix)) <= max(encoded(database, tables.prefix)) < 0
    assert stored(database, tables.layout()) == sorted(wanted)


def test_few_times_that_are_spread_over_rows_are_told_by_number(database):
    tables = CellTables(database, new_table())
    wanted = [(f"r{row}", f"c{column}", 1e9 + 123_457 * column, 1) for row in range(100) for column in range(20)]
    tables.append(recorded(*(((row,), [((column,), value, time)]) for row, column, time, value in wanted)))
    assert encoded(database, tables.prefix) == set(range(20))
    assert stored(database, tables.layout()) == sorted(wanted)


TIMES = st.one_of(
    st.integers(-(2**31), 2**33).map(float),
    st.integers(0, 2**20).map(lambda number: 1.4e9 + 60 * number),
    st.floats(),
    st.sampled_from([1e300, -1e300, 2.0**53, 2.0**62, 0.5, -0.0]),
)
CELLS = st.lists(st.tuples(st.sampled_from("pqr"), st.sampled_from("abc"), TIMES), max_size=12)


@pytest.fixture(scope="module")
def shared():
    with closing(Database()) as database:
        yield database


@settings(max_examples=cases(30))
@given(st.lists(CELLS, min_size=1, max_size=3))
def test_times_come_back_as_they_were(shared, batches):
    tables = CellTables(shared, new_table())
    for cells in batches:
        tables.append(recorded(*(((row,), [((column,), 1, time)]) for row, column, time in cells)))
    layout = tables.layout()
    wanted = [(row, column, str(time + 0.0), 1) for cells in batches for row, column, time in cells]
    found = [(row, column, str(time + 0.0), value) for row, column, time, value in stored(shared, layout)]
    assert sorted(found) == sorted(wanted)
    with shared.cursor() as cursor:
        times = cursor.execute(f"SELECT ts + 0.0 FROM ({cell_times(layout)})").fetchall() if wanted else []
    assert sorted(str(time) for (time,) in times) == sorted(time for _, _, time, _ in wanted)
    tables.drop()
