"""Single TensorFlow operations, in SQL and as functions, over REST."""

from __future__ import annotations

import math

import pytest


def value(client, expression):
    """The cells of an expression's value, in order."""
    return client.query(f"SELECT {expression} AS r")[1][1:]


def error(client, expression):
    answer = client.get_json("/v1/query", {"q": f"SELECT {expression} AS r"})
    assert answer.status_code == 400, answer.text
    return answer.json()["error"]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("tf_MatrixInverse([[1, 2], [3, 4]], {T: {type: 'DT_DOUBLE'}})", [-2, 1, 1.5, -0.5]),
        ("tf_MatrixInverse([[1, 2], [3, 4]])", [-2, 1, 1.5, -0.5]),
        ("tf_Cos(1.23, {T: {type: 'DT_DOUBLE'}})", [math.cos(1.23)]),
        ("tf_Add(1, 2)", [3]),
        ("tf_Add([1, 2], [0.5, 0.25])", [1.5, 2.25]),
        ("tf_MatMul([[1, 2], [3, 4]], [[1], [1]], {transpose_a: 1})", [4, 6]),
        ("tf_ConcatV2([1, 2], [3], 0)", [1, 2, 3]),
        ("tf_AddN([1, 2], [3, 4], [5, 6])", [9, 12]),
        ("tf_Reshape([1, 2, 3, 4], [2, 2])", [1, 2, 3, 4]),
        ("tf_ResizeNearestNeighbor([[[[1], [2]]]], [1, 4])", [1, 1, 2, 2]),
        ("blob_length(tf_EncodePng([[[1], [2]]], {T: {type: 'DT_UINT8'}})) > 60", [1]),
        ("tf_DecodePng(tf_EncodePng([[[1], [2]]], {T: {type: 'DT_UINT8'}}), {channels: 1})", [1, 2]),
        ("tf_StringLength('abc')", [3]),
        ("tf_Unique([3, 3, 4])[output_0]", [3, 4]),
    ],
)
def test_operations_in_sql(client, expression, expected):
    assert value(client, expression) == pytest.approx(expected)


def test_rows_of_a_dataset(client):
    client.put("/v1/datasets/angles", json={"type": "tabular"})
    client.post("/v1/datasets/angles/multirows", json=[[f"r{n}", [["x", n / 10, 0], ["y", n, 0]]] for n in range(70)])
    client.post("/v1/datasets/angles/commit")
    found = client.query("SELECT tf_Cos(x) AS c, tf_Mul([x, y], [2, 3]) AS m FROM angles")
    assert len(found) == 71
    rows = {row[0]: dict(zip(found[0], row, strict=True)) for row in found[1:]}
    assert rows["r42"]["c"] == pytest.approx(math.cos(4.2))
    assert (rows["r42"]["m.0"], rows["r42"]["m.1"]) == (pytest.approx(8.4), 126)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("tf_Nonsense(1)", "TensorFlow has no operation 'Nonsense'"),
        ("tf_ReadFile('/etc/passwd')", "'ReadFile' does more than compute"),
        ("tf_WriteFile('/tmp/x', 'y')", "'WriteFile' does more than compute"),
        ("tf_MatchingFiles('/etc/*')", "'MatchingFiles' does more than compute"),
        ("tf_PyFunc(1)", "'PyFunc' does more than compute"),
        ("tf_PyFuncStateless(1)", "'PyFuncStateless' does more than compute"),
        ("tf_Abort()", "'Abort' does more than compute"),
        ("tf_RestoreV2('/x', 'y', 'z')", "'RestoreV2' does more than compute"),
        ("tf_DebugIdentity(1, {debug_urls: ['file:///tmp/x']})", "'DebugIdentity' does more than compute"),
        ("tf_Cos(1, {T: {type: 'DT_NONSENSE'}})", "bad value of the attribute 'T'"),
        ("tf_Cos(1, {U: 1})", "has no attribute 'U'"),
        ("tf_Cos(1, 2)", "takes 1 inputs, got 2"),
        ("tf_Cos({a: 1}, {})", "not a row"),
        ("tf_MatMul([[1, 2]], [[1, 2]])", "Dimensions must be equal"),
        ("tf_MatrixInverse([[1, 2], [2, 4]])", "Input is not invertible"),
    ],
)
def test_what_is_refused(client, expression, message):
    assert message in error(client, expression)


def test_an_operation_as_a_function(client):
    params = {"op": "Sub", "attr": {"T": {"type": "DT_DOUBLE"}}, "inputs": "b, a"}
    client.put("/v1/functions/minus", json={"type": "tensorflow.op", "params": params})
    asked = {"input": {"a": 1, "b": [5, 6]}, "outputFormat": "json"}
    assert client.get_json("/v1/functions/minus/application", asked).json() == {"output": [4, 5]}
    params = {"op": "TopKV2", "inputs": "x, k", "inputType": "DT_INT32"}
    client.put("/v1/functions/top", json={"type": "tensorflow.op", "params": params})
    asked = {"input": {"x": [3, 9, 5], "k": 2}, "outputFormat": "json"}
    assert client.get_json("/v1/functions/top/application", asked).json() == {"output_0": [9, 5], "output_1": [1, 2]}
    answer = client.put("/v1/functions/bad", json={"type": "tensorflow.op", "params": {"op": "Cos", "inputType": "x"}})
    assert answer.status_code == 400


def test_a_constant_of_a_graph(client, server, graphs):
    copy = server.data_dir.resolve() / "vector.pb"
    copy.write_bytes((graphs / "vector.pb").read_bytes())
    params = {"modelFileUrl": f"file://{copy}", "inputs": "x", "outputs": "y"}
    answer = client.put("/v1/functions/graph", json={"type": "tensorflow.graph", "params": params})
    assert answer.status_code == 201, answer.text
    assert value(client, "tf_extract_constant('graph', ['layer', 'weights'])") == [1, 2, 3, 4]
    assert value(client, "tf_extract_constant('graph', ['y', 'y'])") == [1]
    assert "has no node 'layer/none'" in error(client, "tf_extract_constant('graph', ['layer', 'none'])")
    assert "is no function of type tensorflow.graph" in error(client, "tf_extract_constant('nobody', ['x'])")
