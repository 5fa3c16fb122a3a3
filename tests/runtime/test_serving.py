"""Plugins through a real server: folders, reload under load, static files, addresses, logs."""

import json
import os
import re
import subprocess
import threading
import time
from pathlib import Path
from textwrap import indent

import pytest

from runtime.supervisor import IMPATIENT_SECONDS
from tests.repositories import committed, git, served
from tests.waiting import PATIENCE, SOON, until


def put(client, id, **params):
    return client.put(f"/v1/plugins/{id}", content=json.dumps({"type": "python", "params": params}))


def run_script(client, source, **members):
    return client.post("/v1/types/plugins/python/routes/run", content=json.dumps({"source": source, **members}))


@pytest.fixture
def folder(server, tmp_path_factory):
    """Makes plugin folders inside the data root, where addresses may point."""

    def make(name, **files):
        path = server.data_dir / "sources" / name
        path.mkdir(parents=True)
        for file, text in files.items():
            (path / file.replace("__", ".")).write_text(text)
        return path

    return make


def test_a_plugin_of_a_text_knows_where_its_folder_would_be(client, server):
    source = "print(mldb.plugin.get_plugin_dir())\nmldb.plugin.serve_static_folder('static', 'pages')"
    failed = put(client, "nowhere", source=source).json()["details"]
    place = server.data_dir.resolve() / "plugins" / "nowhere"
    assert failed["logs"][0]["c"] == str(place)
    missing = f"Cannot serve static folder for path that does not exist: {place / 'pages'}"
    assert failed["exception"]["message"] == missing
    assert not place.exists()


def test_the_source_may_be_the_text_of_main(client):
    made = put(client, "texted", source="print('here')")
    assert made.status_code == 201, made.text
    assert made.json()["config"]["params"] == {"source": "print('here')"}
    assert client.get("/v1/plugins/texted/routes/lastoutput").json()["logs"][0]["c"] == "here"
    refused = put(client, "texted", source=[1])
    assert (refused.status_code, "'source'" in refused.json()["error"]) == (400, True)
    client.delete("/v1/plugins/texted")


class Load:
    """Requests at a steady rate; collects what did not answer 200."""

    def __init__(self, server, path, rate=50):
        self._client = server.client()
        self._path = path
        self._pause = 1 / rate
        self._stop = threading.Event()
        self.bad = []
        self.bodies = []
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._stop.wait(self._pause):
            answer = self._client.get(self._path)
            self.bodies.append(answer.text.strip())
            if answer.status_code != 200:
                self.bad.append((answer.status_code, answer.text))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        self._client.close()


# ── reload ──


def test_reload_keeps_the_last_good_one_under_load(server, client):
    folder = server.data_dir / "plugins" / "live"
    folder.mkdir(parents=True)
    (folder / "routes.py").write_text("request.set_return(version)")
    (folder / "main.py").write_text("version = 1")
    until(lambda: client.get("/v1/plugins/live/routes/x").status_code == 200)
    with Load(server, "/v1/plugins/live/routes/x") as load:
        until(lambda: "1" in load.bodies)
        (folder / "main.py").write_text("version = 2\n\n1/0\n")
        failure = until(lambda: client.get("/v1/plugins/live").json().get("status", {}).get("lastFailure"))
        answered = len(load.bodies)
        until(lambda: len(load.bodies) > answered + 20)
        (folder / "main.py").write_text("version = 3")
        until(lambda: load.bodies[-1] == "3")
        (folder / "helper.py").write_text("value = 4")
        (folder / "main.py").write_text("from helper import value as version")
        until(lambda: load.bodies[-1] == "4")
        (folder / "helper.py").write_text("value = 5")
        until(lambda: load.bodies[-1] == "5")
    assert load.bad == []
    assert set(load.bodies) == {"1", "3", "4", "5"}
    assert failure["line"] == 3
    assert failure["file"].endswith("/live/main.py")
    assert failure["message"] == "ZeroDivisionError: division by zero"
    assert failure["time"].startswith("20")


