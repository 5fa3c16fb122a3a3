"""import.json reads lines by the column: the same datasets as recording them cell by cell."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.errors import MldbError
from server.transfer import import_json
from server.transfer.jsoncolumns import json_text
from server.transfer.jsontypes import atom_of
from tests.effort import cases
from tests.transfer.seen import described

NAMES = st.sampled_from(["a", "b", "a.b", "", "0", "é", 'q"', "c d"])
EDGES = [2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 2**63, 2**64 - 1, 2**64, 10**30, -(10**30)]
NUMBERS = st.sampled_from([0, 1, -3, 0.0, -0.0, 0.5, 2.0, 1e17, -1e300, *EDGES])
ATOMS = NUMBERS | st.none() | st.booleans() | st.sampled_from(["", "x", "é\1", "1"])
VALUES = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=5)


def cells_of(path, value, arrays):
    """Path and atom of each leaf, one by one."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield from cells_of((*path, name), member, arrays)
    elif isinstance(value, list) and arrays == "parse":
        for index, item in enumerate(value):
            yield from cells_of((*path, str(index)), item, arrays)
    elif isinstance(value, list) and not any(isinstance(item, dict | list) for item in value):
        for name in dict.fromkeys(item if isinstance(item, str) else json_text(item) for item in value):
            yield (*path, name), 1
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield (*path, str(index)), json_text(item) if isinstance(item, dict | list) else atom_of(item)
    else:
        yield path, atom_of(value)


def record(bench, config, objects, arrays, time):
    bench.services.create("dataset", config)
    dataset = bench.services.dataset(config["id"])
    dataset.record_rows(
        ((str(number),), [(path, atom, time) for path, atom in cells_of((), value, arrays)])
        for number, value in enumerate(objects, 1)
    )
    dataset.commit()


def agree(bench, monkeypatch, objects, config, arrays="parse", size=1 << 20):
    """Lines imported in blocks of some bytes are the same dataset as their cells recorded one by one."""
    monkeypatch.setattr(import_json, "BLOCK_BYTES", size)
    lines = [json.dumps(value, ensure_ascii=False) for value in objects]
    url = bench.file("f.json", "\n".join(lines))
    bench.run("import.json", dataFileUrl=url, outputDataset={"id": "new", **config}, arrays=arrays)
    time = bench.services.urls.stat(url).last_modified
    record(bench, {"id": "old", **config}, map(orjson.loads, lines), arrays, time)
    assert described(bench, "new") == described(bench, "old")
    for id_ in ("new", "old"):
        bench.services.delete("dataset", id_)


TABLE = {"type": "tabular", "params": {"unknownColumns": "add"}}
CONFIGS = {
    "add": TABLE,
    "ignore": {"type": "tabular", "params": {"unknownColumns": "ignore"}},
    "sparse": {"type": "sparse.mutable"},
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("arrays", ["parse", "encode"])
@settings(max_examples=cases(5))
@given(objects=st.lists(OBJECTS, max_size=12), size=st.sampled_from([20, 200, 1 << 20]))
def test_by_column_as_cell_by_cell(bench, monkeypatch, config, arrays, objects, size):
    agree(bench, monkeypatch, objects, config, arrays, size)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("size", [2000, 1 << 20])
def test_columns_that_few_lines_have(bench, monkeypatch, config, size):
    """More than are added to a table one by one, and so rare that they are handed on as cells."""
    objects = [{"n": n, f"c{n % 90}": n, f"d{n // 90}": None if n % 7 else "x"} for n in range(400)]
    agree(bench, monkeypatch, objects, config, size=size)


def test_kinds_that_change_from_block_to_block(bench, monkeypatch):
    kinds = [1, 0.5, "x", 2**53 + 1, 2**63, None, True]
    pairs = [(first, later) for first in kinds for later in kinds]
    lines = [{str(n): pair[at] for n, pair in enumerate(pairs)} for at in (0, 1)]
    agree(bench, monkeypatch, [lines[0], {}, lines[1], {str(n): 7 for n in range(len(pairs))}], TABLE, size=8)


def test_a_column_may_come_again_as_an_object(bench, monkeypatch):
    agree(bench, monkeypatch, [{"b": {"z": 1}, "a": 1}, {"a": {"y": [2]}, "b": 3}, {"a": [{"y": 1}]}], TABLE)


def test_names_with_nul_are_refused(bench):
    url = bench.file("f.json", '{"a": 1}\n{"a\\u0000": 1}')
    for output in (TABLE, CONFIGS["sparse"]):
        with pytest.raises(MldbError, match="NUL character"):
            bench.run("import.json", dataFileUrl=url, outputDataset={"id": "new", **output})


@pytest.mark.parametrize(("unknown", "found"), [("error", None), ("ignore", {"2": {"a": 1}, "3": {"a": None}})])
def test_columns_that_the_first_line_lacks(bench, unknown, found):
    url = bench.file("f.json", 'bad\n{"a": 1}\n{"b": 2}')
    output = {"id": "x", "params": {"unknownColumns": unknown}}
    params = {"dataFileUrl": url, "outputDataset": output, "offset": 1}
    if found is None:
        with pytest.raises(MldbError, match="unknownColumns=ERROR"):
            bench.run("import.json", **params)
    else:
        bench.run("import.json", **params)
        assert bench.rows("SELECT * FROM x") == found


LINES = ["", '{"a": 1}', "{", '{"a": 2}', "[1]", '{"a": 3}', " \t", '{"a": 4}', "7", '{"a": 5}']


@pytest.mark.parametrize("size", [1, 20, 1 << 20])
@pytest.mark.parametrize(("offset", "limit"), [(0, -1), (1, 4), (3, 1), (0, 0), (9, 5), (40, -1)])
def test_offset_limit_and_bad_lines(bench, monkeypatch, size, offset, limit):
    monkeypatch.setattr(import_json, "BLOCK_BYTES", size)
    read = list(enumerate(LINES, 1))[offset:][: None if limit < 0 else limit]
    good = {str(number): json.loads(line) for number, line in read if line.startswith('{"')}
    params = {"dataFileUrl": bench.file("f.json", "\n".join(LINES) + "\n\n"), "offset": offset, "limit": limit}
    for output in CONFIGS.values():
        status = bench.run("import.json", outputDataset={"id": "x", **output}, ignoreBadLines=True, **params)
        assert status == {"rowCount": len(good), "numLineErrors": len(read) - len(good)}
        assert bench.rows("SELECT a FROM x ORDER BY CAST (rowName() AS INTEGER)") == good
    if len(good) < len(read):
        with pytest.raises(MldbError, match="Error parsing JSON row: ") as caught:
            bench.run("import.json", outputDataset="x", **params)
        first = next((number, line) for number, line in read if str(number) not in good)
        assert (caught.value.details["lineNumber"], caught.value.details["line"]) == first
