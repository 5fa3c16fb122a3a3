"""Datasets over REST: what they say of themselves, refusals, and what survives a kill."""

import pytest

from tests.inprocess import in_process


def put(client, id, type, **params):
    answer = client.put(f"/v1/datasets/{id}", json={"type": type, "params": params})
    return answer.status_code, answer.json()


def test_status_and_refusals(client):
    code, body = put(client, "s", "sparse.mutable")
    assert (code, body["status"]) == (201, {"columnCount": 0, "rowCount": 0, "valueCount": 0})
    rows = [["r1", [["x", 1, 0], ["y.z", "t", 0]]], ["r2", [["x", 2.5, 0]]]]
    assert client.post("/v1/datasets/s/multirows", json=rows).status_code == 200
    assert client.post("/v1/datasets/s/commit").status_code == 200
    assert client.get("/v1/datasets/s").json()["status"] == {"columnCount": 2, "rowCount": 2, "valueCount": 3}
    assert client.get("/v1/datasets/s/rows").json() == ["r2", "r1"]
    assert client.get("/v1/datasets/s/columns").json() == ["x", "y.z"]
    assert put(client, "m", "merged", datasets=[{"id": "s"}])[0] == 201
    answer = client.post("/v1/datasets/m/rows", json={"rowName": "a", "columns": []})
    assert (answer.status_code, answer.json()["error"]) == (400, "Dataset type 'merged' doesn't allow recording")


@pytest.mark.parametrize(
    ("type", "params", "message"),
    [
        ("merged", {"datasets": []}, "Attempt to merge no datasets together"),
        ("union", {"datasets": []}, "Attempt to unify no datasets together"),
        ("merged", {"datasets": [{"id": "absent"}]}, "dataset entry 'absent' doesn't exist"),
        ("sampled", {}, "You need to define the dataset key"),
        *(
            (
                type_,
                {"timeQuantumSeconds": 1.5},
                f"error parsing {type_} configuration: "
                "field 'timeQuantumSeconds': above 1 it must be a whole number of seconds",
            )
            for type_ in ("sparse.mutable", "beh.mutable")
        ),
        (
            "sampled",
            {"dataset": {"id": "s"}, "rows": 1, "fraction": 0.5},
            "The 'rows' and 'fraction' parameters cannot be set at the same time.",
        ),
        (
            "sampled",
            {"dataset": {"id": "s"}, "fraction": 2},
            "The 'fraction' parameter needs to be between 0 and 1. Value provided is '2.0000'",
        ),
    ],
)
def test_views_refuse_bad_parameters(client, type, params, message):
    code, body = put(client, "bad", type, **params)
    assert code in (400, 404)
    assert body["error"] == message


def test_merged_refuses_bare_names(client):
    assert put(client, "bad", "merged", datasets=["s"])[0] == 400


def test_committed_data_survive_a_kill_and_orphans_go(start_server, tmp_path):
    server = start_server()
    with server.client() as client:
        for id, type in (("s", "sparse.mutable"), ("t", "tabular"), ("e", "embedding"), ("gone", "sparse.mutable")):
            assert put(client, id, type)[0] == 201
            row = {"rowName": "r", "columns": [["x", 1, 0]]}
            assert client.post(f"/v1/datasets/{id}/rows", json=row).status_code == 200
            assert client.post(f"/v1/datasets/{id}/commit").status_code == 200
        assert put(client, "view", "transposed", dataset={"id": "s"})[0] == 201
        assert client.delete("/v1/datasets/gone").status_code == 204
        assert client.post("/v1/datasets/s/rows", json={"rowName": "lost", "columns": []}).status_code == 200
    server.kill()
    with start_server(data_dir=server.data_dir).client() as client:
        assert client.get("/v1/datasets").json() == ["e", "s", "t", "view"]
        for id in "set":
            assert client.get(f"/v1/datasets/{id}/rows").json() == ["r"]
        assert client.get("/v1/datasets/view").json()["state"] == "ok"


def test_reading_before_the_commit(client):
    """An embedding without rows and a binary behaviour dataset can be read; what would hide rows is an error."""
    for name, type in (("early", "embedding"), ("bits", "beh.binary.mutable"), ("plain", "beh.mutable")):
        client.put(f"/v1/datasets/{name}", json={"type": type})
    assert client.query("SELECT * FROM early") == [["_rowName"]]
    client.post("/v1/datasets/early/rows", json={"rowName": "r", "columns": [["x", 1, 0]]})
    answer = client.get_json("/v1/query", {"q": "SELECT * FROM early"})
    assert "has not been committed yet" in answer.json()["error"]
    assert client.query("SELECT * FROM bits") == [["_rowName"]]
    for row, column in (("a", "x"), ("b", "y")):
        client.post("/v1/datasets/bits/rows", json={"rowName": row, "columns": [[column, 1, 0]]})
        assert row in [name for name, *_ in client.query("SELECT * FROM bits")]
    client.post("/v1/datasets/bits/commit")
    assert len(client.query("SELECT * FROM bits")) == 3
    answer = client.post("/v1/datasets/bits/rows", json={"rowName": "c", "columns": [["x", 1, 0]]})
    assert "committed already" in answer.json()["error"]
    answer = client.get_json("/v1/query", {"q": "SELECT * FROM plain"})
    assert "uncommitted" in answer.json()["error"]


