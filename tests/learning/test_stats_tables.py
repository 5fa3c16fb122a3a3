"""Statistics and distribution tables: counts by hand, and over REST."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from server.declarations import NamedBatch
from server.errors import MldbError
from server.learning.archive import unpack
from server.learning.cell_arrays import cell_arrays
from server.learning.cell_functions import rows_below
from server.learning.dist_tables import DistTable
from server.learning.distributions import Distribution, check_statistics, numbers_of, statistics
from server.learning.outcome_rows import OutcomeBatch
from server.learning.running_counts import RunningCounts, RunningResult, key_of
from server.learning.stats_tables import StatsTable, derived_expression
from server.learning.word_tables import WordTable
from server.transfer.results import rows_of, sliced
from server.values.atoms import Interval, PathValue, Timestamp
from server.values.batches import Cell, Column, RowBatch, RowType
from server.values.cells import any_array, cells_array, cells_of
from server.values.kinds import Kind
from server.values.paths import format_path


def cells(**values):
    return [Cell((name,), value) for name, value in values.items()]


def plain(row):
    return {".".join(cell.path): cell.value for cell in row}


def given(name, *rows):
    """Rows as the input ``name`` of a function."""
    below = [[Cell((name, *cell.path), cell.value, cell.timestamp) for cell in row] for row in rows]
    return RowBatch(RowType((), open=True), len(rows), (), (), cells_array(below))


def told(found):
    """The only row of an output, without the name that all of it lies below."""
    (row,) = cells_of(found)
    return {".".join(cell.path[1:]): cell.value for cell in row}


def training(rows, columns=(), values=(), times=(), outcomes=()):
    """Training rows: known columns, and cells of others."""
    rest = cells_array(rows)
    batch = RowBatch(RowType(tuple(columns), open=True), len(rows), values, times, rest)
    return OutcomeBatch(pa.array([str(number) for number in range(len(rows))]), batch, list(outcomes))


def counted(*batches):
    """The table of training rows, and what each row is told."""
    counts, shown = RunningCounts(len(batches[0].outcomes)), []

    def count(batch):
        cells = batch.value_cells()
        return cells, counts.add(cells, batch.won).T[:, :, None]

    for batch in RunningResult(iter(batches), ["trial", "won"], [""], count).batches():
        shown += cells_of(batch.rows.rest)
    return StatsTable.counted(["won"], counts), shown


def test_counts_are_those_before_the_row():
    rows = [cells(host="a", n=1), cells(host="a", n="1"), cells(host="a")]
    table, told_rows = counted(training(rows[:2], outcomes=[[1, None]]), training(rows[2:], outcomes=[[0]]))
    assert [plain(row) for row in told_rows] == [
        {"trial.host": 0, "trial.n": 0, "won.host": 0, "won.n": 0},
        {"trial.host": 1, "trial.n": 0, "won.host": 1, "won.n": 0},  # the text "1" is not the number 1
        {"trial.host": 2, "won.host": 1},
    ]
    again = StatsTable(**unpack("statsTable", table.to_bytes({})).body)
    assert told(again.counts(given("keys", cells(host="a", other=1)))) == {"trial.host": 3, "won.host": 1}
    assert told(again.counts(given("keys", cells(host="never")))) == {"trial.host": 0, "won.host": 0}


def test_a_word_counts_once_in_each_row_that_has_it():
    rest = cells_array([
        [Cell(("a",), 1), Cell(("a",), 2), Cell(("b",), None)],
        [Cell(("a",), "x"), Cell(("x.y",), 0)],
        [],
    ])  # fmt: skip
    columns = (Column(("b",), Kind.INTEGER), Column(("v",), Kind.NUMBER, (2,)))
    values = [pa.array([None, 3, 4]), pa.array([[1.0, None], None, [2.0, math.nan]], pa.list_(pa.float64(), 2))]
    batch = cell_arrays(RowBatch(RowType(columns, open=True), 3, values, (), rest))
    table = WordTable(["won", "lost"])
    won = np.array([[True, False], [False, True], [True, True]])
    table.add(batch, won)
    once = {"a": [2, 1, 1], "b": [2, 1, 2], '"x.y"': [1, 0, 1], "v.0": [2, 2, 1], "v.1": [1, 1, 1]}
    assert table.words == once
    table.add(batch, won)
    assert table.words == {word: [2 * count for count in counts] for word, counts in once.items()}
    table.add(cell_arrays(RowBatch(RowType(), 1, [])), won[:1])


@pytest.mark.parametrize(
    ("positive", "negative", "trials", "expected"),
    [
        (1, 1, 1, {"best": 1.0, "worst": 0.0, "bad": 0.0}),  # ties at the cut are kept
        (1, 0, 1, {"best": 1.0}),
        (2, 0, 1, {"best": 1.0, "half": 0.5}),
        (50, 50, 2, {"half": 0.5, "worst": 0.0}),
        (1, 1, 9, {}),
    ],
)
def test_words_of_extreme_shares(positive, negative, trials, expected):
    words = {"best": [1, 1], "half": [2, 1], "worst": [4, 0], "bad": [1, 0]}
    assert WordTable(["won"], words).extremes("won", positive, negative, trials) == expected
    with pytest.raises(MldbError, match="Outcome 'lost' not found in stats table!"):
        WordTable(["won"], words).extremes("lost", 1, 1, 1)


def test_derived_columns_replace_each_name_once():
    found = derived_expression("c.label/c.not_label AS $tbl_x", ["label", "not_label"], ["host", "label"])
    assert found == "c.label.host/c.not_label.host AS host_x, c.label.label/c.not_label.label AS label_x"
    quoted = derived_expression('"label" / "trial" AS "x_$tbl"', ["label"], ["host"])
    assert quoted == '"label".host / "trial".host AS "x_host"'


NAMES = ["count", "avg", "std", "min", "max", "last", "sum"]


def test_a_distribution():
    unseen = statistics(np.array(numbers_of(Distribution())), NAMES).tolist()
    assert (unseen[0], unseen[-1], [math.isnan(each) for each in unseen[1:-1]]) == (0, 0, [True] * 5)
    one = Distribution()
    for number in (1e9 + 1, 1e9 + 9):
        one.add(number)
    found = statistics(np.array(numbers_of(one)), NAMES).tolist()
    assert found == [2, 1e9 + 5, math.sqrt(32), 1e9 + 1, 1e9 + 9, 1e9 + 9, 2e9 + 10]
    with pytest.raises(MldbError, match="Unknown distribution table statistic: median; there are count"):
        check_statistics(["count", "median"])


def test_a_table_comes_back_from_its_file():
    table = DistTable(["price"], "fixedColumns")
    table.add(training([cells(host=None)]).value_cells(), [[2.0]])
    again = DistTable.of(unpack("distTable", table.to_bytes({})))
    assert told(again.statistics_of(given("features", cells(host=None)), ["count", "avg"])) == {
        "price.host.count": 1,
        "price.host.avg": 2,
    }
    assert told(again.statistics_of(given("features", cells(host="x")), ["sum"])) == {"price.host.sum": 0}
    assert told(again.statistics_of(given("features", cells(unknown=1)), ["sum"])) == {}


def rows_of_all_sorts(name):
    """Four rows: typed columns, some sparse, an embedding, and cells of every kind, some of a column twice."""
    at = Timestamp(1e9)
    atoms = [1, 1.5, "1", None, at, Interval(1, 2, 3.0), b"x", PathValue(("a", "b")), math.nan, 2**60, 2**63, -0.0]
    rest = cells_array([
        [Cell((name, "mixed"), atom, float(number)) for number, atom in enumerate(atoms)],
        [Cell((name, "a.b", "c"), 1, 5.0), Cell((name, "n"), 7, 6.0), Cell((name, "mixed"), "1", 7.0)],
        [],
        [Cell((name, "host"), "a", 8.0)],
    ])  # fmt: skip
    columns = (
        Column((name, "host"), Kind.STRING), Column((name, "n"), Kind.INTEGER, sparse=True),
        Column((name, "x"), Kind.NUMBER), Column((name, "v"), Kind.NUMBER, (2,)), Column((name, "at"), Kind.TIMESTAMP),
        Column((name, "yes"), Kind.BOOLEAN), Column((name, "nothing"), Kind.NULL), Column(("other",), Kind.INTEGER),
        Column((name, "any"), Kind.ANY),
    )  # fmt: skip
    values = [
        pa.array(["a", "b", None, "a"]), pa.array([1, None, 3, 1]), pa.array([1.0, math.nan, None, 1.0]),
        pa.array([[1.0, None], None, [2.0, 1.5], [1.0, 1.5]], pa.list_(pa.float64(), 2)),
        pa.array([1e9, 1e9, None, 0.0]), pa.array([True, False, None, True]), pa.nulls(4), pa.array([1, 2, 3, 4]),
        any_array(["a", None, at, 1]),
    ]  # fmt: skip
    times = [pa.array([1.0, 2.0, 3.0, 4.0]), 9.0]
    return RowBatch(RowType(columns, open=True), 4, values, times, rest)


def shown(rows):
    return [[(cell.path, repr(cell.value), cell.timestamp) for cell in row] for row in rows]


def test_counts_of_a_batch_are_those_of_its_rows():
    batch = rows_of_all_sorts("keys")
    rows = rows_below(batch, "keys")
    table = StatsTable(["won", "lost.by far"])
    for number, row in enumerate(rows[:2] * 2 + rows[3:]):
        for cell in row:
            counts = table.columns.setdefault(format_path(cell.path), {}).setdefault(key_of(cell.value), [0, 0, 0])
            counts[:] = [counts[0] + 1, counts[1] + number % 2, counts[2] + (number > 0)]
    del table.columns["x"]
    expected = []
    for row in rows:
        known = [cell for cell in row if format_path(cell.path) in table.columns]
        counts = [table.columns[format_path(cell.path)].get(key_of(cell.value), [0, 0, 0]) for cell in known]
        expected.append([
            Cell(("counts", name, *cell.path), count[at], cell.timestamp)
            for at, name in enumerate(["trial", "won", "lost.by far"])
            for cell, count in zip(known, counts, strict=True)
        ])  # fmt: skip
    assert shown(cells_of(table.counts(batch))) == shown(cells_of(cells_array(expected)))
    assert any(cell.value > 1 for cell in expected[0])
    empty = RowBatch(RowType((Column(("keys",), Kind.NULL),)), 2, [pa.nulls(2)])
    assert cells_of(table.counts(empty)) == [[], []]
    whole = RowBatch(RowType((Column(("keys",), Kind.INTEGER),)), 2, [pa.array([None, 1])])
    with pytest.raises(MldbError, match="The input 'keys' must be a row, not a single value"):
        table.counts(whole)


class RowByRow:
    """Both kinds of tables as their definition is written: a row after the other, each told what was before it."""

    def __init__(self, mode):
        self.mode = mode
        self.seen = {}

    def keys(self, row):
        named = [(cell, format_path(cell.path)) for cell in row]
        if self.mode == "bagOfWords":
            return [(cell, ("", name)) for cell, name in named if cell.value is not None]
        return [(cell, (name, key_of(cell.value))) for cell, name in named]

    def tell(self, row, outcomes):
        """Of each cell that counts the outcomes of the rows before, then the row's own are added."""
        found = [(cell, key, list(self.seen.get(key, []))) for cell, key in self.keys(row)]
        for _, key, _ in found:
            self.seen.setdefault(key, []).append(outcomes)
        return [(cell, before) for cell, _, before in found]


