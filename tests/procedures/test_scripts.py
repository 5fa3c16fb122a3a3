"""Scripts as procedures and functions."""

import json
from pathlib import Path

from tests.inprocess import in_process
from tests.waiting import until

RUNS = "/v1/procedures/{}/runs/{}"


def put(client, path, type, **params):
    return client.put(path, content=json.dumps({"type": type, "params": params}))


def first_run(client, answer):
    assert answer.status_code == 201, answer.text
    run = answer.json()["status"]["firstRun"]
    return run, client.get(RUNS.format(answer.json()["id"], run["id"]) + "/details").json()


def test_script_run(client):
    source = "print('out')\nrequest.set_return([mldb.script.args, 2.0])"
    run, details = first_run(
        client, put(client, "/v1/procedures/a", "script.run", scriptConfig={"source": source}, args=7)
    )
    assert run["status"] == [7, 2.0]
    assert (details["statusCode"], details["result"], details["logs"][0]["c"]) == (200, [7, 2.0], "out")


def test_a_script_that_raises_does_not_fail_the_run(client):
    run, details = first_run(client, put(client, "/v1/procedures/b", "script.run", scriptConfig={"source": "1/0"}))
    assert run["state"] == "finished"
    assert details["statusCode"] == 400
    assert details["exception"]["type"] == "ZeroDivisionError"


def test_script_apply_over_rest_and_in_sql(client):
    source = (
        "request.set_return([[name, value + 1, '2020-01-01T00:00:00Z'] for name, (value, _) in mldb.script.args[0]])"
    )
    assert put(client, "/v1/functions/f", "script.apply", scriptConfig={"source": source}).status_code == 201
    answer = client.get_json("/v1/functions/f/application", {"input": {"args": {"b": 2, "a": 1}}})
    assert answer.json() == {
        "output": {"return": [["a", [2, "2020-01-01T00:00:00Z"]], ["b", [3, "2020-01-01T00:00:00Z"]]]}
    }
    rows = client.query("SELECT f({{1 AS x, 5 AS y} AS args}) AS * NAMED 'r'")
    assert rows == [["_rowName", "return.x", "return.y"], ["r", 2, 6]]


def test_script_apply_tells_the_times_of_columns(client):
    source = "mldb.script.set_return([[n + '_at', cell[1], cell[1]] for n, cell in mldb.script.args[0]])"
    assert put(client, "/v1/functions/times", "script.apply", scriptConfig={"source": source}).status_code == 201
    client.must("PUT", "/v1/datasets/timed", {"type": "sparse.mutable"})
    columns = [["x", 1, "2015-07-17T11:49:46Z"], ["y", 2, "2016-01-02T00:00:00Z"]]
    client.must("POST", "/v1/datasets/timed/rows", {"rowName": "r", "columns": columns})
    client.must("POST", "/v1/datasets/timed/commit")
    rows = client.query("SELECT times({{x, y} AS args})[return] AS * FROM timed", "full")
    found = [["x_at", columns[0][2], columns[0][2]], ["y_at", columns[1][2], columns[1][2]]]
    assert rows == [{"rowName": "r", "columns": found}]
    rows = client.query("SELECT times({{*} AS args})[return] AS * FROM timed", "full")
    assert rows == [{"rowName": "r", "columns": found}]


def test_script_apply_spells_embeddings_out(client):
    source = (
        "import json\nmldb.script.set_return([['names', ' '.join(str(cell[0]) for cell in mldb.script.args[0]), 0]])"
    )
    config = {"type": "script.apply", "params": {"language": "python", "scriptConfig": {"source": source}}}
    assert client.put("/v1/functions/names", json=config).status_code == 201
    answer = client.get_json("/v1/functions/names/application", {"input": {"args": {"a": 1, "v": [[1, 2], [3, 4]]}}})
    assert answer.json()["output"]["return"][0][1][0] == "a v.0.0 v.0.1 v.1.0 v.1.1"
    config["params"]["language"] = "perl"
    answer = client.put("/v1/functions/names", json=config)
    assert (answer.status_code, answer.json()["error"]) == (
        400,
        "scripts in 'perl' cannot be run; the language is 'python' or 'javascript'",
    )


