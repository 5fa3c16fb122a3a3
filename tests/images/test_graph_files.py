"""Copies of graphs go with the last function that runs them, and at the start those that nobody runs."""

from __future__ import annotations

import pytest


def files(server) -> set[str]:
    return {path.name for path in (server.data_dir / "models" / "graphs").glob("*")}


def operations(server) -> set[str]:
    return {path.name for path in (server.data_dir / ".scratch" / "graphs").glob("*")}


@pytest.fixture
def graph(server, graphs):
    copy = server.data_dir.resolve() / "vector.pb"
    copy.write_bytes((graphs / "vector.pb").read_bytes())
    return {"type": "tensorflow.graph", "params": {"modelFileUrl": f"file://{copy}", "inputs": "x", "outputs": "y"}}


def test_graphs_of_an_operation_go_with_it(server, client):
    config = {"type": "tensorflow.op", "params": {"op": "MatrixInverse", "inputs": "x"}}
    assert client.put("/v1/functions/inverse", json=config).status_code == 201
    before = operations(server)
    assert client.query("SELECT tf_MatrixInverse([[2.0, 0.0], [0.0, 4.0]]) AS *")
    of_query = operations(server)
    assert len(of_query) == len(before) + 1
    assert client.query("SELECT inverse({x: [[2.0, 0.0], [0.0, 4.0]]}) AS *")
    assert len(operations(server)) == len(of_query) + 1
    client.delete("/v1/functions/inverse").raise_for_status()
    assert operations(server) == of_query


def test_functions_of_one_graph_share_its_copy(server, client, graph):
    for name in ("one", "two"):
        assert client.put(f"/v1/functions/{name}", json=graph).status_code == 201
    assert len(files(server)) == 1
    client.delete("/v1/functions/one").raise_for_status()
    assert len(files(server)) == 1
    assert client.put("/v1/functions/two", json={"type": "sql.expression", "params": {"expression": "1"}}).is_success
    assert files(server) == set()


def test_a_graph_that_cannot_be_used_leaves_nothing(server, client, graph):
    before = files(server)
    graph["params"]["outputs"] = "none"
    assert client.put("/v1/functions/wrong", json=graph).status_code == 400
    assert files(server) == before


def test_a_start_removes_what_nobody_runs(start_server, graphs, tmp_path):
    folder = tmp_path / "data"
    copies = folder / "models" / "graphs"
    copies.mkdir(parents=True)
    (copies / "op-old.pb").write_bytes(b"x")
    (copies / "0123.pb").write_bytes(b"x")
    (folder / "vector.pb").write_bytes((graphs / "vector.pb").read_bytes())
    params = {"modelFileUrl": f"file://{folder.resolve()}/vector.pb", "inputs": "x", "outputs": "y"}
    config = {"type": "tensorflow.graph", "persistent": True, "params": params}
    server = start_server(data_dir=folder)
    with server.client() as client:
        assert files(server) == set()
        assert client.put("/v1/functions/graph", json=config).status_code == 201
        (kept,) = files(server)
    server.stop()
    (copies / "0123.pb").write_bytes(b"x")
    server = start_server(data_dir=folder)
    with server.client() as client:
        assert client.get("/v1/functions/graph").json()["state"] in ("ok", "initializing")
        assert files(server) == {kept}