def test_an_edit_is_live_within_half_a_second(server, client):
    """One of several at least: what else the machine does makes edits later, nothing makes them sooner."""
    folder = server.data_dir / "plugins" / "quick"
    folder.mkdir(parents=True)
    (folder / "routes.py").write_text("request.set_return(version)")

    def seconds(version):
        saved = time.monotonic()
        (folder / "main.py").write_text(f"version = {version}")
        until(lambda: client.get("/v1/plugins/quick/routes/x").text == f"{version}\n")
        return time.monotonic() - saved

    seconds(0)
    assert any(seconds(version) < 0.5 for version in range(1, 20))


def test_routes_are_never_run_half_written(server, client):
    folder = server.data_dir / "plugins" / "edited"
    folder.mkdir(parents=True)
    routes = folder / "routes.py"
    routes.write_text("request.set_return(0)")
    (folder / "main.py").write_text("")
    until(lambda: client.get("/v1/plugins/edited/routes/x").status_code == 200)
    with Load(server, "/v1/plugins/edited/routes/x") as load:
        for edit in range(1, 21):
            with routes.open("w") as file:  # the file is empty now
                time.sleep(0.03)
                file.write(f"request.set_return({edit})")
            assert client.get("/v1/plugins/edited/routes/x").text == f"{edit}\n"
        for edit in range(5):
            routes.rename(folder / "routes.py~")
            time.sleep(0.03)
            routes.write_text(f"request.set_return('moved {edit}')")
            assert client.get("/v1/plugins/edited/routes/x").text == f'"moved {edit}"\n'
    assert load.bad == []


def test_folder_drop_failure_mend_and_removal(server, client):
    folder = server.data_dir / "plugins" / "dropped"
    folder.mkdir(parents=True)
    (folder / "main.py").write_text("import missing_module")
    status = until(lambda: (s := client.get("/v1/plugins/dropped").json()).get("state") == "error" and s)
    exception = status["progress"]["exception"]["details"]["exception"]
    assert exception["message"] == "No module named 'missing_module'"
    (folder / "routes.py").write_text("request.set_return('here')")
    (folder / "main.py").write_text("")
    until(lambda: client.get("/v1/plugins/dropped/routes/").text == '"here"\n')
    for file in folder.iterdir():
        if file.is_file():
            file.unlink()
    subprocess.run(["rm", "-r", str(folder)], check=True)
    until(lambda: "dropped" not in client.get("/v1/plugins").json())
    assert client.get("/v1/plugins/dropped/routes/").status_code == 404


def test_an_endless_main_is_mended_by_an_edit(server, client):
    """At its first start, as an edit, and as the start after a crash."""
    folder = server.data_dir / "plugins" / "endless"
    folder.mkdir(parents=True)
    (folder / "routes.py").write_text(
        "import os\nif request.remaining == '/die': os._exit(1)\nrequest.set_return(version)"
    )

    def serves(version):
        until(lambda: client.get("/v1/plugins/endless/routes/").text == f"{version}\n")

    hanging = folder / "hanging"
    endless = f"open({str(hanging)!r}, 'w').close()\nwhile True: pass\n"

    def hangs():
        until(hanging.exists)
        hanging.unlink()
        time.sleep(IMPATIENT_SECONDS + 1)

    def hang():
        (folder / "main.py").write_text(endless)
        hangs()

    hang()
    assert client.get("/v1/plugins/endless").json()["state"] == "initializing"
    (folder / "main.py").write_text("version = 1")
    serves(1)
    hang()
    (folder / "main.py").write_text("version = 2")
    serves(2)
    (folder / "main.py").write_text(
        f"import os\nif os.path.exists({str(folder / 'armed')!r}):\n{indent(endless, '    ')}\nversion = 3"
    )
    serves(3)
    (folder / "armed").touch()
    assert client.get("/v1/plugins/endless/routes/die").status_code == 502
    hangs()
    (folder / "armed").unlink()
    (folder / "main.py").write_text("version = 4")
    serves(4)
    hang()
    begun = time.monotonic()
    assert client.post("/v1/plugins/endless/stop").status_code == 200
    assert time.monotonic() - begun < SOON


