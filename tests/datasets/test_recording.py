"""What goes into a dataset comes out: every kind of atom, odd names, odd times, recorded and written in bulk."""

import math
import time

import numpy as np
import pyarrow as pa
import pytest

from server.datasets.sparse import SparseDataset
from server.datasets.tabular import TabularDataset
from server.errors import MldbError
from server.storage.cells import CellTables
from server.storage.database import new_table
from server.storage.layouts import WideColumn
from server.values.atoms import Interval, PathValue, Timestamp
from server.values.batches import Cell, Column, RowType
from server.values.cells import any_array, cells_array
from server.values.kinds import Kind
from tests.storage.results import Result, Unhurried, batch, cells_of
from tests.waiting import slowness

ATOMS = [
    None, 0, 1, -1, 2**53, 2**53 + 1, -(2**63), 2**63 - 1, 2**63, 2**64 - 1, 1.5, -0.1, 1e300, 5e-324,
    math.nan, math.inf, -math.inf, "", "text", "日本語 🦆", 'quo"te', "line\nbreak",
    b"", b"\x00\xff",
    Timestamp(0.0), Timestamp(1.5), Timestamp(math.inf), Timestamp(-math.inf), Timestamp(math.nan),
    Interval(0, 0, -0.0), Interval(14, 3, 2.5), PathValue(("a", "b.c")), PathValue(()),
]  # fmt: skip


def sparse(services):
    return SparseDataset(CellTables(services.database, new_table()))


def tabular(services, unknown="error"):
    return TabularDataset(services, new_table(), unknown)


def expected(rows):
    return {name: sorted((column, repr(atom), str(at)) for column, atom, at in cells) for name, cells in rows.items()}


def test_every_atom_recorded_into_sparse(services, database):
    dataset = SparseDataset(CellTables(database, new_table()))
    dataset.record_rows([((f"row{number}",), [(("x",), atom, 1.0)]) for number, atom in enumerate(ATOMS)])
    dataset.commit()
    assert cells_of(database, dataset.layout()) == expected(
        {f"row{number}": [("x", atom, 1.0)] for number, atom in enumerate(ATOMS)}
    )


@pytest.mark.parametrize("atom", ATOMS, ids=repr)
def test_every_atom_alone_in_a_tabular_column(services, database, atom):
    dataset = TabularDataset(services, new_table())
    dataset.record_rows([(("r",), [(("x",), atom, 1.0)]), (("s",), [(("x",), atom, 2.0)])])
    dataset.commit()
    layout = dataset.layout()
    assert cells_of(database, layout) == expected({"r": [("x", atom, 1.0)], "s": [("x", atom, 2.0)]})
    assert layout.columns[0].kind is not Kind.ANY


def test_every_atom_in_one_tabular_column(services, database):
    dataset = TabularDataset(services, new_table())
    dataset.record_rows([((str(number),), [(("x",), atom, 1.0)]) for number, atom in enumerate(ATOMS)])
    dataset.commit()
    layout = dataset.layout()
    assert layout.numbered
    assert layout.columns == (WideColumn(("x",), "c0", Kind.ANY),)
    assert cells_of(database, layout) == expected({str(n): [("x", atom, 1.0)] for n, atom in enumerate(ATOMS)})