def training_of_all_sorts(outcomes):
    """Rows of all sorts twice, the second time in another order, as batches of different sizes."""
    batch = rows_of_all_sorts("keys").under(("keys",))
    whole = NamedBatch(pa.array(list("abcd")), batch)
    parts = [sliced(whole, *part) for part in ((0, 3), (3, 1), (1, 3), (0, 1))]
    at = 0
    for part in parts:
        size = part.rows.length
        yield OutcomeBatch(part.names, part.rows, [values[at : at + size] for values in outcomes])
        at += size


def test_running_counts_are_those_of_a_row_after_the_other():
    outcomes = [[1, 0, None, "yes", "", 2.5, 1, 0]]
    batches = list(training_of_all_sorts(outcomes))
    table, told_rows = counted(*batches)
    reference, number = RowByRow("fixedColumns"), 0
    expected = []
    for batch in batches:
        for row in rows_of(batch.rows):
            before = reference.tell(row, bool(outcomes[0][number]))
            number += 1
            trials = [Cell(("trial", *cell.path), len(seen), cell.timestamp) for cell, seen in before]
            expected.append(trials + [Cell(("won", *cell.path), sum(seen), cell.timestamp) for cell, seen in before])
    assert shown(told_rows) == shown(cells_of(cells_array(expected)))
    assert max(cell.value for row in told_rows for cell in row) > 2
    flat = {(name, key): found for name, keys in table.columns.items() for key, found in keys.items()}
    assert flat == {key: [len(seen), sum(seen)] for key, seen in reference.seen.items()}