def test_why_something_that_was_dropped_is_no_plugin_is_told(server, client, tmp_path):
    plugins = server.data_dir / "plugins"
    plugins.mkdir(exist_ok=True)
    (tmp_path / "main.py").write_text("")
    (plugins / "linked").symlink_to(tmp_path)
    (plugins / "headless").mkdir()
    (plugins / "headless" / "routes.py").write_text("")
    (plugins / "packed.zip").write_bytes(b"")
    reasons = {"linked": "it is a link", "headless": "it has no main.py", "packed.zip": "it is no folder"}
    if os.getuid() == 0:
        (plugins / "foreign").mkdir()
        (plugins / "foreign" / "main.py").write_text("")
        os.chown(plugins / "foreign" / "main.py", 4321, 4321)
        reasons["foreign"] = "belongs to the user 4321, the server is 0: chown it"
    for name, reason in reasons.items():
        until(lambda name=name, reason=reason: reason in client.get("/logs/mldb", params={"source": name}).text)
    assert not reasons.keys() & set(client.get("/v1/plugins").json())


def test_autoload_and_restart(start_server, tmp_path):
    auto = tmp_path / "data" / "plugins" / "autoload" / "deep" / "auto"
    auto.mkdir(parents=True)
    (auto / "main.py").write_text("")
    (auto / "routes.py").write_text("request.set_return(mldb.plugin.args)")
    manifest = {"config": {"id": "auto", "type": "python", "params": {"args": {"n": 1}}}}
    (auto / "mldb_plugin.json").write_text(json.dumps(manifest))
    bad = tmp_path / "data" / "plugins" / "autoload" / "bad"
    bad.mkdir()
    (bad / "mldb_plugin.json").write_text("{")
    first = start_server()
    with first.client() as client:
        until(lambda: client.get("/v1/plugins/auto/routes/x").text == '{"n":1}\n')
        assert put(client, "kept", source={"routes": "request.set_return('kept')"}).status_code == 201
    assert first.stop() == 0
    second = start_server()
    with second.client() as client:
        until(lambda: client.get("/v1/plugins/kept/routes/x").text == '"kept"\n')
        until(lambda: client.get("/v1/plugins").json() == ["auto", "kept"])


def test_a_slow_plugin_does_not_hold_up_the_others_at_the_start(start_server, tmp_path):
    mains = {"a": "import time; time.sleep(600)", "b": "mldb.create_dataset({'type': 'tabular', 'id': 'made'})",
             "c": "assert mldb.perform('GET', '/v1/datasets/made')['statusCode'] == 200"}  # fmt: skip
    for name, main in mains.items():
        folder = tmp_path / "data" / "plugins" / name
        folder.mkdir(parents=True)
        (folder / "main.py").write_text(main)
        (folder / "routes.py").write_text("request.set_return(1)")
    with start_server().client() as client:
        until(lambda: client.get("/v1/plugins/c/routes/x").text == "1\n")
        assert client.get("/v1/plugins/a").json()["state"] in ("initializing", "executing")


def test_killed_host_leaves_no_worker(start_server):
    sleep = f"54321.{os.getpid()}"  # known from those of other runs of the tests

    def sleepers():
        return subprocess.run(["pgrep", "-f", f"sleep {sleep}"], capture_output=True, check=False).stdout

    server = start_server()
    with server.client() as client:
        put(client, "p", source={"main": f"import subprocess; subprocess.Popen(['sleep', '{sleep}'])"})
    until(sleepers)
    server.kill()
    until(lambda: not sleepers())


# ── files ──


