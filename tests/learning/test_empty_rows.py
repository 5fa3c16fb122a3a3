"""An empty row is a row: functions called with one in SQL take it as they do over REST."""

from __future__ import annotations

import pytest

from tests.inprocess import in_process
from tests.learning.models import TRAININGS


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with in_process(tmp_path_factory.mktemp("empty") / "data") as server:
        server.must("PUT", "/v1/datasets/d", {"type": "sparse.mutable"})
        rows = [[f"r{n}", [["x", n, 0], ["y", n % 3, 0], ["label", n % 2, 0]]] for n in range(20)]
        server.must("POST", "/v1/datasets/d/multirows", rows)
        server.must("POST", "/v1/datasets/d/commit")
        for name, type_ in (("stemmer", "stemmer"), ("stop", "filter_stopwords"), ("hasher", "feature_hasher")):
            params = {"numBits": 2} if name == "hasher" else {}
            server.must("PUT", f"/v1/functions/{name}_", {"type": type_, "params": params})
        training = TRAININGS["tree"].config("tree_", "mem://tree.cls")
        training["params"]["trainingData"] = "SELECT {x, y} AS features, label FROM d"
        server.must("PUT", "/v1/procedures/tree", training)
        yield server


@pytest.mark.parametrize(
    ("call", "input_"),
    [("stemmer_", "words"), ("stop_", "words"), ("hasher_", "columns"), ("tree_", "features")],
)
def test_a_function_takes_an_empty_row(server, call, input_):
    def asked(query):
        return server.ask("GET", f"/v1/query?format=aos&q={query}".replace(" ", "%20"))

    status, answer = asked(f"SELECT {call}({{{input_}: {{}}}}) AS *")
    assert status == 200, answer
    _, given = server.ask("GET", f'/v1/functions/{call}/application?outputFormat=json&input={{"{input_}":{{}}}}')
    shown = {name: value for name, value in answer[0].items() if name != "_rowName"}
    assert shown == {
        f"{name}.{below}" if isinstance(of, dict) else name: value
        for name, of in given.items()
        for below, value in (of.items() if isinstance(of, dict) else [("", of)])
    }
    assert asked(f"SELECT {call}({{{input_}: {{nothing*}}}}) AS * FROM d LIMIT 1")[0] == 200
    assert asked(f"SELECT {call}({{}}) AS *")[0] == 400