def test_script_apply_is_told_of_the_columns_that_a_row_has(client):
    client.put("/v1/datasets/sparse", json={"type": "sparse.mutable"})
    rows = [["a", [["x", 1, 0], ["y", 2, 0]]], ["b", [["x", None, 5]]]]
    client.post("/v1/datasets/sparse/multirows", json=rows)
    client.post("/v1/datasets/sparse/commit")
    source = """
from mldb import mldb
request.set_return([["names", ",".join(column for column, _ in mldb.script.args[0]), 0]])
"""
    assert put(client, "/v1/functions/names", "script.apply", scriptConfig={"source": source}).status_code == 201
    found = client.query("SELECT names({args: {*}})[return.names] AS names FROM sparse ORDER BY rowName()")
    assert found == [["_rowName", "names"], ["a", "x,y"], ["b", "x"]]


def test_script_apply_failures(client):
    put(client, "/v1/functions/g", "script.apply", scriptConfig={"source": "1/0"})
    answer = client.get_json("/v1/functions/g/application", {"input": {"args": {}}})
    assert (answer.status_code, answer.json()["error"]) == (400, "responseCode != 200 for function")
    assert answer.json()["details"]["exception"]["type"] == "ZeroDivisionError"
    answer = client.get("/v1/query", params={"q": "SELECT 1, g({args: {x: 1}})"})
    assert (answer.status_code, answer.json()["error"][:31]) == (400, "responseCode != 200 for function"[:31])
    assert answer.json()["details"]["exception"]["type"] == "ZeroDivisionError"
    assert answer.json()["details"]["expression"] == "g({args: {x: 1}})"
    for result, error in (
        ("3", "Function should return array of arrays."),
        ("[[1]]", "elem should be array of size 3"),
    ):
        put(client, "/v1/functions/g", "script.apply", scriptConfig={"source": f"request.set_return({result})"})
        answer = client.get_json("/v1/functions/g/application", {"input": {"args": {"a": 1}}})
        assert (answer.status_code, answer.json()["error"]) == (400, error)


def test_external_procedure(client):
    source = "import sys\nprint('one')\nprint(sys.stdin.read())\nsys.stderr.write('oops\\n')\n"
    source += "print('{\"a\": 1}')\nsys.exit(3)"
    answer = put(
        client, "/v1/procedures/e", "experimental.external.procedure", scriptConfig={"source": source}, stdInData="two"
    )
    run, _ = first_run(client, answer)
    status = run["status"]
    assert (status["stdout"], status["stderr"], status["return"]) == ("one\ntwo", "oops\n", {"a": 1})
    assert (status["runResult"]["state"], status["runResult"]["returnCode"]) == ("RETURNED", 3)


def test_external_procedure_that_writes_without_end(tmp_path):
    source = "while True: print('x' * 1000)"
    with in_process(tmp_path / "data", read_size=1) as server:
        config = {"type": "experimental.external.procedure", "params": {"scriptConfig": {"source": source}}}
        status, found = server.ask("PUT", "/v1/procedures/e", config)
    assert status == 400
    assert "more than 1 MiB, the most that the setting read-size allows" in found["details"]["runError"]["error"]


def test_external_procedure_that_does_not_read(tmp_path):
    with in_process(tmp_path / "data") as server:
        params = {"scriptConfig": {"source": "print(7)"}, "stdInData": "x" * 2_000_000}
        made = server.must("PUT", "/v1/procedures/e", {"type": "experimental.external.procedure", "params": params})
    assert made["status"]["firstRun"]["status"]["return"] == 7


def test_external_procedure_ends_with_a_server_that_is_killed(start_server, tmp_path):
    mark = tmp_path / "mark"
    source = f"import os, time; open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    server = start_server()
    params = {"scriptConfig": {"source": source}, "runOnCreation": False}
    with server.client() as client:
        assert put(client, "/v1/procedures/e", "experimental.external.procedure", **params).status_code == 201
        assert client.post("/v1/procedures/e/runs", json={}, headers={"async": "true"}).status_code in (201, 202)
        until(lambda: mark.exists() and mark.read_text())
    server.kill()
    until(lambda: not Path("/proc", mark.read_text()).exists())