def test_static_and_documentation_folders(client, folder):
    main = "mldb.plugin.serve_static_folder('/static', 'static')\nmldb.plugin.serve_documentation_folder('doc')"
    path = folder("files", main__py=main, routes__py="request.set_return('route')")
    (path / "static" / "sub").mkdir(parents=True)
    (path / "static" / "index.html").write_text("<h1>{{HTTP_BASE_URL}}/index</h1>")
    (path / "static" / "a b.png").write_bytes(b"\x89PNG")
    (path / "static" / "x.json").write_text("{}")
    (path / "doc").mkdir()
    (path / "doc" / "index.md").write_text(
        "# Title\n\n| a |\n|---|\n| 1 |\n\n[next](other.md#part) [out](http://x/y.md)"
    )
    assert put(client, "files", address=f"file://{path}").status_code == 201
    base = "/v1/plugins/files/routes/static"
    index = client.get(f"{base}/")
    assert (index.text, index.headers["content-type"]) == ("<h1>/index</h1>", "text/html")
    assert index.headers["x-content-type-options"] == "nosniff"
    assert "object-src 'none'" in index.headers["content-security-policy"]
    assert client.get(f"{base}/a%20b.png").headers["content-type"] == "image/png"
    assert client.get(f"{base}/x.json").headers["content-type"] == "application/json"
    assert client.get(f"{base}/sub").headers["location"] == f"{base}/sub/"
    forbidden = client.get(f"{base}/sub/")
    assert (forbidden.status_code, forbidden.text) == (403, "Directory listing not allowed")
    missing = client.get(f"{base}/none.html")
    assert (missing.status_code, missing.headers["content-type"]) == (404, "text/plain")
    assert missing.text.startswith("File 'file:///")
    assert client.post(f"{base}/index.html").text == '"route"\n'
    assert client.get(base).text == '"route"\n'
    (path / "static" / "new.txt").write_text("new")
    assert client.get(f"{base}/new.txt").text == "new"
    page = client.get("/v1/plugins/files/doc/index.md").text
    assert page == client.get("/v1/plugins/files/doc/index.md.html").text
    assert "<table " in page
    assert 'href="other.md.html#part"' in page
    assert 'href="http://x/y.md"' in page


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("serve_static_folder('', 'x')", "Route and static directory cannot be empty for serving static folder"),
        ("serve_documentation_folder('')", "Documentation directory cannot be empty"),
        (
            "serve_documentation_folder('none')",
            "Cannot serve documentation folder for path that does not exist: ",
        ),
        ("serve_static_folder('s', 'none')", "Cannot serve static folder for path that does not exist: "),
        ("serve_static_folder('s', '../..')", "Cannot serve static folder outside of the plugin: "),
        ("serve_static_folder('s', '.'); mldb.plugin.serve_static_folder('/s/', '.')", "the route 's' serves a static"),
    ],
)
def test_folders_that_cannot_be_served(client, folder, call, text):
    path = folder(f"refused{abs(hash(call))}", main__py=f"mldb.plugin.{call}")
    exception = put(client, "refused", address=f"file://{path}").json()["details"]["exception"]
    assert exception["message"].startswith(text)
    assert exception["type"] == "RuntimeError"


SPELLINGS = [
    "../secret.txt", "..%2fsecret.txt", "%2e%2e/secret.txt", "%2e%2e%2fsecret.txt", ".%2e/secret.txt",
    "%2e./secret.txt",
    "%252e%252e%252fsecret.txt", "%252e%252e/secret.txt", "..%252fsecret.txt", "%25252e%25252e%25252fsecret.txt",
    "..%5csecret.txt", "..\\secret.txt", "%2e%2e%5csecret.txt", "..%255csecret.txt", "....//secret.txt",
    "..;/secret.txt",
    "sub/../../secret.txt", "sub/%2e%2e/%2e%2e/secret.txt", "./../secret.txt", "/secret.txt", "//secret.txt",
    "%2fsecret.txt", "%2f%2fetc/passwd", "/etc/passwd", "//etc/passwd", "%2fetc%2fpasswd", "%252fetc%252fpasswd",
    "C:/secret.txt", "C:%5csecret.txt", "file:///etc/passwd", "secret.txt%00.html", "..%00/secret.txt", "%00",
    "..%c0%afsecret.txt", "%c0%ae%c0%ae/secret.txt", "..%ef%bc%8fsecret.txt", "%uff0e%uff0e/secret.txt",
    "link.txt", "linked/secret.txt", "a/" * 3000 + "secret.txt", "x" * 5000, "../static_evil/secret.txt",
    "..%2fstatic_evil%2fsecret.txt", "../../../../../../../../etc/passwd", "fifo",
]  # fmt: skip


