"""What people do with a server from the command line: entities, imports, runs, plugins, completion, doctor."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import zipfile

import pytest

from tests.conftest import ROOT
from tests.rest.test_cli import mldb, started
from tests.waiting import PATIENCE, SOON, until


@pytest.fixture(scope="module")
def cli(server):
    """Runs a command against the server; its output, after checking the exit code."""

    def run(*arguments, code=0):
        done = mldb(*arguments, MLDB_SERVER=server.url)
        assert done.returncode == code, done.stderr
        return done.stdout if not code else done.stderr

    return run


@pytest.fixture(scope="module")
def sizes(cli, server):
    """A dataset with the names and sizes of two things, imported from a file."""
    file = server.data_dir / "größen.csv"
    file.write_text("name;size\nÄ;1\nB;2.5\n")
    assert cli("import", str(file), "sizes", "--param", "delimiter=;") == "sizes: 2 rows\n"


def test_entities(cli):
    assert cli("dataset", "create", "d", '{"type": "tabular"}') == "dataset d was created\n"
    assert "\nd\tok\ttabular\t0\t" in "\n" + cli("dataset", "list")
    assert "d" in {each["id"] for each in json.loads(cli("dataset", "list", "--json"))}
    assert json.loads(cli("dataset", "show", "d"))["type"] == "tabular"
    config = '{"type": "sql.expression", "params": {"expression": "x + 1 AS y"}}'
    assert json.loads(cli("function", "create", "inc", config, "--json"))["state"] == "ok"
    assert json.loads(cli("function", "call", "inc", '{"x": 1}')) == {"y": 2}
    assert cli("function", "remove", "inc") == "function inc was removed\n"
    assert "inc" in cli("function", "show", "inc", code=1)
    assert "neither JSON nor a file" in cli("function", "create", "f", "{nonsense", code=1)


def test_errors_of_queries_are_shown_at_their_place(cli):
    wrong = "SELECT x\nFROM nowhere WHERE"
    told = cli("query", wrong, code=1)
    assert told == "mldb: 2:19: Expected identifier or constant\nFROM nowhere WHERE\n                  ^\n"
    body = json.loads(cli("query", wrong, "--json", code=1))
    assert (body["httpCode"], body["details"]["line"]) == (400, 2)
    assert json.loads(cli("query", "SELECT 1", "--saved", "x", "--json", code=1))["error"].startswith("either")


def test_without_a_command_the_commands_are_told(cli):
    assert "run an SQL query" in cli(code=2)


@pytest.mark.usefixtures("sizes")
def test_import_and_query(cli, server, tmp_path):
    assert cli("dataset", "columns", "sizes") == "name\nsize\n"
    assert json.loads(cli("query", "SELECT name FROM sizes WHERE size < 2", "--json"))[0]["name"] == "Ä"
    assert "Ä" in cli("dataset", "rows", "sizes", "--limit", "1")
    assert cli("query", "SELECT name, size FROM sizes ORDER BY size", "--format", "csv").splitlines() == [
        "_rowName,name,size", "2,Ä,1", "3,B,2.5",
    ]  # fmt: skip
    (server.data_dir / "lines.jsonl").write_text('{"a": 1}\n{"a": 2}\n')
    imported = json.loads(cli("import", str(server.data_dir / "lines.jsonl"), "lines", "--json"))
    assert imported["status"]["rowCount"] == 2
    (tmp_path / "away.csv").write_text("x\n1\n2\n3\n")
    assert cli("import", str(tmp_path / "away.csv"), "away") == "away: 3 rows\n"
    assert not list((server.data_dir / "uploads").iterdir())
    assert cli("import", "nowhere.csv", "x", code=1) == "mldb: nowhere.csv: No such file or directory\n"
    (tmp_path / "broken.zip").write_text("no zip")
    assert "broken.zip is no zip archive" in cli("import", str(tmp_path / "broken.zip"), "x", code=1)


def test_an_import_leaves_its_dataset_alone(cli, client, tmp_path):
    (tmp_path / "a.csv").write_text("x\n1\n")
    before = client.get("/v1/procedures").json()
    cli("import", str(tmp_path / "a.csv"), "alone")
    cli("import", "file:///nowhere.csv", "alone", code=1)
    assert client.get("/v1/procedures").json() == before


def test_what_the_console_imports_is_imported_here_too(cli, server, tmp_path):
    (tmp_path / "list.json").write_text('[{"a": 1, "b": {"c": 2}}, {"a": 3}]')
    assert cli("import", str(tmp_path / "list.json"), "array") == "array: 2 rows\n"
    assert cli("query", "SELECT b.c FROM array WHERE a = 1", "--format", "atom") == "2\n"
    (tmp_path / "semicolons.csv").write_text("a;b\n1;x, y\n2;z\n")
    assert cli("import", str(tmp_path / "semicolons.csv"), "semicolons") == "semicolons: 2 rows\n"
    assert cli("dataset", "columns", "semicolons") == "a\nb\n"
    cli("dataset", "export", "array", str(tmp_path / "array.parquet"))
    assert cli("import", str(tmp_path / "array.parquet"), "columnar") == "columnar: 2 rows\n"
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as packed:
        packed.writestr("one.png", b"\x89PNG one")
        packed.writestr("readme.txt", "no picture")
    assert cli("import", str(tmp_path / "pictures.zip"), "pictures") == "pictures: 1 row\n"
    assert not list((server.data_dir / "uploads").iterdir())


def test_messy_files_are_imported_as_they_are(cli, tmp_path):
    (tmp_path / "latin.csv").write_bytes("Stadt;Preis\nKöln;1\n".encode("latin-1"))
    assert cli("import", str(tmp_path / "latin.csv"), "latin") == "latin: 1 row\n"
    assert cli("query", "SELECT Stadt FROM latin", "--format", "atom") == '"Köln"\n'
    (tmp_path / "long.csv").write_text('a,b\n1,"x\ny"\n2,z\n')
    assert cli("import", str(tmp_path / "long.csv"), "long") == "long: 2 rows\n"
    (tmp_path / "wide.csv").write_text("a,b\n1,2\n", encoding="utf-16")
    assert "save it as UTF-8" in cli("import", str(tmp_path / "wide.csv"), "wide", code=1)
    (tmp_path / "gaps.csv").write_text("number,kind,country\n1,NA,NA\nNA,x,SE\n3,-,DE\n?,y,FI\n")
    assert cli("import", str(tmp_path / "gaps.csv"), "gaps") == "gaps: 4 rows\n"  # ? is a missing number, NA Namibia
    assert cli("query", "SELECT CAST(number AS number) IS NULL AS gap, country FROM gaps WHERE number = 'NA'") == (
        "_rowName\tcountry\tgap\n3\tSE\t1\n"
    )
    assert cli("query", "SELECT count(number) FROM gaps", "--format", "atom") == "3\n"
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["only a title"])
    book.active.append(["a", 2])
    book.save(tmp_path / "book.xlsx")
    assert cli("import", str(tmp_path / "book.xlsx"), "book") == "book: 2 rows\n"


def test_a_bad_line_is_shown(cli, tmp_path):
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n1,2,3\n")
    told = cli("import", str(tmp_path / "bad.csv"), "bad", code=1)
    assert told == "mldb: line 3: Error parsing CSV row: too many columns in row\n1,2,3\n"


def test_results_go_into_pipes_whole(cli):
    long = "x" * 100
    assert cli("query", f"SELECT '{long}' AS a, 1 AS b") == f"_rowName\ta\tb\nresult\t{long}\t1\n"
    assert cli("query", f"SELECT '{long}' AS a", "--format", "text").splitlines()[2].endswith("…")
    assert cli("query", "SELECT 'a\tb\nc' AS a", "--format", "tsv").splitlines()[1] == "result\ta\\tb\\nc"


def test_runs(cli):
    cli("procedure", "create", "wait", '{"type": "mock", "params": {"durationMs": 50, "runOnCreation": false}}')
    assert "finished" in cli("run", "wait")
    assert json.loads(cli("run", "wait", "--params", '{"durationMs": 1}', "--json"))["state"] == "finished"
    assert [line.split("\t")[1] for line in cli("procedure", "runs", "wait").splitlines()] == ["finished", "finished"]
    assert "finished" in cli("run", '{"type": "mock", "params": {"durationMs": 1}}')
    broken = '{"type": "transform", "params": {"inputData": "SELECT x FROM nowhere", "outputDataset": "o"}}'
    assert "nowhere" in cli("run", broken, code=1)


def test_a_procedure_that_cannot_run_says_why(cli):
    config = {"type": "transform", "params": {"inputData": "SELECT * FROM nothing", "outputDataset": "x"}}
    failed = cli("procedure", "create", "hopeless", json.dumps(config), code=1)
    assert failed == "mldb: failed to create the initial run: dataset entry 'nothing' doesn't exist\n"


@pytest.mark.usefixtures("sizes")
def test_datasets_go_to_files(cli, tmp_path):
    cli("dataset", "create", "out", '{"type": "sparse.mutable"}')
    cli("query", "SELECT 1")
    for ending in ("csv", "json", "parquet", "arrow"):
        file = tmp_path / f"sizes.{ending}"
        assert json.loads(cli("dataset", "export", "sizes", str(file), "--json"))["bytes"] == file.stat().st_size > 0
    assert (tmp_path / "sizes.csv").read_text().splitlines()[0] == "_rowName,name,size"
    assert "Ä" in cli("dataset", "export", "sizes", "-", "--format", "csv")
    assert "the ending" in cli("dataset", "export", "sizes", str(tmp_path / "sizes.txt"), code=1)
    assert "nowhere" in cli("dataset", "export", "nowhere", str(tmp_path / "n.csv"), code=1)
    assert sorted(file.suffix for file in tmp_path.iterdir()) == [".arrow", ".csv", ".json", ".parquet"]


def test_saved_queries(cli):
    assert cli("saved", "add", "the größe", "SELECT 6 * 7 AS answer") == "the größe was saved\n"
    assert cli("saved", "list") == "the größe\tSELECT 6 * 7 AS answer\n"
    assert cli("saved", "show", "the größe") == "SELECT 6 * 7 AS answer\n"
    assert json.loads(cli("query", "--saved", "the größe", "--format", "atom")) == 42
    assert "not both" in cli("query", "SELECT 1", "--saved", "x", code=1)
    cli("saved", "remove", "the größe")
    assert "the größe" in cli("query", "--saved", "the größe", code=1)


def test_queries_under_way_are_listed_and_cancelled(cli, client):
    client.must("PUT", "/v1/datasets/many", {"type": "tabular"})
    client.post("/v1/datasets/many/multirows", json=[[f"r{n}", [["x", n, 0]]] for n in range(3000)])
    client.must("POST", "/v1/datasets/many/commit")
    text = "SELECT count(*) FROM (SELECT * FROM many AS a JOIN many AS b ON a.x != b.x JOIN many AS c ON b.x != c.x)"
    asking = threading.Thread(target=lambda: client.get_json("/v1/query", {"q": text}))
    asking.start()
    until(lambda: client.get("/v1/queries").json())
    (found,) = json.loads(cli("queries", "list", "--json"))
    assert found["query"] == text
    assert "cancelled" in cli("queries", "cancel", found["id"])
    asking.join(PATIENCE)
    assert cli("queries", "list") == ""


def test_events_tell_what_happens(server, client):
    command = ("events", "--server", server.url)
    with started(*command, "--kind", "procedure", stdout=subprocess.PIPE) as follower:

        def knocked():
            """Whether it follows already: what is there at the start is not told."""
            client.put("/v1/procedures/knock", json={"type": "null"})
            return select.select([follower.stdout], [], [], 0.2)[0]

        until(knocked)
        lines = (line.rstrip("\n").split("\t")[1:4] for line in follower.stdout if "\tknock\t" not in line)
        client.put("/v1/datasets/not told", json={"type": "tabular"})
        client.put("/v1/procedures/told", json={"type": "null"})
        assert next(lines) == ["procedure", "told", "finished"]
        client.delete("/v1/procedures/told")
        assert next(lines) == ["procedure", "told", "gone"]
        follower.send_signal(signal.SIGINT)
        assert follower.wait(PATIENCE) == 130
    with started(*command, "--all", "--json", stdout=subprocess.PIPE) as follower:
        assert json.loads(follower.stdout.readline())["kind"] in ("plugin", "dataset", "function", "procedure")
        follower.send_signal(signal.SIGINT)
        assert follower.wait(PATIENCE) == 130


def test_a_plugin_is_stopped_and_started(cli, client):
    source = {"type": "python", "params": {"source": {"main": "", "routes": "request.set_return(1)"}}}
    client.must("PUT", "/v1/plugins/switched", source)
    assert cli("plugin", "stop", "switched") == "switched was stopped\n"
    assert client.get("/v1/plugins/switched/routes/x").status_code == 503
    assert json.loads(cli("plugin", "reload", "switched", "--json"))["state"] == "ok"
    assert client.get("/v1/plugins/switched/routes/x").json() == 1


def test_an_interrupt_cancels_the_run(cli, server, client):
    cli("procedure", "create", "long", '{"type": "mock", "params": {"durationMs": 60000, "runOnCreation": false}}')
    with started("run", "long", "--server", server.url, stderr=subprocess.DEVNULL) as process:
        (run,) = until(lambda: client.get("/v1/procedures/long/runs").json())
        process.send_signal(signal.SIGINT)
        assert process.wait(SOON) == 130
    assert client.get(f"/v1/procedures/long/runs/{run}/state").json() == {"state": "cancelled"}


def test_nobody_there_has_a_code_of_its_own():
    done = mldb("dataset", "list", "--server", "http://127.0.0.1:9")
    assert done.returncode == 3
    assert "Is it running?" in done.stderr
    assert mldb("dataset", "nonsense").returncode == 2


def test_a_plugin_from_nothing_to_its_tests(cli, server, client, tmp_path):
    data = ("--data-dir", str(server.data_dir))
    cli("plugin", "new", "made", *data)
    until(lambda: client.get("/v1/plugins/made/routes/double?x=4").status_code == 200)
    assert "OK" in cli("plugin", "test", "made")
    assert json.loads(cli("plugin", "test", "made", "--json"))["run"] == 2
    tests = server.data_dir / "plugins" / "made" / "test_plugin.py"
    tests.write_text(tests.read_text().replace('"doubled": 8', '"doubled": 9'))
    failed = mldb("plugin", "test", "made", MLDB_SERVER=server.url)
    assert (failed.returncode, "FAILED (failures=1)" in failed.stdout) == (1, True)
    tests.unlink()
    assert "has no tests" in cli("plugin", "test", "made", code=1)
    assert cli("plugin", "remove", "made", *data) == "made was removed\n"
    until(lambda: client.get("/v1/plugins/made").status_code == 404)


def test_plugins_from_folders_archives_and_repositories(cli, server, client, tmp_path):
    data = ("--data-dir", str(server.data_dir))
    folder = tmp_path / "given"
    folder.mkdir()
    (folder / "main.py").write_text("mldb.log('here')\n")
    (folder / "routes.py").write_text("request.set_return('hi')\n")
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        archive.write(folder / "main.py", "inside/main.py")
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    assert "given was installed" in cli("plugin", "install", str(folder), *data)
    assert "packed was installed" in cli("plugin", "install", str(tmp_path / "packed.zip"), *data)
    large = ("plugin", "install", str(tmp_path / "packed.zip"), "--name", "large", *data)
    assert "more than the 0 MiB that MLDB_PLUGIN_SIZE allows" in mldb(*large, MLDB_PLUGIN_SIZE="0").stderr
    cli("plugin", "install", folder.as_uri(), "--name", "cloned", *data)
    for name in ("given", "packed", "cloned"):
        until(lambda name=name: client.get(f"/v1/plugins/{name}").json().get("state") == "ok")
    assert "is there already" in cli("plugin", "install", str(folder), *data, code=1)
    (tmp_path / "empty").mkdir()
    assert "no main.py" in cli("plugin", "install", str(tmp_path / "empty"), *data, code=1)
    assert "will not do" in cli("plugin", "install", str(folder), "--name", "../up", *data, code=1)
    assert sorted(path.name for path in (server.data_dir / "plugins").iterdir()) == ["cloned", "given", "packed"]


def test_plugins_of_a_server_elsewhere(cli, server, client, tmp_path):
    """One that does not share a disk with us is sent what is installed."""
    there = ("--server", server.url)
    assert cli("plugin", "new", "far", "--type", "javascript", *there).startswith(f"far was made: {server.url}/")
    until(lambda: client.get("/v1/plugins/far/routes/double?x=4").text == '{"doubled":8}\n')
    folder = tmp_path / "sent"
    (folder / "static").mkdir(parents=True)
    (folder / "main.py").write_text("mldb.plugin.serve_static_folder('static', 'static')\n")
    (folder / "static" / "a.txt").write_text("here")
    assert cli("plugin", "install", str(folder), *there) == "sent was installed\n"
    until(lambda: client.get("/v1/plugins/sent/routes/static/a.txt").text == "here")
    assert "remove it first" in cli("plugin", "install", str(folder), *there, code=1)
    (tmp_path / "empty").mkdir()
    assert "no main.py" in cli("plugin", "install", str(tmp_path / "empty"), *there, code=1)
    assert "not allowed with" in cli("plugin", "remove", "far", "--data-dir", str(tmp_path), *there, code=2)
    for name, place in (("far", there), ("sent", ())):  # the variable names the server too
        assert cli("plugin", "remove", name, *place) == f"{name} was removed\n"
        until(lambda name=name: client.get(f"/v1/plugins/{name}").status_code == 404)
    assert "no plugin folder 'far'" in cli("plugin", "remove", "far", *there, code=1)


@pytest.mark.usefixtures("sizes")
def test_completion(cli, server):
    assert "complete" in cli("completion", "bash")
    line = "mldb dataset show "
    environment = {
        "_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_STDOUT_FILENAME": "",
    }  # fmt: skip
    out = server.data_dir / "completions"
    environment["_ARGCOMPLETE_STDOUT_FILENAME"] = str(out)
    subprocess.run(
        [sys.executable, "-m", "server"],
        cwd=ROOT,
        env=os.environ | environment | {"MLDB_SERVER": server.url},
        timeout=PATIENCE,
    )
    assert "sizes" in out.read_text()


def test_doctor(tmp_path, server):
    port = server.url.rpartition(":")[2]
    done = mldb("doctor", "--json", "--port", port, "--data-dir", str(tmp_path / "none"))
    found = {finding["check"]: finding for finding in json.loads(done.stdout)}
    assert done.returncode == 1
    assert found["port"]["state"] == "error"
    assert "--port 0" in found["port"]["remedy"]
    assert found["data root"]["state"] == "ok"
    assert {"python", "disk", "memory", "git", "weights"} <= found.keys()
    assert mldb("doctor", "--port", "0", "--data-dir", str(tmp_path)).returncode == 0
    (tmp_path / "models" / "image_classifier").mkdir(parents=True)
    (tmp_path / "models" / "other.json").touch()
    args = ("doctor", "--json", "--port", "0", "--host", "127.0.0.2", "--data-dir", str(tmp_path))
    local = {finding["check"]: finding for finding in json.loads(mldb(*args).stdout)}
    assert local["exposure"]["state"] == "ok"
    assert (local["weights"]["state"], "INCEPTION_WEIGHTS" in local["weights"]["remedy"]) == ("warning", True)
    (tmp_path / "models" / "image_classifier" / "inception_v3.h5").touch()
    local = {finding["check"]: finding for finding in json.loads(mldb(*args).stdout)}
    assert local["weights"]["state"] == "ok"
    exposed = json.loads(mldb("doctor", "--json", "--port", "0", "--host", "0.0.0.0").stdout)
    assert next(each for each in exposed if each["check"] == "exposure")["remedy"] == "set MLDB_TOKEN"


def test_a_session_of_queries(server, tmp_path):
    """In a terminal: lines until a semicolon, results, errors that do not end it, history for the next time."""
    mine, theirs = pty.openpty()
    environment = os.environ | {"MLDB_SERVER": server.url, "XDG_STATE_HOME": str(tmp_path), "TERM": "xterm"}
    with started("query", env=environment, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        read_until(mine, "mldb>")
        os.write(mine, b"SELECT 6 * 7\r")
        os.write(mine, b"AS answer;\r")
        read_until(mine, "42")
        os.write(mine, b"SELECT nothing(1);\r")
        read_until(mine, "nothing")
        os.write(mine, b"help\r")
        read_until(mine, "formats: text")
        os.write(mine, b"\\q\r")
        assert process.wait(PATIENCE) == 0
    os.close(mine)
    assert "6 * 7" in (tmp_path / "mldb" / "query_history").read_text()
    assert (tmp_path / "mldb" / "query_history").stat().st_mode & 0o077 == 0


def test_the_data_root_is_the_one_that_the_server_would_take(tmp_path):
    for arguments in (("new", "one"), ("remove", "one")):
        done = mldb("plugin", *arguments, MLDB_DATA_DIR=str(tmp_path / "root"))
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "root" / "plugins" / "one").exists() == (arguments[0] == "new")


EXPERIMENT = {
    "type": "classifier.experiment",
    "params": {
        "experimentName": "told",
        "inputData": "SELECT {x} AS features, large AS label FROM told",
        "mode": "boolean",
        "algorithm": "dt",
        "modelFileUrlPattern": "file:///mldb_data/models/told_$runid.cls",
        "kfold": 2,
    },
}


def test_a_report_for_people(server, cli, client):
    """On a terminal an experiment tells how good its classifiers are, and not the two hundred lines of its status."""
    client.must("PUT", "/v1/datasets/told", {"type": "tabular"})
    client.must(
        "POST", "/v1/datasets/told/multirows", [[str(x), [["x", x, 0], ["large", x > 20, 0]]] for x in range(40)]
    )
    client.must("POST", "/v1/datasets/told/commit")
    mine, theirs = pty.openpty()
    environment = os.environ | {"MLDB_SERVER": server.url, "TERM": "xterm", "COLUMNS": "100"}
    arguments = {"env": environment, "stdin": theirs, "stdout": theirs, "stderr": theirs}
    with started("run", json.dumps(EXPERIMENT), **arguments) as process:
        os.close(theirs)
        shown = read_until(mine, "tells the rest")
        assert process.wait(PATIENCE) == 0
    os.close(mine)
    assert re.search(r"measure +mean +std +min +max", re.sub(r"\x1b\[[0-9;]*m", "", shown))
    assert "area under the ROC curve" in shown
    assert "scored by told_scorer_0, told_scorer_1; --json" in shown
    assert "aggregatedTest" not in shown
    assert len(json.loads(cli("run", json.dumps(EXPERIMENT), "--json"))["status"]["folds"]) == 2


# What keeps the engine busy for minutes: triples of three thousand rows.
LONG = "SELECT count(*) FROM (SELECT * FROM busy AS a JOIN busy AS b ON a.x != b.x JOIN busy AS c ON b.x != c.x)"


def test_a_long_query_tells_that_it_runs(server, client):
    client.must("PUT", "/v1/datasets/busy", {"type": "tabular"})
    client.must("POST", "/v1/datasets/busy/multirows", [[str(x), [["x", x, 0]]] for x in range(3000)])
    client.must("POST", "/v1/datasets/busy/commit")
    mine, theirs = pty.openpty()
    environment = os.environ | {"MLDB_SERVER": server.url, "TERM": "xterm"}
    with started("query", LONG, env=environment, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        read_until(mine, "2 s")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
    os.close(mine)


def read_until(terminal: int, text: str) -> str:
    seen = ""

    def read() -> bool:
        nonlocal seen
        if select.select([terminal], [], [], 0)[0]:
            seen += os.read(terminal, 4096).decode(errors="replace")
        return text in seen

    until(read, lambda: seen)
    return seen
