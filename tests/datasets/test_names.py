"""Names that could not be read again are refused where they would be stored, whatever they come from."""

from __future__ import annotations

from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.inprocess import in_process


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("names")
    (folder / "data").mkdir()
    (folder / "data" / "a.csv").write_bytes(b"a\0b,c\n1,2\n")
    (folder / "data" / "a.json").write_text('{"a\\u0000b": 1, "c": 2}\n')
    pq.write_table(pa.table({"a\0b": [1], "c": ["x\0y"]}), folder / "data" / "a.parquet")
    with in_process(folder / "data") as server:
        server.folder = (folder / "data").resolve()
        params = {"inputData": "SELECT 'x\0y z' AS t, 1 AS n", "outputDataset": "texts"}
        server.must("PUT", "/v1/procedures/texts", {"type": "transform", "params": params})
        yield server


CASES = [
    ("import.text", "a.csv", "column"),
    ("import.json", "a.json", "column"),
    ("import.parquet", "a.parquet", "column"),
    ("transform", "SELECT tokenize(t, {splitChars: ' '}) AS * FROM texts", "column"),
    ("transform", "SELECT parse_json('{\"a\\u0000b\": 1}') AS *", "column"),
    ("transform", "SELECT pivot(t, n) AS * FROM texts GROUP BY 1", "column"),
    ("transform", 'SELECT 1 AS "a\0b"', "column"),
    ("transform", "SELECT n NAMED t FROM texts", "row"),
    ("transform", "SELECT n, parse_json('{\"a\": 1}') AS * NAMED t FROM texts", "row"),
]


@pytest.mark.parametrize("dataset", ["sparse.mutable", "tabular", "beh.mutable"])
@pytest.mark.parametrize(("procedure", "source", "kind"), CASES)
def test_a_name_with_a_nul_is_refused(server, procedure, source, kind, dataset):
    given = {"inputData": source} if procedure == "transform" else {"dataFileUrl": f"file://{server.folder}/{source}"}
    params = {**given, "outputDataset": {"id": "made", "type": dataset}}
    status, answer = server.ask("PUT", "/v1/procedures/p", {"type": procedure, "params": params})
    assert status == 400
    text = answer["details"]["runError"]["error"]
    assert text.startswith(f"The {kind} name ") or "nulls are not accepted" in text, text
    assert "made" not in server.must("GET", "/v1/datasets")


def test_a_nul_in_a_value_is_kept(server):
    found = server.must("GET", "/v1/query?format=table&q=" + quote("SELECT t FROM texts"))
    assert found[1][1] == "x\0y z"