@pytest.fixture(scope="module")
def exposed(server):
    """A plugin with a secret beside its folder, links to it, and a sibling whose name begins alike."""
    root = server.data_dir / "sources" / "exposed"
    static = root / "static"
    (static / "sub").mkdir(parents=True)
    (root / "static_evil").mkdir()
    for place in (root, root / "static_evil", root.parent):
        (place / "secret.txt").write_text("SECRET")
    (static / "link.txt").symlink_to(root / "secret.txt")
    (static / "linked").symlink_to(root)
    (root / "main.py").write_text(
        "mldb.plugin.serve_static_folder('s', 'static')\nmldb.plugin.serve_documentation_folder('static')"
    )
    subprocess.run(["mkfifo", str(static / "fifo")], check=True)
    with server.client() as client:
        assert put(client, "exposed", address=f"file://{root}").status_code == 201


@pytest.mark.parametrize("place", ["/v1/plugins/exposed/routes/s/", "/v1/plugins/exposed/doc/"])
def test_no_spelling_leaves_the_folder(server, exposed, place):
    host, _, port = server.url.removeprefix("http://").partition(":")
    import socket

    for spelling in SPELLINGS:
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as raw:
            request = f"GET {place}{spelling} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
            raw.sendall(request.encode())
            answer = b"".join(iter(lambda: raw.recv(65536), b""))
        status = int(answer.split(None, 2)[1])
        assert 300 <= status < 500, spelling
        assert b"SECRET" not in answer, spelling
        assert b"root:" not in answer, spelling


# ── addresses ──


def test_address_of_a_file_and_of_a_missing_one(client, folder):
    path = folder("single", only__py="import os\nprint(os.path.basename(mldb.plugin.get_plugin_dir()))")
    assert put(client, "single", address=f"file://{path}/only.py").status_code == 201
    output = client.get("/v1/plugins/single/routes/lastoutput").json()
    assert output["logs"][0]["c"] == "single"
    assert client.get("/v1/plugins/single/version").json() == {"address": f"{path}/only.py"}
    missing = put(client, "missing", address=f"file://{path}/none.py")
    assert missing.status_code == 400
    assert missing.json()["error"].startswith("Exception opening plugin: ")
    no_main = put(client, "nomain", address=f"file://{path}")
    assert no_main.json()["error"].endswith("/main.py': No such file or directory")
    assert not no_main.json()["error"].startswith("Exception opening plugin")


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({}, "Exception opening plugin: Unsupported URL: "),
        ({"address": "ftp://x/y"}, "Exception opening plugin: Unsupported URL: ftp://x/y"),
        ({"address": "file:///etc"}, "Exception opening plugin: "),
        ({"address": "file://x", "source": {"main": "1"}}, "Cannot specify both address and source for plugin"),
        ({"address": "git://127.0.0.1:1/x"}, "Exception opening plugin: requests to '127.0.0.1' are refused"),
        ({"address": "git://--upload-pack=x/y"}, "Exception opening plugin: Unsupported URL: "),
    ],
)
def test_refused_addresses(client, params, error):
    answer = put(client, "refused", **params)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(error)


@pytest.fixture
def repository(tmp_path):
    """A repository with two commits on loopback; its address and its folder."""
    work = tmp_path / "served" / "repo"
    committed(work, {"main.py": "mark = 'first'", "routes.py": "request.set_return(mark)"}, "First commit")
    git(work, "branch", "old")
    committed(work, {"main.py": "mark = 'second'"}, "Second commit")
    with served(work) as address:
        yield address, work


def test_git_addresses(start_server, repository):
    address, work = repository
    server = start_server("--fetch-private")
    with server.client() as client:
        assert put(client, "g", address=address).status_code == 201
        assert client.get("/v1/plugins/g/routes/x").text == '"second"\n'
        version = client.get("/v1/plugins/g/version").json()
        assert version == {
            "address": address.removeprefix("git:"),
            "branch": "master",
            "message": "Second commit",
            "revision": git(work, "rev-parse", "HEAD^{tree}"),
        }
        for revision in ("old", git(work, "rev-parse", "old"), "master~1"):
            assert put(client, "g", address=f"{address}#{revision}").status_code == 201
            assert client.get("/v1/plugins/g/routes/x").text == '"first"\n'
        wrong = put(client, "g", address=f"{address}#none")
        assert wrong.json()["error"] == "Exception opening plugin: the repository has no revision 'none'"
        assert client.get("/v1/plugins/g/routes/x").text == '"first"\n'
    checkouts = list((server.data_dir / "plugins" / ".checkouts").iterdir())
    assert len(checkouts) == 1


