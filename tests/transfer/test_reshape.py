"""transform, melt, bucketize, ranking, split, summary.statistics (entity-types.md §3.6-3.10), permuter.run (§3.22)."""

from __future__ import annotations

import math

import numpy as np
import pytest

from server.errors import MldbError
from server.transfer.split import SplitParams, place, shuffled
from server.values.atoms import NEVER


def times(bench, query):
    batch = next(bench.services.query(query, timestamps=True).batches())
    return [time for index in range(len(batch.rows.values)) for time in _listed(batch.rows.timestamp(index))]


def _listed(time):
    return [time] if isinstance(time, float) else time.to_pylist()


def refusal(bench, type_, **params):
    with pytest.raises(MldbError) as caught:
        bench.run(type_, **params)
    return caught.value.message


# ── transform ──


def test_transform(bench):
    bench.dataset("in", [("r1", [("x", 1), ("y", "a")]), ("r2", [("x", 2)])])
    status = bench.run("transform", inputData="SELECT x + 1 AS z NAMED 'n' + x FROM in", outputDataset="out")
    assert status["rowCount"] == 2
    assert bench.rows("SELECT * FROM out") == {"n1": {"z": 2}, "n2": {"z": 3}}


def test_transform_needs_input(bench):
    bench.services.create("procedure", {"id": "p", "type": "transform", "params": {"runOnCreation": False}})
    assert refusal(bench, "transform", outputDataset="out") == "You need to define inputData"


def test_transform_without_from(bench):
    bench.run("transform", inputData="SELECT 1 AS one", outputDataset={"id": "out", "type": "tabular"})
    assert bench.rows("SELECT * FROM out") == {"result": {"one": 1}}


def test_transform_object_form(bench):
    bench.dataset("in", [("r1", [("x", 1)]), ("r2", [("x", 2)])])
    query = {"select": "x", "from": {"id": "in"}, "where": "x = 2"}
    bench.run("transform", inputData=query, outputDataset="out")
    assert bench.rows("SELECT * FROM out") == {"r2": {"x": 2}}


def test_transform_records_no_cells_that_the_query_does_not_show(bench):
    """Cells that WHEN drops, and those that a sparse row lacks, are not recorded as nulls; nulls are."""
    bench.dataset("in", [("r1", [("x", 1)]), ("r2", [("x", 2), ("y", None)])])
    bench.run("transform", inputData="SELECT * FROM in", outputDataset="whole")
    bench.run("transform", inputData="SELECT * FROM in WHEN value_timestamp() > now()", outputDataset="none")
    assert bench.rows("SELECT columnCount() AS n FROM whole") == {"r1": {"n": 1}, "r2": {"n": 2}}
    assert bench.rows("SELECT columnCount() AS n FROM none") == {"r1": {"n": 0}, "r2": {"n": 0}}


def test_transform_empty_rows(bench):
    bench.dataset("in", [("r1", [("x", 1)]), ("r2", [("y", 2)])])
    query = "SELECT x* FROM in"
    assert bench.run("transform", inputData=query, outputDataset="out")["rowCount"] == 2
    assert bench.run("transform", inputData=query, outputDataset="out", skipEmptyRows=True)["rowCount"] == 1


def test_transform_overwrites(bench):
    bench.dataset("in", [("r1", [("x", 1)])])
    bench.dataset("out", [("old", [("x", 1)])])
    bench.run("transform", inputData="SELECT * FROM in", outputDataset="out")
    assert list(bench.rows("SELECT * FROM out")) == ["r1"]


def test_transform_bad_query(bench):
    bench.dataset("out", [("old", [("x", 1)])])
    refusal(bench, "transform", inputData="SELECT nothing(x) FROM out", outputDataset="out")
    assert list(bench.rows("SELECT * FROM out")) == ["old"]


# ── melt ──


def test_melt(bench):
    bench.dataset("in", [("0", [("x.0", 1), ("x.1", 2), ("n", "a")]), ("1", [("x.0", 2), ("x.1", 3), ("n", "b")])])
    query = "SELECT {x.* AS *} AS to_melt, {n} AS to_fix FROM in"
    bench.run("melt", inputData=query, outputDataset="out", keyColumnName="k", valueColumnName="v")
    assert bench.rows("SELECT * FROM out") == {
        "0.0": {"n": "a", "k": "0", "v": 1},
        "0.1": {"n": "a", "k": "1", "v": 2},
        "1.0": {"n": "b", "k": "0", "v": 2},
        "1.1": {"n": "b", "k": "1", "v": 3},
    }
    assert bench.services.dataset("out").status()["rowCount"] == 4