def close(row):
    """With NaN equal to itself, and the last digits of sums and means left to who adds them up how."""
    return [(cell.path, cell.timestamp, pytest.approx(cell.value, rel=1e-12, abs=1e-12, nan_ok=True)) for cell in row]


@pytest.mark.parametrize("mode", ["fixedColumns", "bagOfWords"])
def test_running_distributions_are_those_of_a_row_after_the_other(mode):
    outcomes = [[1.5, 2.0, None, -4.0, 1e6, 0.1, 0.1, 3.0], [7.0, None, 7.0, 7.0, 7.0, 7.0, 7.0, 7.0]]
    table = DistTable(["price", "a.b"], mode)

    def count(batch):
        cells, before = table.add(batch.value_cells(), batch.outcomes)
        return cells, statistics(before, NAMES)

    batches = list(training_of_all_sorts(outcomes))
    result = RunningResult(iter(batches), table.outcomes, [f".{name}" for name in NAMES], count)
    told_rows = [row for batch in result.batches() for row in cells_of(batch.rows.rest)]
    reference, number, expected = RowByRow(mode), 0, []
    for batch in batches:
        for row in rows_of(batch.rows):
            before = reference.tell(row, [values[number] for values in outcomes])
            number += 1
            expected.append([
                Cell((outcome, *cell.path, name), value, cell.timestamp)
                for at, outcome in enumerate(table.outcomes)
                for cell, seen in before
                for name, value in zip(NAMES, by_hand([each[at] for each in seen]), strict=True)
            ])  # fmt: skip
    for ours, theirs in zip(told_rows, expected, strict=True):
        assert [(cell.path, cell.timestamp, cell.value) for cell in ours] == close(theirs)
    keys = {(name, key) for name, keys in table.columns.items() for key in keys}
    assert keys == set(reference.seen)
    asked = rows_of_all_sorts("features")
    for ours, row in zip(cells_of(table.statistics_of(asked, NAMES)), rows_below(asked, "features"), strict=True):
        after = [(cell, reference.seen[key]) for cell, key in reference.keys(row)]
        assert [(cell.path, cell.timestamp, cell.value) for cell in ours] == close([
            Cell(("stats", outcome, *cell.path, name), value, cell.timestamp)
            for at, outcome in enumerate(table.outcomes)
            for cell, seen in after
            for name, value in zip(NAMES, by_hand([each[at] for each in seen]), strict=True)
        ])  # fmt: skip


