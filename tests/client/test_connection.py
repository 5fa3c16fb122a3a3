"""The client as code written for pymldb 0.8.1 uses it, and what it adds: tokens, polars, Arrow, coroutines."""

from __future__ import annotations

import asyncio
import datetime
import sys
import threading

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pymldb import AsyncConnection, Connection, ResourceError
from pymldb.connection import tracked_parts
from pymldb.data import BatFrame
from pymldb.resource import Resource

from runtime.calls import RunWatch
from tests.waiting import until


@pytest.fixture(scope="module")
def mldb(server):
    mldb = Connection(server.url, notebook=False)
    mldb.put("/v1/datasets/people", {"type": "tabular"})
    rows = [["ann", [["age", 31, 0], ["town", "Köln", 0]]], ["bob", [["age", 19, 0]]], ["cy", [["age", 44, 0]]]]
    mldb.post("/v1/datasets/people/multirows", rows)
    mldb.post("/v1/datasets/people/commit")
    return mldb


def test_queries_give_frames_by_row_name(mldb):
    frame = mldb.query("SELECT age, town FROM people ORDER BY age")
    expected = pd.DataFrame.from_records(
        [["bob", 19, None], ["ann", 31, "Köln"], ["cy", 44, None]],
        columns=["_rowName", "age", "town"],
        index="_rowName",
    )
    pd.testing.assert_frame_equal(frame, expected)
    assert mldb.query("SELECT * FROM people WHERE age > 99").empty


def test_other_formats_are_the_routes_own(mldb):
    assert mldb.query("SELECT age FROM people ORDER BY age", format="soa", rowNames=False) == {"age": [19, 31, 44]}
    assert mldb.query("SELECT $n AS n", format="table", params={"n": 3}, rowNames=False) == [["n"], [3]]


def test_a_resource_by_its_address(mldb):
    one = Resource(mldb.uri)
    assert str(one) == mldb.uri
    assert str(one.v1("a b").c) == f"{mldb.uri}/v1/a%20b/c"
    assert "people" in one.v1.datasets.get_json().json()
    assert one.v1.datasets("made").put_json({"type": "sparse.mutable"}).status_code == 201
    assert one.v1.datasets("made").delete().status_code == 204


def test_polars_and_arrow(mldb):
    query = "SELECT age, town FROM people ORDER BY age"
    table = mldb.query(query, format="arrow")
    assert isinstance(table, pa.Table)
    assert table.column_names == ["_rowName", "age", "town"]
    assert table["age"].to_pylist() == [19, 31, 44]
    frame = mldb.query(query, format="polars")
    assert isinstance(frame, pl.DataFrame)
    assert frame.filter(pl.col("age") > 30)["_rowName"].to_list() == ["ann", "cy"]


def test_columns_that_only_rows_know_become_columns_of_arrow(mldb):
    """Rows of a sparse dataset, values of several types."""
    mldb.put("/v1/datasets/mixed", {"type": "sparse.mutable"})
    rows = [["a", [["x", 2, 5], ["ß", "eins", 0]]], ["b", [["x", 2.5, 0], ["ß", 7, 0], ["z", 8, 0]]]]
    mldb.post("/v1/datasets/mixed/multirows", rows)
    mldb.post("/v1/datasets/mixed/commit")
    found = mldb.query("SELECT parse_json(print_json({*})) AS j FROM mixed ORDER BY rowName()", format="arrow")
    assert found.column_names == ["_rowName", "j.x", "j.ß", "j.z"]
    assert found["j.x"].to_pylist() == [2.0, 2.5]
    assert found["j.ß"].to_pylist() == ["eins", "7.0"]
    assert found["j.z"].to_pylist() == [None, 8]
    assert mldb.query("SELECT x FROM mixed ORDER BY rowName()", format="polars")["x"].to_list() == [2.0, 2.5]


def test_errors_say_which_request_failed_and_why(mldb):
    with pytest.raises(ResourceError, match=r"'404 Not Found' response to 'GET .*/v1/datasets/nobody'") as caught:
        mldb.get("/v1/datasets/nobody")
    assert "nobody" in str(caught.value)
    assert caught.value.result.json()["httpCode"] == 404
    with pytest.raises(ValueError, match="must start with 'http'"):
        Connection("localhost:8080")


