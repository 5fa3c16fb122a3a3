"""melt by the column: the same datasets as recording its rows cell by cell."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.transfer.melted import melt_row
from server.transfer.results import named_rows
from server.values.atoms import Timestamp
from tests.effort import cases
from tests.transfer.seen import described

ATOMS = st.sampled_from([None, 0, 1, 0.5, 2**53 + 1, 2**63, "", "x", "1", Timestamp(5.0), b"b"])
TIMES = st.sampled_from([0.0, 7.0, 3.0, -math.inf])
PATHS = [("f",), ("f", "a"), ("f.", "b"), ("m",), ("m", "0"), ("m", "x.y"), ("mm",)]
NAMES = st.sampled_from([("1",), ("r", "2"), ("a.b",), ('q"', "3"), ("4",), ("é",), ("z", "")])
ROWS = st.dictionaries(NAMES, st.dictionaries(st.sampled_from(PATHS), st.tuples(ATOMS, TIMES)), min_size=1, max_size=6)
OUTPUTS = {
    "tabular": {"type": "tabular", "params": {"unknownColumns": "add"}},
    "ignore": {"type": "tabular", "params": {"unknownColumns": "ignore"}},
    "sparse": {"type": "sparse.mutable", "params": {}},
}
QUERIES = [
    "SELECT {f*} AS to_fix, {m*} AS to_melt FROM given",
    "SELECT {m*} AS to_fix, {f*} AS to_melt FROM given",
    "SELECT {f.a, f} AS to_fix, {m, mm, m = 1 AS b, mm IS NULL AS n} AS to_melt FROM given",
    "SELECT {f AS key, f.a AS x} AS to_fix, {m*} AS to_melt FROM given",
    "SELECT {1 AS one, [1, 2] AS v} AS to_fix, {m*} AS to_melt FROM given",
    "SELECT {f*} AS to_fix, {[1.5, 2] AS v, m} AS to_melt FROM given",
    "SELECT {f*} AS to_fix, {tokenize(CAST (m AS STRING)) AS t, mm} AS to_melt FROM given",
    "SELECT {f*} AS to_fix, {NULL AS a, TIMESTAMP 5 AS t, f IS NULL AS n, 2.5 AS x} AS to_melt FROM given",
    "SELECT f AS to_fix, {m} AS to_melt FROM given",
]


def both(bench, query, output):
    bench.run("melt", inputData=query, outputDataset={"id": "new", **output})
    bench.services.create("dataset", {"id": "old", **output})
    old = bench.services.dataset("old")
    given = named_rows(bench.services.query(query, timestamps=True))
    old.record_rows(row for name, cells in given for row in melt_row(name, cells, ("key",), ("value",)))
    old.commit()
    assert described(bench, "new") == described(bench, "old")
    for id_ in ("new", "old"):
        bench.services.delete("dataset", id_)


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS)
@pytest.mark.parametrize("type_", ["tabular", "sparse.mutable"])
@settings(max_examples=cases(5))
@given(rows=ROWS, query=st.sampled_from(QUERIES))
def test_by_column_as_cell_by_cell(bench, output, type_, rows, query):
    params = {"unknownColumns": "add"} if type_ == "tabular" else {}
    bench.services.create("dataset", {"id": "given", "type": type_, "params": params})
    dataset = bench.services.dataset("given")
    first = (("first",), [(path, 1, 1.0) for path in PATHS])
    cells = [(name, [(path, *cell) for path, cell in row.items()]) for name, row in rows.items()]
    dataset.record_rows([*cells, first])
    dataset.commit()
    both(bench, query, output)
    bench.services.delete("dataset", "given")


def test_more_rows_than_are_melted_at_once(bench):
    rows = [(str(n), [("f", n), (f"m.{n % 3}", n), ("m.3", str(n))]) for n in range(5000)]
    bench.dataset("given", rows)
    both(bench, QUERIES[0], OUTPUTS["sparse"])