def by_hand(numbers):
    there = [number for number in numbers if number is not None]
    if not there:
        return [0, *[math.nan] * 5, 0]
    deviation = float(np.std(there, ddof=1)) if len(there) > 1 else math.nan
    return [len(there), float(np.mean(there)), deviation, min(there), max(there), there[-1], sum(there)]


def test_shares_of_words_are_those_of_the_chosen(visits, server):
    url = f"file://{server.data_dir.resolve()}/words.st"
    run(
        visits, "statsTable.bagOfWords.train", trainingData="SELECT tokenize(host) AS * FROM visits",
        outcomes=[["did win", "won = 1"]], statsTableFileUrl=url,
    )  # fmt: skip
    params = {"statsTableFileUrl": url, "outcomeToUse": "did win", "minTrials": 1, "numPos": 1, "numNeg": 1}
    visits.put("/v1/functions/chosen", json={"type": "statsTable.bagOfWords.posneg", "params": params})
    found = visits.query("SELECT chosen({words: {a: 3, b: 1, c: 1, d: null}}) AS *", "aos")
    assert [{name: value for name, value in row.items() if name != "_rowName"} for row in found] == [
        {"probs.a.did win": 0.5, "probs.b.did win": 0}
    ]


@pytest.fixture(scope="module")
def visits(client):
    client.put("/v1/datasets/visits", json={"type": "sparse.mutable"})
    rows = [("a", 1, 2.0), ("b", 0, 4.0), ("a", 0, 6.0)]
    body = [[f"r{n}", [["host", h, 0], ["won", w, 0], ["price", p, 0]]] for n, (h, w, p) in enumerate(rows)]
    client.post("/v1/datasets/visits/multirows", json=body)
    client.post("/v1/datasets/visits/commit")
    return client


