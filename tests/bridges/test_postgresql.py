"""PostgreSQL over REST: a table as a dataset, recording, importing, querying; against a real server."""

from __future__ import annotations

import psycopg
import pytest

from tests.ports import free_port

TABLE = """
CREATE TABLE person (id INT PRIMARY KEY, name TEXT, height DOUBLE PRECISION, born DATE, seen TIMESTAMPTZ, photo BYTEA,
                     tags TEXT[], extra JSONB, price NUMERIC, gone BOOLEAN, "odd.name" INT, waited INTERVAL);
INSERT INTO person VALUES
    (1, 'Zoé', 1.75, '1980-02-03', '2020-01-02 03:04:05+00', '\\x0001ff', '{a,b}', '{"x": {"y": 2}}', 12.50, true, 7,
     '1 day 00:00:30'),
    (2, NULL, 'NaN', NULL, NULL, NULL, NULL, NULL, NULL, false, NULL, NULL)
"""


@pytest.fixture(scope="module")
def base(postgresql, client):
    """A database with a table; the user comes from the stored credentials."""
    resource = f"postgresql://localhost:{postgresql['port']}/"
    store = {"resource": resource, "resourceType": "postgresql", "credential": {"id": "mldb", "secret": ""}}
    answer = client.put("/v1/credentials/pg", json={"store": store})
    assert answer.status_code == 201, answer.text
    execute(postgresql, TABLE)
    return postgresql


def execute(place, sql):
    """Rows of a statement, if it gives any."""
    with psycopg.connect(host="localhost", port=place["port"], user="mldb", dbname="postgres") as connection:
        cursor = connection.execute(sql)
        return cursor.fetchall() if cursor.description else None


def dataset(client, name, type, **params):
    return client.put(f"/v1/datasets/{name}", json={"type": type, "params": params})


def rows(client, query):
    found = client.query(query, "full")
    return {row["rowName"]: {name: value for name, value, _ in row["columns"]} for row in found}


PERSON = {
    "id": 1, "name": "Zoé", "height": 1.75, "born": {"ts": "1980-02-03T00:00:00Z"},
    "seen": {"ts": "2020-01-02T03:04:05Z"}, "tags.0": "a", "tags.1": "b", "extra.x.y": 2, "price": 12.5, "gone": 1,
    '"odd.name"': 7, "waited": {"interval": "1D 30S"},
}  # fmt: skip


def test_a_table_is_a_dataset(client, base):
    assert dataset(client, "people", "postgresql.dataset", tableName="person", primaryKey="id", **base).is_success
    found = rows(client, "SELECT * EXCLUDING (photo) FROM people")
    assert {name: value for name, value in found["1"].items() if value is not None} == PERSON
    assert found["2"]["height"] == {"num": "NaN"}
    assert client.query("SELECT blob_length(photo) AS n FROM people WHERE id = 1")[1][1] == 3
    assert client.query("SELECT sum(height) AS h FROM people WHERE gone = 1")[1][1] == 1.75
    answer = client.post("/v1/datasets/people/rows", json={"rowName": "x", "columns": [["a", 1, 0]]})
    assert "doesn't allow recording" in answer.json()["error"]


def test_each_query_sees_what_the_table_holds(client, base):
    execute(base, "CREATE TABLE counter (n INT); INSERT INTO counter VALUES (1)")
    dataset(client, "counter", "postgresql.dataset", tableName="public.counter", **base)
    query = "SELECT n FROM counter"
    assert client.query(query)[1:] == [["1", 1]]
    execute(base, "UPDATE counter SET n = 2")
    assert client.query(query)[1:] == [["1", 2]]
    execute(base, "INSERT INTO counter VALUES (3)")
    assert client.query(query)[1:] == [["1", 2], ["2", 3]]
    execute(base, "DELETE FROM counter")
    assert client.query(query)[1:] == []
    execute(base, "CREATE VIEW doubled AS SELECT 2 * id AS twice FROM person")
    dataset(client, "doubled", "postgresql.dataset", tableName="doubled", **base)
    assert client.query("SELECT twice FROM doubled ORDER BY twice")[1:] == [["1", 2], ["2", 4]]