ROWS = [
    ["a", [["x", 1, "2015-01-01T00:00:00Z"], ["x", 3, "2016-01-01T00:00:00Z"], ["y", "t", 0]]],
    ["b", [["x", 2.5, 0]]],
]
VECTORS = [["a", [["x", 1, 0], ["y", 2, 0]]], ["b", [["x", 2, 0], ["y", 3, 0]]]]


@pytest.fixture
def saved(client):
    """Datasets of every way to lie, and views."""
    for id, type, rows in (
        ("cells", "sparse.mutable", ROWS),
        ("nested", "structured.mutable", ROWS),
        ("vectors", "embedding", VECTORS),
        ("table", "tabular", [ROWS[1]]),
    ):
        assert put(client, id, type)[0] == 201
        client.post(f"/v1/datasets/{id}/multirows", json=rows).raise_for_status()
        client.post(f"/v1/datasets/{id}/commit").raise_for_status()
    assert put(client, "view", "merged", datasets=[{"id": "cells"}, {"id": "vectors"}])[0] == 201
    assert put(client, "turned", "transposed", dataset={"id": "cells"})[0] == 201
    return client


@pytest.mark.parametrize(
    ("id", "loaded_as"),
    [("cells", "beh"), ("nested", "beh"), ("vectors", "tabular"), ("table", "tabular"), ("view", "beh"),
     ("turned", "beh")],
)  # fmt: skip
def test_every_dataset_can_be_saved_and_loaded(saved, server, id, loaded_as):
    url = f"file://{server.data_dir.resolve()}/{id}.saved"
    answer = saved.post(f"/v1/datasets/{id}/routes/saves", json={"dataFileUrl": url})
    assert (answer.status_code, answer.json()) == (200, {"type": loaded_as, "params": {"dataFileUrl": url}})
    assert put(saved, "again", loaded_as, dataFileUrl=url)[0] == 201
    before, after = (saved.query(f"SELECT * FROM {name} ORDER BY rowName()", "full") for name in (id, "again"))
    assert before
    assert [(row["rowName"], sorted(row["columns"], key=str)) for row in before] == [
        (row["rowName"], sorted(row["columns"], key=str)) for row in after
    ]


@pytest.mark.parametrize("id", ["cells", "view", "turned"])
def test_profiles_show_what_columns_hold(saved, id):
    shown = saved.get(f"/v1/datasets/{id}/profile").json()
    assert shown["columns"]
    assert all(column["filled"] > 0 and column["top"] for column in shown["columns"])
    if id != "turned":
        assert {column["name"] for column in shown["columns"]} == {"x", "y"}


def test_views_and_embeddings_tell_how_large_they_are(client):
    for name, rows in (("one", 3), ("two", 2)):
        client.put(f"/v1/datasets/{name}", json={"type": "sparse.mutable"}).raise_for_status()
        recorded = [[f"r{number}", [["x", 1, 0], ["y", 2, 0]]] for number in range(rows)]
        client.post(f"/v1/datasets/{name}/multirows", json=recorded).raise_for_status()
        client.post(f"/v1/datasets/{name}/commit").raise_for_status()
    one, two = ({"columnCount": 2, "rowCount": rows, "valueCount": 2 * rows} for rows in (3, 2))
    both = {"datasets": [{"id": "one"}, {"id": "two"}]}
    inputs = {"datasets": {"one": one, "two": two}}
    over = {"columnCount": 3, "rowCount": 2, "valueCount": 6, "datasets": {"one": one}}
    for type_, params, expected in (
        ("merged", both, inputs),
        ("union", both, {"rowCount": 5, **inputs}),
        ("transposed", {"dataset": "one"}, over),
        ("sampled", {"dataset": "one", "rows": 2}, {"rowCount": 2, "datasets": {"one": one}}),
        ("sampled", {"dataset": "one", "fraction": 0.5}, {"rowCount": 1, "datasets": {"one": one}}),
        ("joined", {"left": {"id": "one"}, "right": {"id": "two"}}, inputs),
    ):
        answer = client.put(f"/v1/datasets/view-{type_}", json={"type": type_, "params": params})
        client.delete("/v1/datasets/view-sampled")  # there are two of them
        assert (answer.status_code, answer.json()["status"]) == (201, expected)
    client.delete("/v1/datasets/two").raise_for_status()
    assert client.get("/v1/datasets/view-union").json()["status"] == {"datasets": {"one": one, "two": None}}
    client.put("/v1/datasets/vectors", json={"type": "embedding"}).raise_for_status()
    client.post("/v1/datasets/vectors/multirows", json=[["a", [["x", 1, 0], ["y", 2, 0]]]]).raise_for_status()
    client.post("/v1/datasets/vectors/commit").raise_for_status()
    assert client.get("/v1/datasets/vectors").json()["status"] == {"columnCount": 2, "rowCount": 1}


