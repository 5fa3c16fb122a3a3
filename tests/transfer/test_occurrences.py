"""What columns hold: counted column by column as cell by cell."""

from __future__ import annotations

import math
from itertools import starmap

from hypothesis import given, settings
from hypothesis import strategies as st

from server.entities.progress import TaskProgress
from server.transfer import occurrences
from server.transfer.summary_statistics import row_of

cells = {
    "i": st.integers(-3, 3),
    "x": st.sampled_from([0.0, -0.0, 0.5, -1.5, math.inf, math.nan]),
    "s": st.sampled_from(["", "a", "é\0", "b" * 20]) | st.text("abc", max_size=2),
    "b": st.booleans(),
}
rows = st.lists(st.fixed_dictionaries({}, optional=cells), min_size=1, max_size=40)


def plain(found):
    return [(path, [(name, str(value)) for name, value, _ in figures]) for path, figures in starmap(row_of, found)]


@settings(max_examples=40)
@given(rows)
def test_by_column_as_by_cell(bench, rows):
    first = {"i": 1, "x": 0.5, "s": "a", "b": True}
    table = [(str(number), list(row.items())) for number, row in enumerate([first, *rows])]
    bench.dataset("t", table, "tabular")
    result = bench.services.query("SELECT i, x, s, b, x > 0 AS positive, TIMESTAMP i AS t FROM t")
    assert occurrences.is_columnar(result.type)
    progress = TaskProgress()
    assert plain(occurrences.by_column(result, progress)) == plain(occurrences.by_cell(result, progress))
    bench.services.delete("dataset", "t")


def test_values_are_merged_now_and_then(bench, monkeypatch):
    monkeypatch.setattr(occurrences, "_UNMERGED", 3)
    tally = occurrences.Tally(occurrences.Kind.INTEGER)
    for start in range(0, 20, 2):
        tally.add(occurrences.pa.array([start % 6, None, start, start]))
    found = tally.occurring()
    counted = dict(zip(found.texts(occurrences.np.arange(len(found.counts))), found.counts.tolist(), strict=True))
    assert found.nulls == 10
    assert sum(counted.values()) == 30
    assert counted["0"] == 2 + 4
    assert counted["18"] == 2