def test_errors_of_queries_end_with_their_place(mldb):
    with pytest.raises(ResourceError) as caught:
        mldb.query("SELECT 1 +")
    assert str(caught.value).endswith("\nSELECT 1 +\n          ^")
    broken = {"type": "transform", "params": {"inputData": "SELECT x FROM", "outputDataset": "out"}}
    with pytest.raises(ResourceError) as caught:
        mldb.put("/v1/procedures/broken", broken)
    assert str(caught.value).splitlines()[-2] == "SELECT x FROM"


def test_timestamps_are_timestamps_in_frames(mldb):
    frame = mldb.query("SELECT TIMESTAMP '2024-05-01T12:00:00.25Z' AS t", format="polars")
    assert frame["t"][0] == datetime.datetime(2024, 5, 1, 12, 0, 0, 250000, datetime.UTC)
    table = mldb.query("SELECT to_timestamp('') AS none, to_timestamp(1e300) AS far", format="arrow")
    assert (table["none"][0].as_py(), table["far"].type) == (None, "double")


def test_a_library_that_is_not_there_is_named_with_the_remedy(mldb, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ModuleNotFoundError, match="the extra 'client' brings it"):
        mldb.query("SELECT 1")


def test_answers_show_themselves_in_notebooks(mldb):
    html = mldb.get("/v1/datasets/people")._repr_html_()
    assert "200 OK" in html
    assert "rowCount" in html
    hostile = mldb.request("GET", "/v1/<script>alert(1)</script>")
    assert "<script>" not in hostile._repr_html_()


def test_bytes_are_blobs(mldb, server):
    expression = {"type": "sql.expression", "params": {"expression": "blob_length(content) AS bytes"}}
    mldb.put("/v1/functions/measured", expression)
    route, given = "/v1/functions/measured/application", {"content": bytes(range(256)) * 1000}
    assert mldb.get(route, {"input": given}).json() == {"output": {"bytes": 256_000}}
    assert mldb.get(route, input={"content": b"\x00"}).json() == {"output": {"bytes": 1}}
    with pytest.raises(TypeError, match="Object of type object is not JSON serializable"):
        mldb.get(route, {"input": {"content": object()}})

    async def session():
        async with AsyncConnection(server.url, notebook=False) as client:
            return (await client.get(route, {"input": given})).json()

    assert asyncio.run(session()) == {"output": {"bytes": 256_000}}


def test_keywords_become_parameters(mldb):
    mldb.put("/v1/functions/twice", {"type": "sql.expression", "params": {"expression": "x * 2 AS y"}})
    assert mldb.get("/v1/functions/twice/application", input={"x": 21}).json() == {"output": {"y": 42}}
    assert mldb.get("/v1/query", data={"q": "SELECT 1 AS x", "format": "atom"}).json() == 1


def test_paths_as_attributes(mldb):
    dataset = mldb.v1.datasets("by attribute")
    dataset.put_json({"type": "tabular"})
    dataset.rows.post_json({"rowName": "r", "columns": [["x", 1, 0]]})
    dataset.commit.post()
    assert dataset.get_json().json()["status"]["rowCount"] == 1
    assert dataset.uri.endswith("/v1/datasets/by%20attribute")
    dataset.delete()
    with pytest.raises(ResourceError):
        dataset.get()


def test_tokens(start_server):
    server = start_server("--token", "secret")
    with pytest.raises(ResourceError, match="401"):
        Connection(server.url).get("/v1/datasets")
    assert Connection(server.url, token="secret").get("/v1/datasets").json() == []


TRANSFORM = {
    "type": "transform",
    "params": {"inputData": "SELECT age FROM people", "outputDataset": {"id": "ages", "type": "tabular"}},
}