def test_what_was_fetched_stays_over_a_restart(start_server, tmp_path):
    """Neither an update nor a failure where the repository cannot be reached."""
    server = start_server("--fetch-private")
    checkouts = server.data_dir / "plugins" / ".checkouts"
    work = tmp_path / "served" / "repo"
    brake = tmp_path / "brake"
    main = f"import os\nassert not os.path.exists({str(brake)!r})\nmark = 'first'"
    committed(work, {"main.py": main, "routes.py": "request.set_return(mark)"})
    with server.client() as client, served(work) as address:
        assert put(client, "g", address=address).status_code == 201
        before = client.get("/v1/plugins/g/version").json()
        (kept,) = checkouts.iterdir()
        (checkouts / "left").mkdir()
        committed(work, {"main.py": "mark = 'second'"})
    server.kill()
    brake.touch()  # main.py may want what is not there at this start
    server = start_server("--fetch-private", data_dir=server.data_dir)
    with server.client() as client:
        until(lambda: client.get("/v1/plugins/g").json()["state"] == "error")
    server.kill()
    brake.unlink()
    server = start_server("--fetch-private", data_dir=server.data_dir)
    with server.client() as client:
        until(lambda: client.get("/v1/plugins/g/routes/x").text == '"first"\n')
        assert client.get("/v1/plugins/g/version").json() == before
        assert list(checkouts.iterdir()) == [kept]
        with served(work) as again:
            assert put(client, "g", address=again).status_code == 201
        assert client.get("/v1/plugins/g/routes/x").text == '"second"\n'
        client.delete("/v1/plugins/g")
        until(lambda: not any(checkouts.iterdir()))


# ── the script runner ──


def test_script_runner(client):
    answer = run_script(client, "print('hi')\nrequest.set_return({'b': 2.0, 'a': mldb.script.args}, 201)", args=[1])
    assert answer.status_code == 201
    assert answer.text.endswith('"result":{"a":[1],"b":2.0}}\n')
    assert run_script(client, "1/0").json()["exception"]["type"] == "ZeroDivisionError"
    in_file = run_script(client, "request.set_return(__file__)", writeSourceToFile=True)
    assert in_file.json() == {"result": "/main.py"}
    assert run_script(client, "", bogus=1).status_code == 400


def test_scripts_run_scripts_and_create_plugins(client):
    source = """
from mldb import mldb
inner = mldb.post("/v1/types/plugins/python/routes/run", {"source": "request.set_return(1)"}).json()["result"]
mldb.put("/v1/plugins/made", {"type": "python", "params": {"source": {
    "main": "from mldb import mldb\\nmldb.put('/v1/plugins/inner', mldb.plugin.args)",
    "routes": "request.set_return(mldb.get('/v1/plugins/inner/routes/x').json())"},
    "args": {"type": "python", "params": {"source": {"routes": "request.set_return(2)"}}}}})
request.set_return([inner, mldb.get("/v1/plugins/made/routes/x").json()])
mldb.delete("/v1/plugins/made")
"""
    answer = run_script(client, source)
    assert answer.json()["result"] == [1, 2], answer.text


@pytest.mark.parametrize("verb", ["DELETE", "PUT"])
def test_a_route_replaces_or_deletes_its_own_plugin(client, verb):
    config = {"type": "python", "params": {"source": {"routes": "request.set_return('new')"}}}
    routes = f"r = mldb.perform('{verb}', '/v1/plugins/own', [], {config!r})\nrequest.set_return(r['statusCode'])"
    assert put(client, "own", source={"routes": routes}).status_code == 201
    begun = time.monotonic()
    assert client.get("/v1/plugins/own/routes/x").text == ("204\n" if verb == "DELETE" else "201\n")
    assert time.monotonic() - begun < SOON
    after = client.get("/v1/plugins/own/routes/x")
    assert after.status_code == 404 if verb == "DELETE" else after.text == '"new"\n'