def test_melt_of_rows_that_have_different_columns(bench):
    bench.dataset("in", [("a", [("f", 1), ("m1", 2)]), ("b", [("g", 5), ("m1", 3), ("m2", 4)])])
    query = "SELECT {* EXCLUDING (m1, m2)} AS to_fix, {m*} AS to_melt FROM in"
    bench.run("melt", inputData=query, outputDataset="out")
    assert bench.rows("SELECT f, g, key, value FROM out") == {
        "a.m1": {"f": 1, "g": None, "key": "m1", "value": 2},
        "b.m1": {"f": None, "g": 5, "key": "m1", "value": 3},
        "b.m2": {"f": None, "g": 5, "key": "m2", "value": 4},
    }


def test_melt_needs_both_rows(bench):
    bench.dataset("in", [("0", [("x", 1)])])
    text = "melt procedure expect a rows named 'to_melt' and 'to_fix'"
    assert refusal(bench, "melt", inputData="SELECT {x} AS to_melt FROM in", outputDataset="out") == text


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("SELECT {x} AS to_melt, {x} AS to_fix FROM in GROUP BY x", "melt does not support groupBy clause"),
        ("SELECT {1 AS x} AS to_melt, {2 AS y} AS to_fix", "melt must contain a FROM clause"),
    ],
)
def test_queries_that_melt_does_not_take(bench, query, text):
    bench.dataset("in", [("0", [("x", 1)])])
    assert refusal(bench, "melt", inputData=query, outputDataset="out", runOnCreation=False) == text


# ── bucketize, ranking ──


def test_bucketize(bench):
    bench.dataset("in", [(f"r{n}", [("score", n)]) for n in range(10)])
    buckets = {"low": [0, 25], "high": [75, 100]}
    query = "SELECT * FROM in ORDER BY score"
    status = bench.run("bucketize", inputData=query, outputDataset="out", percentileBuckets=buckets)
    assert (status["rowCount"], status["columnCount"]) == (5, 1)
    rows = bench.rows("SELECT * FROM out")
    assert {name: row["bucket"] for name, row in rows.items()} == {
        "r0": "low", "r1": "low", "r7": "high", "r8": "high", "r9": "high",
    }  # fmt: skip


def test_bucketize_timestamp_is_the_newest_of_the_order(bench):
    bench.services.create("dataset", {"id": "in", "type": "sparse.mutable", "params": {}})
    dataset = bench.services.dataset("in")
    dataset.record_rows([(("a",), [(("score",), 5, 6.0), (("x",), 1, 99.0)]), (("b",), [(("score",), 1, 5.0)])])
    dataset.commit()
    bench.run(
        "bucketize",
        inputData="SELECT * FROM in ORDER BY score",
        outputDataset={"id": "out", "type": "tabular"},
        percentileBuckets={"b1": [0, 50], "b2": [50, 100]},
    )
    assert times(bench, "SELECT bucket FROM out") == [6.0, 6.0]
    bench.run("ranking", inputData="SELECT * FROM in", outputDataset={"id": "out", "type": "tabular"})
    assert times(bench, "SELECT rank FROM out") == [NEVER, NEVER]


@pytest.mark.parametrize(
    ("buckets", "text"),
    [
        (
            {"a": [-1, 5]},
            "Invalid percentileBucket [-1.000000, 5.000000]: lower bound must be greater or equal to 0",
        ),
        (
            {"a": [0, 101]},
            "Invalid percentileBucket [0.000000, 101.000000]: higher bound must be lower or equal to 1",
        ),
        (
            {"a": [5, 5]},
            "Invalid percentileBucket [5.000000, 5.000000]: higher bound must  be greater than lower bound",
        ),
        (
            {"a": [0, 50], "b": [40, 60]},
            "Invalid percentileBucket: [0.000000, 50.000000] is overlapping with [40.000000, 60.000000]",
        ),
    ],
)
def test_bad_buckets(bench, buckets, text):
    bench.dataset("in", [("r", [("x", 1)])])
    params = {"inputData": "SELECT * FROM in", "outputDataset": "out", "percentileBuckets": buckets}
    assert refusal(bench, "bucketize", **params) == text


