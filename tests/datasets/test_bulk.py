"""Large and concurrent: a million rows, a hundred thousand columns, many threads."""

import threading

import numpy as np
import pyarrow as pa
import pytest

from server.datasets import sparse as sparse_module
from server.datasets.sparse import SparseDataset
from server.datasets.tabular import TabularDataset
from server.errors import Cancelled
from server.storage.cells import CellTables
from server.storage.database import new_table
from server.storage.order import map_iteration_order
from server.values.batches import Cell, Column, RowType
from server.values.cells import cells_array
from server.values.cityhash import hash_path_texts
from server.values.kinds import Kind
from tests.storage.results import Result, Unhurried, batch, cells_of


def numbers(rows, size, prefix=""):
    """``rows`` rows in batches of ``size``, with one integer and one double each."""
    type_ = RowType((Column(("i",), Kind.INTEGER), Column(("f",), Kind.NUMBER)))
    for start in range(0, rows, size):
        values = np.arange(start, start + size)
        names = pa.array(values).cast(pa.string())
        if prefix:
            names = pa.compute.binary_join_element_wise(prefix, names, "")
        yield type_, batch(names, type_, [pa.array(values), pa.array(values + 0.5)], [1.0, 2.0])


def result(rows, size, prefix=""):
    parts = list(numbers(rows, size, prefix))
    return Result(parts[0][0], [part for _, part in parts])


def test_a_million_rows_into_a_table(services, database):
    dataset = TabularDataset(services, new_table())
    dataset.write(result(1_000_000, 125_000), Unhurried())
    layout = dataset.layout()
    assert (layout.rows, layout.numbered) == (1_000_000, True)
    with database.cursor() as cursor:
        found = cursor.execute(
            f"SELECT sum(c0), sum(c1), min(_ts), bool_and(_row = rowid), bool_and(c0 = _row) FROM {layout.table}"
        ).fetchall()
    assert found == [(499_999_500_000, 500_000_000_000.0, 2.0, True, True)]


def test_pieces_of_one_batch_are_listed_as_one(database, monkeypatch):
    monkeypatch.setattr(sparse_module, "PIECE", 1_000)
    dataset = SparseDataset(CellTables(database, new_table()))
    dataset.write(result(3_000, 600, "row"), Unhurried())
    names = [f"row{number}" for number in range(3_000)]
    order = map_iteration_order(hash_path_texts(pa.array(names)))
    found = cells_of(database, dataset.layout())
    assert list(found) == [names[index] for index in order]
    assert found["row7"] == [("f", "7.5", "2.0"), ("i", "7", "1.0")]
    assert dataset.layout().columns.get(("i",)).rows == 3_000


def test_a_hundred_thousand_columns(database):
    dataset = SparseDataset(CellTables(database, new_table()))
    rows = [((f"r{row}",), [((f"c{row * 100 + at}",), at, 1.0) for at in range(100)]) for row in range(1_000)]
    dataset.record_rows(rows)
    dataset.record_rows([(("wide",), [((f"c{number}", "x"), "v", 1.0) for number in range(50_000)])])
    dataset.commit()
    columns = dataset.layout().columns
    assert len(columns) == 150_000
    column = columns.get(("c99999",))
    assert (column.path, column.rows, column.kind) == (("c99999",), 1, Kind.INTEGER)
    assert columns.get(("c100000",)) is None
    assert [column.path for column in columns.under(("c49999",))] == [("c49999", "x")]
    first = [column.path for column, _ in zip(columns.under(()), range(5), strict=False)]
    assert first == [("c0",), ("c0", "x"), ("c1",), ("c1", "x"), ("c2",)]


def test_rows_recorded_from_many_threads_while_others_read(database):
    dataset = SparseDataset(CellTables(database, new_table()))
    failures = []

    def record(thread):
        try:
            for number in range(200):
                dataset.record_rows([((f"{thread}.{number}",), [(("x",), number, 1.0), ((f"t{thread}",), "a", 1.0)])])
                if number % 20 == 0:
                    dataset.layout()
                if number % 50 == 0:
                    dataset.commit()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=record, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    dataset.commit()
    assert failures == []
    layout = dataset.layout()
    assert layout.rows == 1_200
    assert layout.columns.get(("x",)).rows == 1_200
    assert dataset.status() == {"columnCount": 7, "rowCount": 1_200, "valueCount": 2_400}


def test_reading_during_a_long_write_sees_the_state_before(database):
    dataset = SparseDataset(CellTables(database, new_table()))
    dataset.record_rows([(("old",), [(("x",), 1, 1.0)])])
    dataset.commit()
    seen = []
    type_ = RowType((), open=True)

    class Slow:
        type = type_

        def batches(self, progress=None):
            yield batch(["new"], type_, [], rest=cells_array([[Cell(("x",), 2, 1.0)]]))
            dataset.record_rows([(("meanwhile",), [])])
            seen.append(list(cells_of(database, dataset.layout())))

    dataset.write(Slow(), Unhurried())
    assert seen == [["old"]]
    assert set(cells_of(database, dataset.layout())) == {"old", "new", "meanwhile"}


@pytest.mark.parametrize("kind", ["sparse", "tabular"])
def test_a_cancelled_write_leaves_nothing(services, database, kind):
    class Impatient(Unhurried):
        checks = 0

        def check(self):
            self.checks += 1
            if self.checks == 3:
                raise Cancelled("cancelled")

    dataset = (
        SparseDataset(CellTables(database, new_table())) if kind == "sparse" else TabularDataset(services, new_table())
    )
    with pytest.raises(Cancelled):
        dataset.write(result(1_000, 100), Impatient())
    dataset.commit()
    assert dataset.layout().rows == 0


def test_a_query_written_twice_into_cells_keeps_both_values(database):
    dataset = SparseDataset(CellTables(database, new_table()))
    for _ in range(2):
        dataset.write(result(100, 100), Unhurried())
    column = dataset.layout().columns.get(("i",))
    assert (column.multiple, column.rows) == (True, 100)
    assert dataset.status()["valueCount"] == 400
