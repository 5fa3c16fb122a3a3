"""The command line: settings from flags and variables, the commands against a real server."""

from __future__ import annotations

import compileall
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from server.cli import main
from server.cli.query import as_text
from server.entities import scaffold
from server.entities.scaffold import create_plugin
from server.settings import from_environment, rows
from tests.conftest import ROOT
from tests.waiting import PATIENCE, until


def mldb(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "server", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


@contextmanager
def started(*arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """The command under way; whatever becomes of the test, it does not outlive it."""
    with subprocess.Popen([sys.executable, "-m", "server", *arguments], cwd=ROOT, text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def test_version_and_help():
    assert mldb("version").stdout.strip()
    help = mldb("serve", "--help").stdout
    for row in rows():
        assert row.flag in help
        assert row.variable in help


def test_other_systems_are_told_what_to_do(monkeypatch, capsys):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert main(["serve"]) == 1
    assert "runs on Linux" in capsys.readouterr().err


def test_settings_come_from_the_environment():
    values = from_environment(
        {"MLDB_PORT": "99", "MLDB_FILE_ROOT": "/a, /b", "MLDB_FETCH_PRIVATE": "yes", "OTHER": "1"}
    )
    assert values == {"port": 99, "file_root": [Path("/a"), Path("/b")], "fetch_private": True}


@pytest.mark.parametrize("variable", ["MLDB_PORT", "MLDB_FETCH_PRIVATE", "MLDB_MAX_BODY"])
def test_wrong_variables_are_named(variable):
    with pytest.raises(ValueError, match=variable):
        from_environment({variable: "nonsense"})


@pytest.mark.parametrize(
    ("flag", "value", "reason"),
    [("--port", "70000", "65535"), ("--worker-memory", "-5", "0 or more"), ("--request-timeout", "nan", "0 or more")],
)
@pytest.mark.parametrize("command", ["serve", "doctor"])
def test_values_that_cannot_be_are_named(tmp_path, command, flag, value, reason):
    done = mldb(command, flag, value, "--data-dir", str(tmp_path / "data"))
    assert (done.returncode, done.stderr.startswith(f"mldb: {flag} {value}"[:20])) == (1, True), done.stderr
    assert reason in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_port_that_is_taken_is_named(server, tmp_path):
    port = server.url.rpartition(":")[2]
    done = mldb("serve", "--port", port, "--data-dir", str(tmp_path / "data"))
    assert done.returncode == 1
    assert done.stderr.startswith(f"mldb: 127.0.0.1:{port}: Address already in use: stop what listens there")


def test_flags_are_written_out(capsys):
    """Half a flag would mean another one as soon as a setting with the same beginning is added."""
    with pytest.raises(SystemExit):
        main(["serve", "--data", "elsewhere"])
    assert "unrecognized arguments: --data" in capsys.readouterr().err


def test_flags_win_over_variables(start_server):
    server = start_server("--http-listen-port", "0", "--token", "flag", environment={"MLDB_TOKEN": "variable"})
    with server.client() as client:
        assert client.get("/ping", headers={"authorization": "Bearer flag"}).status_code == 200
        assert client.get("/ping", headers={"authorization": "Bearer variable"}).status_code == 401


def test_the_port_is_written_where_launchers_look(start_server, tmp_path):
    file = tmp_path / "port"
    server = start_server(environment={"LITERATE_DOC_BIND_FILENAME": str(file)})
    assert server.url.endswith(f":{json.loads(file.read_text())['port']}")


def test_query(server, client):
    done = mldb("query", "SELECT 1 AS one, 'x' AS text", "--server", server.url)
    assert done.stdout.splitlines() == ["_rowName\tone\ttext", "result\t1\tx"]
    assert json.loads(mldb("query", "SELECT 1", "--format", "aos", MLDB_SERVER=server.url).stdout)
    wrong = mldb("query", "SELECT FROM", "--server", server.url)
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("mldb: ")
    assert "Traceback" not in wrong.stderr


def test_a_server_that_is_not_there(capsys):
    assert main(["query", "SELECT 1", "--server", "http://127.0.0.1:9"]) == 3
    assert "does not answer" in capsys.readouterr().err


def test_text_tables():
    assert as_text([["_rowName", "n"], ["a", 1], ["bb", None], ["c", 12]]).splitlines() == [
        "_rowName   n",
        "--------  --",
        "a          1",
        "bb",
        "c         12",
    ]


@pytest.mark.parametrize("name", ["../x", "", ".", "a/b", "-x", "a" * 65, "é"])
def test_names_that_will_not_do(tmp_path, name):
    with pytest.raises(ValueError, match="will not do"):
        create_plugin(tmp_path, name)
    assert not list(tmp_path.iterdir())


def test_a_new_plugin_is_not_overwritten(tmp_path):
    folder = create_plugin(tmp_path, "mine")
    assert (folder / "static" / "index.html").read_text().count("mine") == 2
    with pytest.raises(FileExistsError):
        create_plugin(tmp_path, "mine")
    assert [each.name for each in tmp_path.iterdir()] == ["mine"]


def test_what_an_installation_compiles_is_no_part_of_a_new_plugin(tmp_path, monkeypatch):
    templates = shutil.copytree(scaffold._TEMPLATES, tmp_path / "templates")
    assert compileall.compile_dir(templates, quiet=1)
    monkeypatch.setattr(scaffold, "_TEMPLATES", templates)
    folder = create_plugin(tmp_path / "plugins", "mine")
    assert sorted(each.name for each in folder.iterdir()) == ["main.py", "routes.py", "static", "test_plugin.py"]


def test_a_new_plugin_lives(server, client):
    """From the command to a live route; then an edit and a reload."""
    assert mldb("plugin", "new", "fresh", "--data-dir", str(server.data_dir)).returncode == 0
    until(lambda: client.get("/v1/plugins/fresh").json().get("state") == "ok")
    assert client.get("/v1/plugins/fresh/routes/double?x=4").json() == {"doubled": 8}
    assert "<h1>fresh</h1>" in client.get("/v1/plugins/fresh/routes/static/index.html").text
    assert mldb("plugin", "list", "--server", server.url).stdout == "fresh\tok\tpython\n"
    assert mldb("plugin", "reload", "fresh", "--server", server.url).stdout == "fresh was reloaded\n"
    missing = mldb("plugin", "reload", "nobody", "--server", server.url)
    assert (missing.returncode, "does not exist" in missing.stderr) == (1, True)


def test_a_plugin_that_fails_is_seen(server, client):
    """The list says where the newest version failed, the log shows the plugin's lines and no others."""
    assert mldb("plugin", "new", "torn", "--data-dir", str(server.data_dir)).returncode == 0
    until(lambda: client.get("/v1/plugins/torn/routes/double?x=4").status_code == 200)
    with (server.data_dir / "plugins" / "torn" / "main.py").open("a") as main_file:
        main_file.write("mldb.log('about to fail')\n1 / 0\n")
    listed = "torn\tok\tpython\tnewest version failed at "
    until(lambda: listed in mldb("plugin", "list", "--server", server.url).stdout)
    line = mldb("plugin", "list", "--server", server.url).stdout
    assert "main.py:12: ZeroDivisionError: division by zero" in line
    log = mldb("plugin", "logs", "torn", "--server", server.url).stdout.splitlines()
    assert any(each.endswith("torn: about to fail") for each in log)
    assert all(" torn: " in each for each in log)
    missing = mldb("plugin", "logs", "nobody", "--server", server.url)
    assert (missing.returncode, missing.stdout, "doesn't exist" in missing.stderr) == (1, "", True)


def test_a_worker_that_died_is_seen(server, client):
    routes = "import os; os.kill(os.getpid(), 9)"
    client.put("/v1/plugins/dies", json={"type": "python", "params": {"source": {"routes": routes}}})
    assert client.get("/v1/plugins/dies/routes/x").status_code == 502
    shown = re.compile(r"dies\tok\tpython\tthe worker was killed by SIGKILL at \S+; restarts: 1\tGET /x failed at ")
    until(lambda: bool(shown.search(mldb("plugin", "list", "--server", server.url).stdout)))


SCRIPT = "from mldb import mldb\nrequest.set_return(mldb.script.args['n'] + 1)\n"


def test_a_script_at_the_start(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    flags = ("serve", "--port", "0", "--data-dir", str(tmp_path / "data"), "--run-script", str(script))
    done = mldb(*flags, "--script-args", '{"n": 41}')
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["result"] == 42
    given = tmp_path / "args.json"
    given.write_text('{"n": 1}')
    done = mldb(*flags, "--script-args-url", f"file://{given}", "--file-root", str(tmp_path))
    assert (done.returncode, json.loads(done.stdout.splitlines()[-1])["result"]) == (0, 2)
    missing = mldb(*flags, "--script-args-url", f"file://{tmp_path}/none.json", "--dont-exit-after-script", "no")
    assert missing.returncode == 1
    assert "No such file" in missing.stderr
    failed = mldb(*flags, "--script-args", "{}")
    assert failed.returncode == 1
    assert json.loads(failed.stdout.splitlines()[-1])["exception"]["type"] == "KeyError"


def test_a_javascript_at_the_start(tmp_path):
    script = tmp_path / "script.js"
    script.write_text("args.n + 1")
    flags = ("serve", "--port", "0", "--data-dir", str(tmp_path / "data"), "--run-script", str(script))
    done = mldb(*flags, "--script-args", '{"n": 41}')
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["result"] == 42