def test_ranking(bench):
    bench.dataset("in", [(f"r{n}", [("score", 100 - n)]) for n in range(20)])
    query = "SELECT * FROM in ORDER BY score"
    status = bench.run("ranking", inputData=query, outputDataset="out", rankingColumnName="place")
    assert (status["rowCount"], status["columnCount"]) == (20, 1)
    rows = bench.rows("SELECT * FROM out")
    assert {name: row["place"] for name, row in rows.items()} == {f"r{n}": 19 - n for n in range(20)}


@pytest.mark.parametrize(("type_", "params"), [("ranking", {}), ("bucketize", {"percentileBuckets": {"a": [0, 9]}})])
def test_places_in_the_order_of_a_table(bench, type_, params):
    text = refusal(bench, type_, inputData="SELECT 1", outputDataset="out", runOnCreation=False, **params)
    assert text == f"{type_} must contain a FROM clause"


# ── summary.statistics ──


def test_summary(bench):
    cells = [1, 2, 2, 3, 10]
    rows = [(f"r{n}", [("n", value), ("s", "ab"[n % 2]), ("m", value if n else "x")]) for n, value in enumerate(cells)]
    bench.dataset("in", [*rows, ("r9", [("s", "b")])])
    status = bench.run(
        "summary.statistics",
        inputData="SELECT n, s, m, none FROM in",
        outputDataset={"id": "out", "type": "tabular", "params": {"unknownColumns": "add"}},
    )
    assert status["rowCount"] == 4
    found = bench.rows("SELECT * FROM out")
    number = {name.removeprefix("value."): value for name, value in found["n"].items() if value is not None}
    assert number["data_type"] == "number"
    assert (number["num_null"], number["num_unique"], number["min"], number["max"]) == (1, 4, 1, 10)
    assert (number["avg"], number["1st_quartile"], number["median"], number["3rd_quartile"]) == (3.6, 2, 2, 3)
    assert number["stddev"] == pytest.approx(3.646916505762094)
    assert number["most_frequent_items.2"] == 2
    assert found["s"]["value.data_type"] == "categorical"
    assert found["s"]["value.most_frequent_items.a"] == 3
    assert found["m"]["value.data_type"] == "categorical"
    assert (found["none"]["value.num_null"], found["none"]["value.num_unique"]) == (6, 0)


def test_summary_of_values_that_no_column_can_be_named_by(bench):
    bench.dataset("in", [("a", [("x", "é\0"), ("b", b"xy")])])
    bench.run("summary.statistics", inputData="SELECT * FROM in", outputDataset="out")
    rows = bench.rows("SELECT * FROM out")
    assert rows["x"]["value.most_frequent_items.é�"] == 1
    assert rows["b"]["value.most_frequent_items.xy"] == 1


def test_deviation_of_one_value(bench):
    from server.transfer.summary_statistics import numeric_figures

    assert math.isnan(dict(numeric_figures(np.array([4.0]), np.array([1])))[("stddev",)])


@pytest.mark.parametrize("select", ["max(n)", "n + 1", "{*}"])
def test_summary_takes_whole_columns_only(bench, select):
    bench.dataset("in", [("r", [("n", 1)])])
    text = refusal(bench, "summary.statistics", inputData=f"SELECT {select} FROM in", outputDataset="out")
    assert text.startswith(f"{select} is not a supported SELECT value expression for summary.statistics")


def test_summary_does_not_group(bench):
    bench.dataset("in", [("r", [("n", 1)])])
    text = refusal(bench, "summary.statistics", inputData="SELECT n FROM in GROUP BY n", outputDataset="out")
    assert text == "summary.statistics does not support groupBy clause"


# ── split ──