# ── crashes over HTTP ──


@pytest.mark.parametrize(
    ("route", "code"), [("import os; os.abort()", 502), ("while True: pass", 504), ("hold = [0] * 10**9", 503)]
)
def test_crash_answers_with_the_error_body(start_server, route, code):
    # One that dies may take its time to, on a busy machine.
    server = start_server("--request-timeout", "1" if code == 504 else "60", "--worker-memory", "512")
    with server.client() as client:
        routes = f"if request.remaining == '/bad':\n    {route}\nrequest.set_return(1)"
        put(client, "crash", source={"routes": routes})
        answer = client.get("/v1/plugins/crash/routes/bad")
        assert (answer.status_code, answer.json()["httpCode"]) == (code, code)
        until(lambda: client.get("/v1/plugins/crash/routes/ok").text == "1\n")
        assert client.get("/v1/plugins/crash").json()["status"]["restarts"] == 1


# ── the log ──


def test_log_forms(client):
    run_script(client, "print('needle <b>')\nimport sys\nprint('careful', file=sys.stderr)")
    text = client.get("/logs/mldb", params={"q": "NEEDLE"})
    assert text.headers["content-type"].startswith("text/plain")
    assert re.search(r"INFO    script runner plugin: needle <b>( \[[\w-]+\])?$", text.text.strip())
    line = client.get("/logs/mldb", params={"format": "jsonl", "n": 1, "level": "warning"}).json()
    assert (line["source"], line["level"], line["message"]) == ("script runner plugin", "warning", "careful")
    page = client.get("/logs/mldb", headers={"accept": "text/html"})
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "<script>" not in page.text
    assert client.get("/logs/mldb", params={"level": "loud"}).status_code == 400


def test_log_events_are_live(server, client):
    seen = []
    with client.stream("GET", "/logs/mldb/events", params={"n": 0, "q": "event"}) as stream:
        lines = stream.iter_lines()
        assert next(lines) == ": live"
        with server.client() as other:
            run_script(other, "print('an event')")
        for line in lines:
            if line.startswith("data: "):
                seen.append(json.loads(line.removeprefix("data: ")))
                break
    assert [entry["message"] for entry in seen] == ["an event"]


def test_log_files_are_rotated(tmp_path):
    from server.logs import LogStore
    from server.settings import Settings

    settings = Settings(data_dir=Path(tmp_path))
    settings.log_size, settings.log_files = 1, 2
    store = LogStore(settings)
    for _ in range(400):
        store.add("p", "x" * 10_000)
    store.close()
    files = sorted(file.name for file in store.folder.iterdir())
    assert files == ["mldb.log", "mldb.log.1", "mldb.log.2"]
    assert len(store.last(5)) == 5


def test_a_disk_that_takes_nothing_holds_up_nobody_who_logs(tmp_path):
    from server.logs import LogStore
    from server.settings import Settings

    store = LogStore(Settings(data_dir=Path(tmp_path)))
    file = store.folder / "mldb.log"
    os.mkfifo(file)  # opening it waits until somebody reads
    adding = threading.Thread(target=lambda: [store.add("p", f"line {number}") for number in range(10_000)])
    adding.start()
    adding.join(PATIENCE)
    held_up = adding.is_alive()
    reader = threading.Thread(target=file.read_bytes)  # until the store closes it
    reader.start()
    adding.join()
    store.close()
    reader.join()
    assert not held_up
    assert store.last(1)[0].message == "line 9999"


def test_a_full_disk_is_told_once_of_the_log(tmp_path, capsys):
    from server.logs import LogStore
    from server.settings import Settings

    store = LogStore(Settings(data_dir=tmp_path))
    handler = store._files._handler
    handler.baseFilename = "/dev/full"
    try:
        for _ in range(50):
            store.add("p", "kept in memory")
        assert len(store.last(100)) == 50
        until(store._files._lines.empty)
    finally:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, handler.stream.fileno())  # for what waits in the buffer
        os.close(nothing)
        store.close()
    said = capsys.readouterr().err
    assert said == "mldb: lines of the log are not written to /dev/full: No space left on device\n"