def test_recording(client, base):
    where = {"tableName": "made", "createTable": True, "dropTableIfExist": True}
    assert dataset(client, "made", "postgresql.recorder", **where, **base).is_success
    many = [["a", [["x", 1, 0], ["t", "é", 0], ["mixed", 1, 0]]], ["b", [["x", 2.5, 0], ["mixed", "two", 0]]]]
    client.post("/v1/datasets/made/multirows", json=many)
    assert client.post("/v1/datasets/made/commit").is_success
    assert execute(base, 'SELECT "rowName", x, t, mixed FROM made ORDER BY 1') == [
        ("a", 1.0, "é", "1"), ("b", 2.5, None, "two"),
    ]  # fmt: skip
    client.post("/v1/datasets/made/rows", json={"rowName": "c", "columns": [["new", {"ts": "2020-01-01"}, 0]]})
    client.post("/v1/datasets/made/commit")
    assert execute(base, "SELECT count(new), count(*) FROM made") == [(1, 3)]
    client.post("/v1/datasets/made/rows", json={"rowName": "c", "columns": [["x", 9, 0]]})
    answer = client.post("/v1/datasets/made/commit")
    assert answer.status_code == 400
    assert "duplicate key" in answer.json()["error"]
    assert "cannot be queried" in client.get_json("/v1/query", {"q": "SELECT * FROM made"}).json()["error"]


def test_a_query_is_recorded_into_a_table_that_is_there(client, base):
    execute(base, "CREATE TABLE target (x INT)")
    params = {"inputData": "SELECT id AS x FROM people2"}
    dataset(client, "people2", "postgresql.dataset", tableName="person", **base)
    config = {"type": "postgresql.recorder", "params": {"tableName": "target", "primaryKey": "", **base}}
    answer = client.post("/v1/procedures", json={"type": "transform", "params": {**params, "outputDataset": config}})
    assert answer.status_code == 201, answer.text
    assert execute(base, "SELECT x FROM target ORDER BY x") == [(1,), (2,)]


def test_import(client, base):
    params = {"postgresqlQuery": "SELECT id, name FROM person ORDER BY id DESC", "outputDataset": "imported", **base}
    answer = client.post("/v1/procedures", json={"type": "postgresql.import", "params": params})
    assert answer.json()["status"]["firstRun"]["status"]["rowCount"] == 2
    assert rows(client, "SELECT * FROM imported") == {"row_0": {"id": 2}, "row_1": {"id": 1, "name": "Zoé"}}


def test_query_function(client, base):
    query = "SELECT name, height, '$id 100%' AS note FROM person WHERE id = $id AND id %% 2 < 5"
    query = query.replace("%%", "%")
    params = {"query": query, **base}
    assert client.put("/v1/functions/person", json={"type": "postgresql.query", "params": params}).is_success
    assert client.query("SELECT person({id: 1}) AS *")[1][1:] == [1.75, "Zoé", "$id 100%"]
    answer = client.get_json("/v1/functions/person/application", {"input": {"id": 99}, "outputFormat": "json"})
    assert answer.json() == {}
    params = {"query": "INSERT INTO person (id) VALUES (9) RETURNING id", **base}
    client.put("/v1/functions/write", json={"type": "postgresql.query", "params": params})
    answer = client.get_json("/v1/functions/write/application", {"input": {}})
    assert answer.status_code == 400
    assert execute(base, "SELECT count(*) FROM person") == [(2,)]


def test_what_cannot_be_reached(client, base):
    nobody = {**base, "port": free_port()}
    answer = dataset(client, "none", "postgresql.dataset", tableName="person", **nobody)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("PostgreSQL: ")
    answer = dataset(client, "none", "postgresql.dataset", tableName="no such; DROP TABLE person", **base)
    assert "does not exist" in answer.json()["error"]
    assert execute(base, "SELECT count(*) FROM person") == [(2,)]


def test_datasets_survive_a_restart_and_private_hosts_are_refused(start_server, base, tmp_path):
    running = start_server("--fetch-private", environment={"PGUSER": "mldb"})
    with running.client() as client:
        dataset(client, "people", "postgresql.dataset", tableName="person", primaryKey="id", **base)
        where = {"tableName": "lasting", "createTable": True, "dropTableIfExist": True}
        dataset(client, "lasting", "postgresql.recorder", **where, **base)
        client.post("/v1/datasets/lasting/rows", json={"rowName": "a", "columns": [["x", 1, 0]]})
        client.post("/v1/datasets/lasting/commit")
    running.kill()
    with start_server(data_dir=running.data_dir, environment={"PGUSER": "mldb"}).client() as client:
        assert execute(base, "SELECT count(*) FROM lasting") == [(1,)]
        answer = client.get_json("/v1/query", {"q": "SELECT * FROM people"})
        assert answer.status_code == 403
        assert "fetch_private" in answer.json()["error"]
