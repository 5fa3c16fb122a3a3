import math
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pytest

from server.datasets.embedding import EmbeddingDataset
from server.errors import MldbError
from server.storage.database import new_table
from server.storage.layouts import WideColumn
from server.values.batches import Cell, Column, RowType
from server.values.cells import cells_array
from server.values.kinds import Kind
from tests.storage.results import Result, Unhurried, batch


def vectors(database, layout):
    with database.cursor() as cursor:
        table = cursor.sql(f"SELECT * FROM {layout.table}").to_arrow_table()
    return dict(zip(table["_row"].to_pylist(), table["c0"].to_pylist(), strict=True)), table["_ts"].to_pylist()


def test_recorded_vectors_are_one_array_with_names_in_natural_order(database):
    dataset = EmbeddingDataset(database, new_table())
    dataset.record_rows(
        [(("a",), [(("x10",), 1, 1.0), (("x2",), 0.1, 3.0)]), (("b",), [(("x2",), 3, 0.0), (("x10",), 4.5, 0.0)])]
    )
    with pytest.raises(MldbError, match="commit"):
        dataset.layout()
    dataset.commit()
    layout = dataset.layout()
    assert layout.columns == (WideColumn((), "c0", Kind.NUMBER, (2,), (("x2",), ("x10",)), single=True),)
    found, times = vectors(database, layout)
    assert found == {"a": [np.float32(0.1), 1.0], "b": [3.0, 4.5]}
    assert times == [3.0, 0.0]
    with pytest.raises(MldbError, match="committed"):
        dataset.record_rows([(("c",), [(("x2",), 1, 0.0), (("x10",), 1, 0.0)])])


def test_a_commit_that_fails_at_its_end_is_none(database, monkeypatch):
    dataset = EmbeddingDataset(database, new_table())
    dataset.record_rows([(("a",), [(("x",), 1, 0.0)])])
    transaction = database.transaction

    @contextmanager
    def failing(**options):
        with transaction(**options) as cursor:
            yield cursor
            raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(database, "transaction", failing)
        with pytest.raises(OSError, match="no space left"):
            dataset.commit()
    dataset.commit()
    assert vectors(database, dataset.layout())[0] == {"a": [1.0]}


def test_elements_numbered_under_one_name(database):
    dataset = EmbeddingDataset(database, new_table())
    type_ = RowType((Column(("v",), Kind.NUMBER, (12,)),))
    matrix = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(24.0)), 12)
    dataset.write(Result(type_, [batch(["1", "2"], type_, [matrix], [5.0])]), Unhurried())
    layout = dataset.layout()
    assert layout.columns == (WideColumn(("v",), "c0", Kind.NUMBER, (12,), None, single=True),)
    assert layout.numbered
    found, times = vectors(database, layout)
    assert found[2] == list(np.arange(12.0, 24.0))
    assert times == [5.0, 5.0]


def test_open_rows_in_several_batches(database):
    dataset = EmbeddingDataset(database, new_table())
    type_ = RowType((Column(("a",), Kind.INTEGER),), open=True)
    parts = [
        batch([name], type_, [pa.array([number])], [1.0], cells_array([[Cell(("b",), number + 0.5, 2.0)]]))
        for number, name in enumerate("xy")
    ]
    dataset.write(Result(type_, parts), Unhurried())
    assert vectors(database, dataset.layout()) == ({"x": [0.0, 0.5], "y": [1.0, 1.5]}, [2.0, 2.0])


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([("x", "text"), ("y", 1)], "numbers"),
        ([("x", None), ("y", 1)], "null"),
        ([("x", math.nan), ("y", 1)], "finite"),
        ([("x", math.inf), ("y", 1)], "finite"),
        ([("x", 1e300), ("y", 1)], "finite"),
    ],
)
def test_what_is_no_vector_of_the_same_columns_is_refused(database, cells, message):
    dataset = EmbeddingDataset(database, new_table())
    dataset.record_rows([(("a",), [(("x",), 1, 0.0), (("y",), 2, 0.0)])])
    dataset.record_rows([(("b",), [((name,), value, 0.0) for name, value in cells])])
    with pytest.raises(MldbError, match=message):
        dataset.commit()


@pytest.mark.parametrize("names", [["x"], ["x", "y", "z"], ["x", "z"]])
def test_rows_of_other_columns_are_refused_when_they_are_recorded(database, names):
    rows = [(("b",), [((name,), 1, 0.0) for name in names])]
    dataset = EmbeddingDataset(database, new_table())
    first = [(("a",), [(("x",), 1, 0.0), (("y",), 2, 0.0)])]
    with pytest.raises(MldbError, match="Attempt to change column names in embedding dataset"):
        dataset.record_rows(first + rows)
    dataset.record_rows(first)
    with pytest.raises(MldbError, match="Attempt to change column names in embedding dataset"):
        dataset.record_rows(rows)
    dataset.commit()
    assert dataset.status() == {"columnCount": 2, "rowCount": 1}


def test_a_row_is_recorded_once_with_one_value_per_column(database):
    dataset = EmbeddingDataset(database, new_table())
    dataset.record_rows([(("a",), [(("x",), 1, 0.0)])])
    with pytest.raises(MldbError, match="Row 'a' has already been recorded into embedding dataset"):
        dataset.record_rows([(("a",), [(("x",), 1, 0.0)])])
    with pytest.raises(MldbError, match="several values"):
        dataset.record_rows([(("b",), [(("x",), 1, 0.0), (("x",), 2, 0.0)])])


def test_no_rows_at_all(database):
    dataset = EmbeddingDataset(database, new_table())
    dataset.commit()
    assert dataset.layout().rows == 0
    assert dataset.layout().columns == ()