@pytest.mark.parametrize("make", [sparse, tabular])
def test_every_atom_written_in_bulk(services, database, make):
    type_ = RowType((Column(("x",), Kind.ANY), Column(("y", "z"), Kind.INTEGER)), open=True)
    rest = cells_array([[Cell(("rest", str(n % 2)), atom, float(n))] for n, atom in enumerate(ATOMS)])
    names = [f"row{n}" for n in range(len(ATOMS))]
    parts = [
        batch(
            names[start : start + 7],
            type_,
            [any_array(ATOMS).slice(start, 7), pa.array([None, *range(1, len(ATOMS))]).slice(start, 7)],
            [1.0, pa.array(np.arange(len(ATOMS), dtype=float)).slice(start, 7)],
            rest.slice(start, 7),
        )
        for start in range(0, len(ATOMS), 7)
    ]
    arguments = ("add",) if make is tabular else ()
    dataset = make(services, *arguments)
    dataset.write(Result(type_, parts), Unhurried())
    found = cells_of(database, dataset.layout())
    for number, atom in enumerate(ATOMS):
        cells = {column: value for column, value, _ in found[f"row{number}"]}
        assert cells["x"] == repr(atom)
        assert cells["y.z"] == repr(number or None)
        assert cells.get(f"rest.{number % 2}", "None") == repr(atom)
    if make is sparse:
        assert found["row5"] == sorted(
            [("x", repr(ATOMS[5]), "1.0"), ("y.z", "5", "5.0"), ("rest.1", repr(ATOMS[5]), "5.0")]
        )


def test_typed_columns_and_embeddings_are_streamed_into_a_table(services, database):
    type_ = RowType(
        (
            Column(("a",), Kind.STRING),
            Column(("e",), Kind.NUMBER, (2, 2)),
            Column(("b",), Kind.BOOLEAN),
            Column(("m",), Kind.ANY),
        )
    )
    matrix = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(12.0)), 4)
    mixed = any_array([1, 2, None])
    parts = [
        batch(
            ["3", "2", "1"],
            type_,
            [pa.array(["x", None, "z"]), matrix, pa.array([True, False, None]), mixed],
            [1.0, 2.0],
        )
    ]
    dataset = TabularDataset(services, new_table())
    dataset.write(Result(type_, parts), Unhurried())
    layout = dataset.layout()
    assert layout.numbered
    assert [(c.path, c.kind, c.shape) for c in layout.columns] == [
        (("a",), Kind.STRING, None),
        (("e",), Kind.NUMBER, (2, 2)),
        (("b",), Kind.BOOLEAN, None),
        (("m",), Kind.INTEGER, None),
    ]
    found = cells_of(database, layout)
    assert list(found) == ["3", "2", "1"]
    assert found["2"] == [
        ("a", "None", "2.0"),
        ("b", "0", "2.0"),
        ("e", "[4.0, 5.0, 6.0, 7.0]", "2.0"),
        ("m", "2", "2.0"),
    ]


def test_embeddings_become_cells_in_sparse(services, database):
    type_ = RowType((Column(("e",), Kind.NUMBER, (2, 2)), Column(("v",), Kind.INTEGER, (-1,))))
    matrix = pa.array([[0.5, 1, 2, 3], None], pa.list_(pa.float64(), 4))
    lists = pa.array([[7], [8, 9]])
    dataset = SparseDataset(CellTables(database, new_table()))
    dataset.write(Result(type_, [batch(["r", "s"], type_, [matrix, lists], [1.0, 2.0])]), Unhurried())
    assert cells_of(database, dataset.layout()) == {
        "s": [("e", "None", "1.0"), ("v.0", "8", "2.0"), ("v.1", "9", "2.0")],
        "r": [
            ("e.0.0", "0.5", "1.0"),
            ("e.0.1", "1", "1.0"),
            ("e.1.0", "2", "1.0"),
            ("e.1.1", "3", "1.0"),
            ("v.0", "7", "2.0"),
        ],
    }


def test_cells_keep_all_their_values_and_rows_may_be_empty(services, database):
    dataset = SparseDataset(CellTables(database, new_table()))
    dataset.record_rows([(("r",), [(("x",), 1, 1.0), (("x",), 1, 1.0), (("x",), "b", math.nan)]), (("empty",), [])])
    assert cells_of(database, dataset.layout()) == {
        "empty": [],
        "r": [("x", "'b'", "nan"), ("x", "1", "1.0"), ("x", "1", "1.0")],
    }
    assert dataset.status() == {"columnCount": 1, "rowCount": 2, "valueCount": 3}


