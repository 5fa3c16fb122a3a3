"""``/v1/plugin-folders``: plugins uploaded as zip archives, made anew, and removed with their folders."""

from __future__ import annotations

import io
import shutil
import stat
import time
import zipfile

import pytest

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
    deadline = time.monotonic() + 20
    while (answer := client.get(f"/v1/plugins/{id}/routes/x")).text.strip() != f'"{wanted}"':
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.1)


def test_an_uploaded_folder_becomes_a_plugin_is_replaced_and_goes(client):
    folder = {f"hello/{name}": text for name, text in HELLO.items()} | {"__MACOSX/junk": "x"}
    assert client.put("/v1/plugin-folders/grüß", content=archive(folder)).status_code == 201
    answers(client, "grüß", "hello")
    assert client.get("/v1/plugin-folders").json() == ["grüß"]
    second = HELLO | {"routes.py": "mldb.plugin.set_return('second')"}
    assert client.put("/v1/plugin-folders/grüß", content=archive(second)).status_code == 201
    answers(client, "grüß", "second")
    assert client.delete("/v1/plugin-folders/grüß").status_code == 204
    deadline = time.monotonic() + 20
    while client.get("/v1/plugins/grüß").status_code != 404:
        assert time.monotonic() < deadline
        time.sleep(0.1)
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
    assert not list((server.data_dir / "plugins" / ".checkouts").iterdir())


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
    deadline = time.monotonic() + 20
    while client.get("/v1/plugins/mine/routes/static/index.html").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
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


def wait_for_state(client, id, state):
    deadline = time.monotonic() + 20
    while client.get(f"/v1/plugins/{id}").json().get("state") != state:
        assert time.monotonic() < deadline
        time.sleep(0.05)


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
        deadline = time.monotonic() + 20
        while client.get("/v1/plugins").json() != ["comes", "stays"]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        shutil.rmtree(plugins)
        while client.get("/v1/plugins").json() != []:
            assert time.monotonic() < deadline
            time.sleep(0.1)
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
        deadline = time.monotonic() + 20
        while client.get("/v1/plugins/slowly").json().get("state") != "ok":
            assert time.monotonic() < deadline
            time.sleep(0.05)
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
        deadline = time.monotonic() + 20
        while "running" not in client.get("/logs/mldb", headers={"accept": "text/plain"}).text:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (folder / "main.py").write_text("value = 'second'")
        answers(client, "hasty", "second")