def test_split(bench):
    bench.dataset("in", [(f"r{n}", [("l" + str(n % 3), 1)]) for n in range(300)])
    status = bench.run(
        "split", labels="SELECT * FROM in", splits=[0.8, 0.2], outputDatasets=[{"id": "train"}, {"id": "test"}]
    )
    assert status == {"incompleteLabels": []}
    train, test = bench.rows("SELECT l0, l1, l2 FROM train"), bench.rows("SELECT l0, l1, l2 FROM test")
    assert len(train) == 240
    assert not set(train) & set(test)
    for label in ("l0", "l1", "l2"):
        assert sum(row[label] is not None for row in test.values()) == 20


SPLIT = {"labels": "SELECT 1", "splits": [0.8, 0.2], "outputDatasets": ["a", "b"]}


def test_the_order_of_a_split():
    # Drawn by std::minstd_rand and std::uniform_int_distribution of libstdc++ 12
    names = shuffled([str(number) for number in range(60)], SplitParams(**SPLIT))
    assert ",".join(names[:20]) == "2,11,9,47,51,5,21,12,16,52,33,49,14,32,35,17,24,56,42,4"
    assert sorted(names, key=int) == [str(number) for number in range(60)]
    other = shuffled([str(number) for number in range(60)], SplitParams(**SPLIT, randomSeed=7))
    assert other != names
    assert other == shuffled([str(number) for number in range(60)], SplitParams(**SPLIT, randomSeed=7))
    seeded = shuffled(list(names), SplitParams(**SPLIT, randomSeed=7, reproducible=False))
    assert sorted(seeded) == sorted(names)


def test_where_examples_go():
    a, b = frozenset({("a",)}), frozenset({("b", "x"), ("b", "y")})
    examples = {str(number): a if number < 80 else b for number in range(100)}
    placed = place(examples, SplitParams(**SPLIT))
    for label, least in ((a, 80), (b, 20)):
        with_it = [placed[name] for name in shuffled(list(examples), SplitParams(**SPLIT)) if examples[name] == label]
        assert with_it[:2] == [0, 1]  # the first split, then the one that has none of the label
        assert with_it.count(1) == least // 5


def test_split_rare_label(bench):
    bench.dataset("in", [("r0", [("a", 1), ("rare", 1)]), ("r1", [("a", 1)]), ("r2", [("a", 1)]), ("r3", [("a", 1)])])
    status = bench.run("split", labels="SELECT * FROM in", splits=[0.5, 0.5], outputDatasets=["x", "y"])
    assert status == {"incompleteLabels": ["rare"]}


@pytest.mark.parametrize(
    ("splits", "datasets", "text"),
    [
        ([0.5, 0.4], ["a", "b"], "Sum of split factors does not approximate to 1.0, actual sum is: 0.900000"),
        ([1.5, -0.5], ["a", "b"], "Split factors must not be below zero"),
        ([1.0], ["a"], "Insufficient number of splits"),
        ([0.5, 0.5], ["a"], "Number of splits requested is different than the number of datasets provided"),
    ],
)
def test_bad_splits(bench, splits, datasets, text):
    bench.dataset("in", [("r", [("x", 1)])])
    message = refusal(bench, "split", labels="SELECT * FROM in", splits=splits, outputDatasets=datasets)
    assert message.startswith(text)


# ── permuter.run ──


def test_permuter(bench):
    bench.dataset("in", [("r", [("x", 1)])])
    status = bench.run(
        "permuter.run",
        procedure={
            "type": "transform",
            "params": {"inputData": "SELECT * FROM in", "outputDataset": {"id": "o_$permutation"}},
        },
        permutations={
            "inputData": ["SELECT 1 AS a", "SELECT 2 AS a, 3 AS b"],
            "outputDataset": {"type": ["tabular", "sparse.mutable"]},
        },
    )
    assert [each["results"]["columnCount"] for each in status] == [1, 1, 2, 2]
    assert status[1]["configuration"] == {
        "inputData": "SELECT 1 AS a",
        "outputDataset": {"id": "o_permutation_2", "type": "sparse.mutable"},
    }
    assert bench.rows("SELECT * FROM o_permutation_4") == {"result": {"a": 2, "b": 3}}


def test_permutations_are_lists(bench):
    text = refusal(bench, "permuter.run", procedure={"type": "null"}, permutations={"a": {"b": 3}})
    assert text == "permutations must be lists of values, but 'a.b' is not one"