def test_tracking(mldb, capsys):
    assert mldb.post_and_track("/v1/procedures", TRANSFORM).json()["state"] == "finished"
    assert mldb.query("SELECT age FROM ages").age.sum() == 94
    assert mldb.post_and_track_procedure(TRANSFORM, refresh_rate_sec=0.1).json()["state"] == "finished"
    created = mldb.put_and_track("/v1/procedures/by name", TRANSFORM, 0.1).json()
    assert created["status"]["firstRun"]["state"] == "finished"
    assert mldb.put_and_track("/v1/procedures/by%20name/runs/second", {}, 0.1).json()["state"] == "finished"
    assert TRANSFORM["params"].keys() == {"inputData", "outputDataset"}
    broken = {"type": "transform", "params": {"inputData": "SELECT y FROM nowhere", "outputDataset": "out"}}
    with pytest.raises(ResourceError, match="nowhere"):
        mldb.post_and_track("/v1/procedures", broken)
    for url in ("/v1/functions/x", "/v1/procedures", "/v1/procedures/x/runs"):
        with pytest.raises(ValueError, match="procedure"):
            tracked_parts(url)


def test_bars_are_full_when_a_run_has_finished(mldb, monkeypatch):
    from pymldb import display

    shown = []
    show = display.Bars.show
    monkeypatch.setattr(display.Bars, "show", lambda self, steps: shown.append(steps) or show(self, steps))
    mldb.post_and_track("/v1/procedures", {"type": "mock", "params": {"durationMs": 900, "refreshRateMs": 100}}, 0.2)
    assert len(shown[-1]) == 2
    for step in shown[-1]:
        value, total, _ = display.measured(step)
        assert value == total


def test_the_newest_run_is_followed():
    watch = RunWatch("a b", before=frozenset(["2026-01-01"]))
    assert (watch.path, watch.state_path) == ("/v1/procedures/a%20b/runs", "")
    watch.learn(["2026-01-01"])
    assert watch.run == ""
    watch.learn(["2026-01-01", "2026-02-01"])
    assert watch.path == "/v1/procedures/a%20b/runs/2026-02-01"
    watch.learn({"state": "executing", "progress": {"steps": [{"name": "iterating"}]}})
    watch.learn(None)
    assert [step["name"] for step in watch.steps] == ["iterating"]


LONG = {
    "type": "transform",
    "params": {
        "inputData": "SELECT sum(a.x * b.x) AS n FROM wide AS a JOIN wide AS b ON a.x != b.x + 0.5 GROUP BY a.x % 3",
        "outputDataset": {"id": "never", "type": "tabular"},
    },
}


@pytest.fixture(scope="module")
def wide(mldb):
    """Enough rows for a join of theirs to take minutes."""
    mldb.put("/v1/datasets/wide", {"type": "tabular"})
    rows = [[str(number), [["x", number, 0]]] for number in range(60_000)]
    mldb.post("/v1/datasets/wide/multirows", rows)
    mldb.post("/v1/datasets/wide/commit")


def running(mldb, procedure):
    return [
        run
        for run in mldb.get(f"/v1/procedures/{procedure}/runs").json()
        if mldb.get(f"/v1/procedures/{procedure}/runs/{run}/state").json()["state"] in ("executing", "initializing")
    ]


def wait_for_run(mldb, procedure):
    until(lambda: mldb.request("GET", f"/v1/procedures/{procedure}").status_code == 200 and running(mldb, procedure))


def test_an_interrupt_cancels_the_run(mldb, wide, monkeypatch):
    from pymldb import display

    def interrupted(self, seconds, done):
        wait_for_run(mldb, "interrupted")
        raise KeyboardInterrupt

    monkeypatch.setattr(display.Bars, "wait", interrupted)
    watched = mldb.put("/v1/procedures/interrupted", {**LONG, "params": LONG["params"] | {"runOnCreation": False}})
    assert watched.status_code == 201
    with pytest.raises(KeyboardInterrupt):
        mldb.put_and_track("/v1/procedures/interrupted/runs/r", {})
    assert mldb.get("/v1/procedures/interrupted/runs/r/state").json() == {"state": "cancelled"}


