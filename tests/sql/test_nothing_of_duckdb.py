"""Only what the dialect knows can be reached through SQL: no function, file, table or statement of DuckDB.

The names come from DuckDB itself, so a new version's functions are tried as soon as it is installed.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import duckdb
import pytest

from server.sql.functions import BUILTINS
from tests.conftest import Client, RunningServer

SECRET = "hush-5309"


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("outside") / "secret.csv"
    file.write_text(f"x\n{SECRET}\n")
    return file


@pytest.fixture(scope="module")
def client(tmp_path_factory, secret):
    running = RunningServer(tmp_path_factory.mktemp("server") / "data", environment={"A_SECRET": SECRET})
    with running.client() as client:
        client.put("/v1/datasets/d", json={"type": "sparse.mutable"})
        client.post("/v1/datasets/d/rows", json={"rowName": "r", "columns": [["x", 1, 0]]})
        client.post("/v1/datasets/d/commit")
        yield client
    running.stop()


def functions_of(*kinds: str) -> list[str]:
    with duckdb.connect() as connection:
        found = connection.execute(
            "SELECT DISTINCT function_name FROM duckdb_functions() WHERE list_contains(?, function_type)", [list(kinds)]
        ).fetchall()
    return sorted(name for (name,) in found if name[0].isalpha() or name[0] == "_")


def refused(client: Client, query: str) -> None:
    answer = client.get("/v1/query", params={"q": query})
    assert answer.status_code in (400, 404), (query, answer.text)
    assert SECRET not in answer.text


def test_no_table_function_of_duckdb(client, secret):
    names = functions_of("table", "table_macro", "pragma")
    assert {"read_csv", "glob", "read_text", "duckdb_settings"} <= set(names)
    for name in names:
        if name in ("sample", "merge", "transpose", "row_dataset", "atom_dataset"):
            continue
        for call in (f"{name}('{secret}')", f"\"{name}\"('{secret}')", f"{name.upper()}('{secret}')", f"{name}()"):
            refused(client, f"SELECT * FROM {call}")
        refused(client, f"SELECT * FROM (SELECT * FROM {name}('{secret}')) AS t")
        refused(client, f"SELECT * FROM d JOIN {name}('{secret}') AS t ON true")


def test_no_function_of_duckdb(client, secret):
    """As a function of values, whatever its kind; what the dialect has under the same name is the dialect's own."""
    names = [name for name in functions_of("scalar", "aggregate", "macro", "table", "pragma") if name not in BUILTINS]
    assert {"current_setting", "read_text", "nextval", "txid_current"} <= set(names)
    for name in names:
        refused(client, f"SELECT {name}('A_SECRET')")
    for name in ("getenv", "current_setting", "read_text", "glob", "pg_typeof", "query", "getvariable"):
        for call in (f'"{name}"', name.upper(), f"main.{name}", f"system.main.{name}", f'"system"."main"."{name}"'):
            refused(client, f"SELECT {call}('A_SECRET')")
            refused(client, f"SELECT x FROM d WHERE {call}('A_SECRET') = 'x'")
            refused(client, f"SELECT x FROM d ORDER BY {call}('A_SECRET')")
            refused(client, f"SELECT horizontal_sum({{{call}('A_SECRET') AS a}})")


@pytest.mark.parametrize("quotes", ["'{}'", '"{}"', "{}"])
def test_no_file_table_or_schema(client, secret, quotes):
    files = [
        secret,
        f"file://{secret}",
        f"{secret.parent}/*.csv",
        "/etc/passwd",
        "http://localhost/x.csv",
        "s3://b/x.csv",
    ]
    tables = [
        "mldb_catalogue", "mldb_runs", "dataset_tables", "dataset_journal", "main.mldb_catalogue", "sqlite_master",
        "information_schema.tables", "pg_catalog.pg_class", "duckdb_settings", "duckdb_secrets", "pragma_database_list",
        "mldb.main.mldb_catalogue", "system.main.duckdb_settings", "temp.main.x",
    ]  # fmt: skip
    for name in itertools.chain(files, tables):
        source = quotes.format(name)
        refused(client, f"SELECT * FROM {source}")
        refused(client, f"SELECT * FROM d JOIN {source} AS t ON true")
        refused(client, f"SELECT x FROM d WHERE x IN (SELECT x FROM {source})")


STATEMENTS = (
    "COPY d TO '{0}'", "COPY (SELECT 1) TO '{0}'", "EXPORT DATABASE '{0}'", "IMPORT DATABASE '{0}'",
    "ATTACH '{0}' AS a",
    "DETACH mldb", "INSTALL httpfs", "LOAD httpfs", "PRAGMA version", "PRAGMA database_list",
    "SET memory_limit = '1MB'",
    "RESET memory_limit", "SET GLOBAL lock_configuration = false", "CALL duckdb_settings()", "CREATE TABLE t (x INT)",
    "CREATE SECRET s (TYPE s3)", "DROP TABLE mldb_catalogue", "DELETE FROM mldb_catalogue", "UPDATE d SET x = 1",
    "INSERT INTO d VALUES (1)", "TRUNCATE d", "CHECKPOINT", "VACUUM", "EXPLAIN SELECT 1", "DESCRIBE d", "SHOW TABLES",
    "SUMMARIZE d", "FROM d", "TABLE d", "VALUES (1)", "WITH a AS (SELECT 1) SELECT * FROM a", "PREPARE p AS SELECT 1",
    "EXECUTE p", "BEGIN", "COMMIT", "USE memory", "ALTER TABLE d RENAME TO e", "CREATE MACRO f() AS 1", ".shell ls",
)  # fmt: skip


@pytest.mark.parametrize(
    "prefix", ["", "SELECT 1; ", "SELECT 1 --\n; ", "/* */ ", "SELECT 1) ; ", "SELECT (", "SELECT '\\'; "]
)
def test_no_statement_of_duckdb(client, tmp_path, prefix):
    for statement in STATEMENTS:
        refused(client, prefix + statement.format(tmp_path / "written"))
    assert list(tmp_path.iterdir()) == []
    assert client.query("SELECT x FROM d") == [["_rowName", "x"], ["r", 1]]


@pytest.mark.parametrize("source", ["read_csv('{0}')", "'{0}'", '"{0}"', "glob('{0}')", "mldb_catalogue"])
def test_no_other_way_in(client, secret, source):
    """Queries inside of entities go through the same binder."""
    query = "SELECT * FROM " + source.format(secret)
    made = client.put(
        "/v1/procedures/p", json={"type": "transform", "params": {"inputData": query, "outputDataset": "o"}}
    )
    assert made.status_code in (400, 404)
    function = client.put("/v1/functions/f", json={"type": "sql.query", "params": {"query": query}})
    applied = client.get("/v1/functions/f/application", params={"input": "{}"})
    assert not (function.is_success and applied.is_success)
    assert SECRET not in made.text + function.text + applied.text


def test_text_of_a_value_is_never_sql(client):
    """Names and values that would end a quotation in the SQL that is made from them."""
    for text in (
        "x' OR '1'='1",
        'x"; DROP TABLE mldb_catalogue; --',
        "x\\'",
        "'; COPY d TO 'x'; --",
        "\u0000",
        "’",
        '""',
    ):
        quoted = text.replace("'", "''")
        assert client.query(f"SELECT '{quoted}' AS v NAMED 'n'") == [["_rowName", "v"], ["n", text]]
        name = text.replace('"', '""')
        assert client.query(f"SELECT 1 AS \"{name}\" NAMED 'n'")[0][0] == "_rowName"
    assert client.query("SELECT x FROM d") == [["_rowName", "x"], ["r", 1]]