def run(client, type, **params):
    answer = client.put("/v1/procedures/tables", json={"type": type, "params": params})
    assert answer.status_code == 201, answer.text


def test_counts_over_rest(visits, server):
    url = f"file://{server.data_dir.resolve()}/visits.st"
    run(
        visits, "statsTable.train", trainingData="SELECT host FROM visits ORDER BY rowName()",
        outcomes=[["won", "won = 1"]], statsTableFileUrl=url, functionName="hosts", outputDataset="running",
    )  # fmt: skip
    assert visits.query("SELECT trial.host, won.host FROM running ORDER BY rowName()")[1:] == [
        ["r0", 0, 0], ["r1", 0, 0], ["r2", 1, 1],
    ]  # fmt: skip
    assert visits.query("SELECT hosts({keys: {host: 'a'}}) AS *")[1] == ["result", 2, 1]


def test_distributions_over_rest(visits, server):
    url = f"file://{server.data_dir.resolve()}/visits.dt"
    run(
        visits, "experimental.distTable.train", trainingData="SELECT host FROM visits ORDER BY rowName()",
        outcomes=[["price", "price"]], statistics=["sum", "last"], distTableFileUrl=url, functionName="prices",
        outputDataset="before",
    )  # fmt: skip
    assert visits.query("SELECT price.host.sum FROM before ORDER BY rowName()")[1:] == [["r0", 0], ["r1", 0], ["r2", 2]]
    routes = "/v1/functions/prices/routes"
    answer = visits.post(f"{routes}/increment", json={"keys": [["host", "new"]], "outcomes": [5]})
    assert (answer.status_code, answer.json()) == (200, "OK")
    refused = visits.post(f"{routes}/increment", json={"keys": [["nobody", "x"]], "outcomes": [5]})
    assert (refused.status_code, refused.json()["error"]) == (400, "Unknown dist table 'nobody'")
    assert visits.post(f"{routes}/increment", json={"keys": [["host", "x"]], "outcomes": []}).status_code == 400
    assert visits.post(f"{routes}/other", json={}).status_code == 404
    assert visits.post(f"{routes}/persist", json={"modelFileUrl": url + "2"}).json() == "OK"
    params = {"distTableFileUrl": url + "2", "statistics": ["sum", "last"]}
    visits.put("/v1/functions/again", json={"type": "experimental.distTable.getStats", "params": params})
    for name in ("prices", "again"):
        assert visits.query(f"SELECT {name}({{features: {{host: 'new'}}}})[stats] AS *")[1] == ["result", 5, 5]