def merged(client, id, *inputs):
    return put(client, id, "merged", datasets=[{"id": input_} for input_ in inputs])


def test_views_of_views_are_asked_once_each(client):
    """Each of thirty levels has two views of both views below: 2^30 ways lead to the bottom."""
    put(client, "left0", "sparse.mutable")
    put(client, "right0", "sparse.mutable")
    for level in range(1, 31):
        for side in ("left", "right"):
            code, body = merged(client, f"{side}{level}", f"left{level - 1}", f"right{level - 1}")
            assert code == 201, body
    assert body["status"] == {"datasets": {"left29": {}, "right29": {}}}
    put(client, "over", "union", datasets=[{"id": "left1"}, {"id": "left0"}])
    empty = {"columnCount": 0, "rowCount": 0, "valueCount": 0}
    assert client.get("/v1/datasets/over").json()["status"] == {"datasets": {"left0": empty, "left1": {}}}
    answer = client.get_json("/v1/query", {"q": "SELECT * FROM left30"})
    assert answer.status_code == 400
    assert (
        "a query may read 1000 views (the setting is query_views), and views of views 50 deep" in answer.json()["error"]
    )
    assert client.query("SELECT * FROM left3") == [["_rowName"]]


def test_no_view_is_made_of_itself(client):
    put(client, "ground", "sparse.mutable")
    assert merged(client, "first", "ground")[0] == 201
    assert merged(client, "second", "first")[0] == 201
    for id, *inputs in (("ground", "ground"), ("ground", "second"), ("second", "ground", "second")):
        code, body = merged(client, id, *inputs)
        assert (code, body["error"]) == (400, f"Dataset '{id}' cannot be made of itself")
    # Names in a table expression are looked up by each query.
    assert put(client, "ground", "joined", left="second AS a", right="second AS b")[0] == 201
    answer = client.get_json("/v1/query", {"q": "SELECT * FROM second"})
    assert (answer.status_code, answer.json()["error"]) == (
        400,
        "Dataset 'second' is made of itself: second of first of ground of second",
    )
    assert client.get("/v1/datasets/second").status_code == 200


def test_the_views_of_a_query_have_a_setting(tmp_path):
    with in_process(tmp_path / "data", query_views=3) as server:
        server.must("PUT", "/v1/datasets/d", {"type": "tabular"})
        server.must("POST", "/v1/datasets/d/commit")
        for number, of in enumerate(["d", "v0", "v1", "v2"]):
            server.must("PUT", f"/v1/datasets/v{number}", {"type": "transposed", "params": {"dataset": {"id": of}}})
        server.must("GET", "/v1/query?q=SELECT%201%20FROM%20v2")
        status, answer = server.ask("GET", "/v1/query?q=SELECT%201%20FROM%20v3")
        assert status == 400
        assert "a query may read 3 views (the setting is query_views)" in answer["error"]


def test_the_size_of_a_behaviour_dataset_is_measured_once_for_each_content(tmp_path, monkeypatch):
    measured = []
    with in_process(tmp_path / "data") as server:
        server.must("PUT", "/v1/datasets/b", {"type": "beh.mutable"})
        server.must("POST", "/v1/datasets/b/multirows", [[f"r{n}", [["x", n, 0], ["y", n / 3, 0]]] for n in range(999)])
        server.must("POST", "/v1/datasets/b/commit")
        database = server._services.database
        with database.cursor() as cursor:
            cursor.execute("CHECKPOINT")
        size = server.must("GET", "/v1/datasets/b")["status"]["memUsageMb"]
        assert size > 0
        cursor_of = database.cursor
        monkeypatch.setattr(database, "cursor", lambda: measured.append(1) or cursor_of())
        for _ in range(3):
            assert server._services.dataset("b").status()["memUsageMb"] == size
        assert not measured