def test_columns_are_recorded_like_rows(services, database):
    dataset = SparseDataset(CellTables(database, new_table()))
    dataset.record_columns([(("c",), [(("r1",), 1, 0.0), (("r2",), 2, 0.0)]), (("d",), [(("r1",), 3, 0.0)])])
    dataset.commit()
    assert cells_of(database, dataset.layout()) == {
        "r2": [("c", "2", "0.0")],
        "r1": [("c", "1", "0.0"), ("d", "3", "0.0")],
    }


@pytest.mark.parametrize("make", [sparse, tabular])
def test_empty_names_are_refused_and_nothing_of_the_call_is_kept(services, database, make):
    dataset = make(services)
    with pytest.raises(MldbError, match=r"^empty row names are not allowed$"):
        dataset.record_rows([(("r",), []), ((), [])])
    with pytest.raises(MldbError, match=r"^empty column names are not allowed$"):
        dataset.record_rows([(("r",), [((), 1, 0.0)])])
    dataset.record_rows([(("",), [(("",), 1, 0.0)])])
    dataset.commit()
    assert cells_of(database, dataset.layout()) == {'""': [('""', "1", "0.0")]}


def test_quantum(services, database):
    for quantum, time_, stored in (
        (0.01, 20.956, "20.96"),
        (1.0, 20.956, "21.0"),
        (60.0, 59.956, "0.0"),
        (1.0, math.inf, "inf"),
    ):
        dataset = SparseDataset(CellTables(database, new_table(), quantum))
        dataset.record_rows([(("r",), [(("x",), 1, time_)])])
        assert cells_of(database, dataset.layout()) == {"r": [("x", "1", stored)]}


def test_tabular_unknown_columns(services, database):
    rows = [(("r",), [(("x",), 1, 0.0)]), (("s",), [(("y",), 2, 5.0)])]
    with pytest.raises(MldbError, match="unknownColumns=ERROR"):
        TabularDataset(services, new_table()).record_rows(rows)
    ignoring = TabularDataset(services, new_table(), "ignore")
    ignoring.record_rows(rows)
    ignoring.commit()
    assert cells_of(database, ignoring.layout()) == {"r": [("x", "1", "0.0")], "s": [("x", "None", "-inf")]}
    adding = TabularDataset(services, new_table(), "add")
    adding.record_rows(rows)
    adding.commit()
    assert cells_of(database, adding.layout()) == {
        "r": [("x", "1", "0.0")],
        "s": [("x", "None", "5.0"), ("y", "2", "5.0")],
    }


def test_tabular_before_and_after_its_commit(services, database):
    dataset = TabularDataset(services, new_table())
    dataset.record_rows([(("b",), [(("x",), 1, 0.0)]), (("a",), [(("x",), 2, 0.0)])])
    with pytest.raises(MldbError, match="commit"):
        dataset.layout()
    dataset.commit()
    dataset.commit()
    assert list(cells_of(database, dataset.layout())) == ["b", "a"]
    with pytest.raises(MldbError, match="committed"):
        dataset.record_rows([(("c",), [])])


def test_tabular_duplicates_are_refused(services, database):
    dataset = TabularDataset(services, new_table())
    dataset.record_rows([((name,), []) for name in ("0", "1", "2", "0", "1")])
    with pytest.raises(MldbError, match=r"^Duplicate row name\(s\) in tabular dataset: 0, 1$"):
        dataset.commit()


@pytest.mark.parametrize("make", [sparse, tabular])
def test_an_empty_dataset_is_readable(services, database, make):
    dataset = make(services)
    dataset.commit()
    assert cells_of(database, dataset.layout()) == {}
    assert dataset.layout().rows == 0


def test_twenty_thousand_single_rows_take_less_than_a_second(services, database):
    dataset = SparseDataset(CellTables(database, new_table()))
    started = time.process_time()
    for number in range(20_000):
        dataset.record_rows([((f"row{number}",), [(("x",), number, 1.0), (("label",), "cat", 1.0)])])
    dataset.commit()
    assert time.process_time() - started < 1 * slowness()
    assert dataset.layout().rows == 20_000
