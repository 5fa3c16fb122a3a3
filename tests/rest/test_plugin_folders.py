"""``/v1/plugin-folders``: plugins uploaded as zip archives, made anew, and removed with their folders."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import stat
import zipfile
from typing import Any

import pytest

from tests.repositories import committed, git, served
from tests.rest.test_cli import mldb, started
from tests.waiting import PATIENCE, until

HELLO = {"main.py": "pass", "routes.py": "mldb.plugin.set_return('hello')"}


def archive(files: dict[str, str], **modes: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, text in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = modes.get(name, 0o644) << 16
            packed.writestr(info, text, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def answers(client, id: str, wanted: str) -> None:
    until(lambda: client.get(f"/v1/plugins/{id}/routes/x").text.strip() == f'"{wanted}"')


def test_an_uploaded_folder_becomes_a_plugin_is_replaced_and_goes(client):
    folder = {f"hello/{name}": text for name, text in HELLO.items()} | {"__MACOSX/junk": "x"}
    assert client.put("/v1/plugin-folders/grüß", content=archive(folder)).status_code == 201
    answers(client, "grüß", "hello")
    assert client.get("/v1/plugin-folders").json() == ["grüß"]
    second = HELLO | {"routes.py": "mldb.plugin.set_return('second')"}
    assert client.put("/v1/plugin-folders/grüß", content=archive(second)).status_code == 201
    answers(client, "grüß", "second")
    assert client.delete("/v1/plugin-folders/grüß").status_code == 204
    until(lambda: client.get("/v1/plugins/grüß").status_code == 404)
    assert client.delete("/v1/plugin-folders/grüß").status_code == 404


@pytest.mark.parametrize(
    ("files", "modes", "reason"),
    [
        ({"main.py": "", "../evil.py": ""}, {}, "outside"),
        ({"main.py": "", "/etc/evil.py": ""}, {}, "outside"),
        ({"main.py": "", "..\\evil.py": ""}, {}, "outside"),
        ({"main.py": "", "C:/evil.py": ""}, {}, "outside"),
        ({"main.py": "/etc/passwd"}, {"main.py": stat.S_IFLNK | 0o777}, "link"),
        ({"readme.md": ""}, {}, "main.py"),
        ({"main.py": "", "a": "", "a/b": ""}, {}, "twice"),
        ({"main.py": "0" * (3 << 20)}, {}, "plugin-size"),
    ],
)
def test_hostile_archives_leave_nothing(start_server, files, modes, reason):
    server = start_server("--plugin-size", "1")
    with server.client() as client:
        answer = client.put("/v1/plugin-folders/evil", content=archive(files, **modes))
        assert answer.status_code in (400, 413)
        assert reason in answer.json()["error"]
        assert client.get("/v1/plugin-folders").json() == []
    assert not list(server.data_dir.rglob("evil.py"))
    assert not any((server.data_dir / ".scratch").iterdir())


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 broken"])
def test_what_is_no_archive_is_refused(client, content):
    assert client.put("/v1/plugin-folders/bad", content=content).status_code == 400


@pytest.mark.parametrize("name", [".hidden", "autoload", "a%2Fb", "%2E%2E"])
def test_names_stay_in_the_folder(client, name):
    assert client.put(f"/v1/plugin-folders/{name}", content=archive(HELLO)).status_code in (400, 404)


def test_plugin_code_may_not_install_plugins(client):
    source = {"source": "mldb.script.set_return(mldb.perform('POST', '/v1/plugin-folders/sneaky'))"}
    answer = client.post("/v1/types/plugins/python/routes/run", json=source)
    assert answer.json()["result"]["statusCode"] == 403


def test_a_new_plugin_serves_a_page_and_can_be_stopped(client):
    assert client.post("/v1/plugin-folders/mine").status_code == 201
    assert client.post("/v1/plugin-folders/mine").status_code == 409
    until(lambda: client.get("/v1/plugins/mine/routes/static/index.html").status_code == 200)
    assert client.post("/v1/plugins/mine/stop").json()["status"]["state"] == "stopped"
    refused = client.get("/v1/plugins/mine/routes/double")
    assert refused.status_code == 503
    assert "reload" in refused.json()["error"]
    assert client.get("/readyz").status_code == 200
    assert client.post("/v1/plugins/mine/reload").status_code == 200
    assert client.get("/v1/plugins/mine/routes/double", params={"x": 4}).json() == {"doubled": 8}
    client.delete("/v1/plugin-folders/mine")


def test_a_stopped_plugin_stays_stopped_over_a_restart(start_server):
    server = start_server()
    source = {"type": "python", "params": {"source": {"main": "", "routes": "request.set_return({})"}}}
    with server.client() as client:
        client.must("POST", "/v1/plugin-folders/folder")
        wait_for_state(client, "folder", "ok")
        for id in ("stored", "going"):
            client.must("PUT", f"/v1/plugins/{id}", source)
        for id in ("folder", "stored"):
            client.must("POST", f"/v1/plugins/{id}/stop")
    server.stop()
    server = start_server(data_dir=server.data_dir)
    with server.client() as client:
        for id in ("folder", "stored", "going"):
            wait_for_state(client, id, "ok")
        for id in ("folder", "stored"):
            assert client.get(f"/v1/plugins/{id}").json()["status"]["state"] == "stopped"
            assert client.get(f"/v1/plugins/{id}/routes/x").status_code == 503
        assert client.get("/v1/plugins/going/routes/x").status_code == 200
        client.must("POST", "/v1/plugins/folder/reload")
        assert client.get("/v1/plugins/folder/routes/double", params={"x": 4}).json() == {"doubled": 8}
        client.must("PUT", "/v1/plugins/stored", source)
        assert client.get("/v1/plugins/stored/routes/x").status_code == 200
    server.stop()
    with start_server(data_dir=server.data_dir).client() as client:
        for id, route in (("folder", "double?x=1"), ("stored", "x")):
            wait_for_state(client, id, "ok")
            assert client.get(f"/v1/plugins/{id}/routes/{route}").status_code == 200


def test_a_folder_whose_name_is_no_text_does_not_hide_the_others(client, server):
    client.must("POST", "/v1/plugin-folders/seen")
    odd = server.data_dir / "plugins" / os.fsdecode(b"caf\xe9")
    odd.mkdir()
    (odd / "main.py").write_text("")
    until(lambda: "its name is not UTF-8: rename it" in client.get("/logs/mldb").text)
    assert "seen" in client.must("GET", "/v1/plugin-folders")
    shutil.rmtree(odd)
    client.must("DELETE", "/v1/plugin-folders/seen")


def wait_for_state(client, id, state):
    until(lambda: client.get(f"/v1/plugins/{id}").json().get("state") == state)


def written(folder, version: str):
    """A plugin that answers with the version that its main.py has."""
    folder.mkdir(parents=True)
    (folder / "main.py").write_text(f"version = {version!r}")
    (folder / "routes.py").write_text("mldb.plugin.set_return(version)")
    return folder


def test_a_folder_changes_places_with_its_next_version(start_server, tmp_path):
    server = start_server()
    plugins = server.data_dir / "plugins"
    with server.client() as client:
        written(tmp_path / "first", "1").rename(plugins / "app")
        answers(client, "app", "1")
        second = written(tmp_path / "second", "2")
        (plugins / "app").rename(tmp_path / "old")
        second.rename(plugins / "app")
        answers(client, "app", "2")
        (plugins / "app" / "main.py").write_text("version = '3'")
        answers(client, "app", "3")


def test_the_folder_of_plugins_changes_places_or_is_made_anew(start_server, tmp_path):
    server = start_server()
    plugins = server.data_dir / "plugins"
    with server.client() as client:
        for id in ("stays", "goes"):
            written(tmp_path / id, "1").rename(plugins / id)
            answers(client, id, "1")
        for id in ("stays", "comes"):
            written(tmp_path / "next" / id, "2")
        plugins.rename(tmp_path / "old")
        (tmp_path / "next").rename(plugins)
        for id in ("stays", "comes"):
            answers(client, id, "2")
        until(lambda: client.get("/v1/plugins").json() == ["comes", "stays"])
        shutil.rmtree(plugins)
        until(lambda: client.get("/v1/plugins").json() == [])
        plugins.mkdir()
        written(tmp_path / "last", "3").rename(plugins / "last")
        answers(client, "last", "3")


def test_routes_may_come_after_main_and_go_again(start_server):
    """Who writes a plugin does so one file after the other."""
    server = start_server()
    folder = server.data_dir / "plugins" / "slowly"
    folder.mkdir(parents=True)
    (folder / "main.py").write_text("value = 'here'")
    with server.client() as client:
        wait_for_state(client, "slowly", "ok")
        assert client.get("/v1/plugins/slowly/routes/x").status_code == 404
        (folder / "routes.py").write_text("mldb.plugin.set_return(value)")
        assert client.get("/v1/plugins/slowly/routes/x").json() == "here"
        (folder / "routes.py").unlink()
        assert client.get("/v1/plugins/slowly/routes/x").status_code == 404
        (folder / "routes.py").write_text("open('/nowhere')")
        assert client.get("/v1/plugins/slowly/routes/x").status_code == 400


def test_main_may_change_while_it_runs(start_server):
    server = start_server()
    folder = server.data_dir / "plugins" / "hasty"
    folder.mkdir(parents=True)
    (folder / "routes.py").write_text("mldb.plugin.set_return(value)")
    (folder / "main.py").write_text("import time\nvalue = 'first'\nmldb.log('running')\ntime.sleep(1)")
    with server.client() as client:
        until(lambda: "running" in client.get("/logs/mldb", headers={"accept": "text/plain"}).text)
        (folder / "main.py").write_text("value = 'second'")
        answers(client, "hasty", "second")


def test_nothing_of_an_installation_that_was_killed_stays(start_server):
    """One that is under way is left alone."""
    server = start_server()
    server.stop()
    plugins = server.data_dir / "plugins"
    (plugins / ".new-empty").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as silent:  # git waits for its first word
        address = f"git://127.0.0.1:{silent.getsockname()[1]}/slow"
        arguments = ("plugin", "install", address, "--data-dir", str(server.data_dir))
        with started(*arguments, start_new_session=True) as installation:
            (draft,) = until(lambda: [path.parent for path in plugins.glob(".new-*/content")])
            start_server(data_dir=server.data_dir).stop()
            assert list(plugins.glob(".new-*")) == [draft]
            os.killpg(installation.pid, signal.SIGKILL)
    start_server(data_dir=server.data_dir).stop()
    assert not list(plugins.iterdir())


def test_a_repository_is_installed_whatever_its_language(start_server, tmp_path):
    server = start_server("--fetch-private")
    work = tmp_path / "served" / "repo"
    committed(work, {"main.js": "plugin.setRequestHandler(() => 'in JavaScript')"})
    with server.client() as client, served(work) as address:
        assert client.put("/v1/plugin-folders/js", params={"address": address}).status_code == 201
        answers(client, "js", "in JavaScript")
        assert client.get("/v1/plugins/js").json()["type"] == "javascript"
        (work / "main.js").unlink()
        committed(work, {"main.py": "", "routes.py": "mldb.plugin.set_return('in Python')"})
        assert client.put("/v1/plugin-folders/py", params={"address": address}).status_code == 201
        answers(client, "py", "in Python")
        at = {"branch": "master", "commit": git(work, "rev-parse", "HEAD")}
        installed = (server.data_dir / "plugins" / "py").resolve()
        assert client.get("/v1/plugins/py/version").json() == {"address": str(installed), **at}
        assert client.get("/v1/plugins/py/report").json()["source"] == {"address": str(installed), **at}
        assert f"\tmaster@{at['commit'][:10]}\n" in mldb("plugin", "list", "--server", server.url).stdout
        committed(installed, {"main.py": "'pulled'"})
        at["commit"] = git(installed, "rev-parse", "HEAD")
        assert client.get("/v1/plugins/py/version").json() == {"address": str(installed), **at}
        first = client.put("/v1/plugin-folders/first", params={"address": f"{address}#master~1"})
        assert first.status_code == 201
        answers(client, "first", "in JavaScript")
        for wrong, reason in ((f"{address}#none", "no revision 'none'"), ("git://-x", "Unsupported URL")):
            answer = client.put("/v1/plugin-folders/wrong", params={"address": wrong})
            assert (answer.status_code, reason in answer.json()["error"]) == (400, True)
        (work / "main.py").unlink()
        committed(work, {"readme.md": ""})
        answer = client.put("/v1/plugin-folders/wrong", params={"address": address})
        assert (answer.status_code, "main.js" in answer.json()["error"]) == (400, True)
        assert client.get("/v1/plugin-folders").json() == ["first", "js", "py"]


@pytest.mark.parametrize("type", ["python", "javascript"])
def test_a_new_plugin_has_a_route_a_page_and_tests_that_pass(server, client, type):
    """Under a name that is no name of Python or SQL."""
    id = f"new-{type}"
    assert client.post(f"/v1/plugin-folders/{id}", params={"type": type}).status_code == 201
    until(lambda: client.get(f"/v1/plugins/{id}/routes/double?x=4").text.strip() == '{"doubled":8}')
    assert client.get(f"/v1/plugins/{id}").json()["type"] == type
    assert f"<h1>{id}</h1>" in client.get(f"/v1/plugins/{id}/routes/static/index.html").text
    done = mldb("plugin", "test", id, "--json", MLDB_SERVER=server.url)
    assert (done.returncode, json.loads(done.stdout)["run"]) == (0, 2), done.stdout


def test_a_new_plugin_of_no_known_type_is_refused(client):
    answer = client.post("/v1/plugin-folders/x", params={"type": "cobol"})
    assert (answer.status_code, "python or javascript" in answer.json()["error"]) == (400, True)


@pytest.mark.parametrize(
    ("type", "routes", "message", "line"),
    [
        ("python", "x = 1\n1 / 0", "ZeroDivisionError: division by zero", 2),
        ("python", "from mldb import mldb", None, None),
        ("javascript", "plugin.setRequestHandler(() => {\n  throw new Error('no tea');\n});", "Error: no tea", 2),
    ],
)
def test_the_last_request_that_failed_is_told(server, client, type, routes, message, line):
    """To the console, until the plugin is loaded anew."""
    source = {"main": "", "routes": routes} if type == "python" else {"main": routes}
    client.put("/v1/plugins/tea", json={"type": type, "params": {"source": source}})
    assert client.get("/v1/plugins/tea/routes/pot?secret=1").status_code in (400, 500)
    error = told(client, "tea", lambda report: "lastError" in report)["lastError"]
    assert error["request"] == "GET /pot"
    if message:
        assert (error["message"], error["line"]) == (message, line)
        assert error["file"]
    else:
        assert error["message"] == "the route ended without an answer"
    assert error["time"].startswith("20")
    assert client.post("/v1/plugins/tea/reload").status_code == 200
    told(client, "tea", lambda report: "lastError" not in report)


def told(client, id: str, awaited) -> dict[str, Any]:
    """What consoles are told of a plugin, as soon as it is what is awaited."""
    with client.stream("GET", "/v1/events", timeout=PATIENCE) as events:
        for line in events.iter_lines():
            changed = json.loads(line[5:])["changed"] if line.startswith("data:") else []
            for each in changed:
                if (each["kind"], each["id"]) == ("plugin", id) and awaited(each.get("plugin", {})):
                    return each["plugin"]
    raise AssertionError("the stream ended")


def test_a_plugin_directory_may_lie_anywhere(start_server, tmp_path):
    folder = tmp_path / "far" / "tea"
    written(folder, "here")
    (folder / "mldb_plugin.json").write_text('{"config": {"id": "tea", "type": "python"}}')
    server = start_server("--plugin-directory", str(tmp_path / "far"))
    with server.client() as client:
        answers(client, "tea", "here")
        transform = {"inputData": "SELECT 1", "outputDataset": "one", "runOnCreation": True}
        assert client.put("/v1/procedures/t", json={"type": "transform", "params": transform}).status_code == 201
        export = {"exportData": "SELECT * FROM one", "dataFileUrl": f"file://{folder}/main.py"}
        refused = client.put("/v1/procedures/e", json={"type": "export.csv", "params": export})
        assert "would become code" in refused.text


def test_how_many_files_a_plugin_may_have_is_a_setting(start_server):
    with start_server("--plugin-files", "2").client() as client:
        assert client.put("/v1/plugin-folders/few", content=archive(HELLO)).status_code == 201
        many = archive(HELLO | {f"{number}.txt": "" for number in range(3)})
        refused = client.put("/v1/plugin-folders/many", content=many)
        assert refused.status_code == 400
        assert "the 2 files that the setting plugin-files allows" in refused.json()["error"]