def test_frames_become_datasets(mldb, server):
    when = pd.to_datetime(["2020-01-02T03:04:05Z", None])
    frame = pd.DataFrame({"größe": [1.5, None], "kind": pd.Categorical(["x", "y"]), "at": when}, index=["a", "b"])
    mldb.load("frames loaded", frame)
    assert mldb.query('SELECT * FROM "frames loaded" ORDER BY rowName()', format="table") == [
        ["_rowName", "at", "größe", "kind"],
        ["a", "2020-01-02T03:04:05Z", 1.5, "x"],
        ["b", None, None, "y"],
    ]
    read = mldb.query('SELECT * FROM "frames loaded"', format="polars")
    mldb.load("frames loaded", read.head(1))  # in place of the other, with the names of its rows
    assert mldb.query('SELECT rowName() AS n FROM "frames loaded"')["n"].to_list() == [read["_rowName"][0]]
    mldb.load("frames loaded", pd.DataFrame({"n": [7, 8]}))
    assert mldb.query('SELECT n FROM "frames loaded"').to_dict() == {"n": {"1": 7, "2": 8}}

    async def load():
        async with AsyncConnection(server.url, notebook=False) as connection:
            await connection.load("frames loaded", pd.DataFrame({"n": [9]}))

    asyncio.run(load())
    assert mldb.query('SELECT n FROM "frames loaded"').to_dict() == {"n": {"1": 9}}
    assert not list((server.data_dir / "uploads").iterdir())
    assert not [name for name in mldb.get("/v1/procedures").json() if name.startswith("load ")]
    several = pd.DataFrame({"n": [1]}, index=pd.MultiIndex.from_tuples([("a", "b")]))
    with pytest.raises(ValueError, match="reset_index"):
        mldb.load("frames loaded", several)


def test_coroutines(mldb, server):
    async def session():
        async with AsyncConnection(server.url, notebook=False) as mldb:
            frames = await asyncio.gather(*(mldb.query(f"SELECT {n} AS n") for n in range(8)))
            assert [frame.n.iloc[0] for frame in frames] == list(range(8))
            assert (await mldb.query("SELECT age FROM people", format="polars"))["age"].sum() == 94
            assert (await mldb.query("SELECT 7 AS x", format="atom")) == 7
            assert (await mldb.post_and_track_procedure(TRANSFORM)).json()["state"] == "finished"
            created = await mldb.put_and_track("/v1/procedures/async", TRANSFORM, 0.1)
            assert created.json()["status"]["firstRun"]["state"] == "finished"
            with pytest.raises(ResourceError, match="404 Not Found"):
                await mldb.get("/v1/datasets/nobody")

    asyncio.run(session())


def test_cancelling_a_task_cancels_the_run(mldb, server, wide):
    async def session():
        async with AsyncConnection(server.url, notebook=False) as there:
            await there.put("/v1/procedures/task", {**LONG, "params": LONG["params"] | {"runOnCreation": False}})
            tracked = asyncio.create_task(there.put_and_track("/v1/procedures/task/runs/r", {}, 0.1))
            await asyncio.to_thread(wait_for_run, mldb, "task")
            tracked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await tracked

    asyncio.run(session())
    assert mldb.get("/v1/procedures/task/runs/r/state").json() == {"state": "cancelled"}


def test_frames_in_the_manner_of_pandas(mldb, server):
    people = BatFrame(f"{server.url}/v1/datasets/people")
    assert sorted(people.columns) == ["age", "town"]
    assert sorted(people.rows) == ["ann", "bob", "cy"]
    assert people.shape[0] == 3
    age = people["age"]
    assert (age.max(), age.min(), age.count()) == (44, 19, 3)
    assert sorted(age) == [19, 31, 44]
    assert people[age > 30].sort("age", ascending=False).toPandas().index.to_list() == ["cy", "ann"]
    assert people[(age > 30) & (people["town"] == "Köln")].rows == ["ann"]
    assert sorted(people[(age < 20) | (age > 40)].rows) == ["bob", "cy"]
    assert people[["age"]].head(1).toPandas().columns.to_list() == ["age"]
    assert (2 * age + 1).sort().values.tolist() == [39, 63, 89]
    assert people.ix["ann", "town"].values.tolist() == ["Köln"]
    assert sorted(people.ix[["ann", "cy"]].rows) == ["ann", "cy"]
    assert age.unique() == {19, 31, 44}
    assert people[age.isin([19, 44])].toPandas().age.sum() == 63
    assert "Köln" in repr(people)
    with pytest.raises(RuntimeError, match="slices"):
        people[-1:]
    with pytest.raises(ResourceError):
        BatFrame(f"{server.url}/v1/datasets/nobody").toPandas()


def test_connections_serve_threads(mldb):
    seen = []
    threads = [
        threading.Thread(target=lambda n=n: seen.append(mldb.query(f"SELECT {n} AS n").n.iloc[0])) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == list(range(8))
