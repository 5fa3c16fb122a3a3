"""Datasets that a parameter describes go with what they were made for: a run, a function, a view."""

from __future__ import annotations

import pytest

from tests.inprocess import in_process

RATINGS = {"type": "sampled", "params": {"dataset": "d", "rows": 2}}


@pytest.fixture
def server(tmp_path):
    with in_process(tmp_path / "data") as server:
        server.must("PUT", "/v1/datasets/d", {"type": "sparse.mutable"})
        rows = [[f"r{n}", [["x", n, 0], ["y", n % 3, 0], ["label", n % 2, 0]]] for n in range(9)]
        server.must("POST", "/v1/datasets/d/multirows", rows)
        server.must("POST", "/v1/datasets/d/commit")
        yield server


def datasets(server):
    return set(server.must("GET", "/v1/datasets"))


def test_of_a_procedure_and_its_runs(server):
    params = {"inputData": {"from": RATINGS}, "outputDataset": "out", "runOnCreation": False}
    server.must("PUT", "/v1/procedures/p", {"type": "transform", "params": params})
    assert datasets(server) == {"d"}
    server.must("POST", "/v1/procedures/p/runs", {})
    assert datasets(server) == {"d", "out"}
    assert server.must("GET", "/v1/datasets/out")["status"]["rowCount"] == 2
    training = {"trainingData": {"select": "x, y", "from": RATINGS}, "numClusters": 2, "modelFileUrl": "mem://k"}
    server.must("PUT", "/v1/procedures/k", {"type": "kmeans.train", "params": training})
    assert datasets(server) == {"d", "out"}


def test_of_a_run_that_fails(server):
    params = {"inputData": {"select": "nothing(x)", "from": RATINGS}, "outputDataset": "out"}
    status, _ = server.ask("PUT", "/v1/procedures/p", {"type": "transform", "params": params})
    assert status == 400
    assert datasets(server) == {"d"}


def test_of_a_function(server):
    config = {"type": "tokensplit", "params": {"tokens": {"from": RATINGS}}}
    server.must("PUT", "/v1/functions/f", config)
    (made,) = datasets(server) - {"d"}
    server.must("PUT", "/v1/functions/f", config)
    (other,) = datasets(server) - {"d"}
    assert other != made
    server.must("DELETE", "/v1/functions/f")
    assert datasets(server) == {"d"}


def test_of_a_view(server):
    view = {
        "type": "merged",
        "persistent": True,
        "params": {"datasets": [{"id": "d"}, {**RATINGS, "persistent": True}]},
    }
    server.must("PUT", "/v1/datasets/v", view)
    server.must("PUT", "/v1/datasets/w", {**view, "id": "w"})
    assert len(datasets(server)) == 5
    server.must("DELETE", "/v1/datasets/w")
    assert len(datasets(server)) == 3
    status, _ = server.ask("PUT", "/v1/datasets/x", {"type": "merged", "params": {"datasets": [RATINGS, {"id": "no"}]}})
    assert status >= 400
    assert len(datasets(server) - {"x"}) == 3  # the failure is shown


def test_a_restored_view_takes_what_it_was_made_with(tmp_path):
    with in_process(tmp_path / "data") as server:
        server.must("PUT", "/v1/datasets/d", {"type": "tabular", "persistent": True})
        server.must("POST", "/v1/datasets/d/commit")
        inner = {"type": "transposed", "persistent": True, "params": {"dataset": {"id": "d"}}}
        view = {"type": "transposed", "persistent": True, "params": {"dataset": inner}}
        server.must("PUT", "/v1/datasets/v", view)
        assert len(datasets(server)) == 3
    with in_process(tmp_path / "data") as server:
        assert len(datasets(server)) == 3
        server.must("GET", "/v1/query?q=SELECT%20*%20FROM%20v")
        server.must("DELETE", "/v1/datasets/v")
        assert datasets(server) == {"d"}


def test_one_that_has_an_id_stays_and_is_found_again(server):
    named = {"id": "named", **RATINGS}
    params = {"inputData": {"from": named}, "outputDataset": "out"}
    server.must("PUT", "/v1/procedures/p", {"type": "transform", "params": params})
    server.must("POST", "/v1/procedures/p/runs", {})
    assert datasets(server) == {"d", "named", "out"}
