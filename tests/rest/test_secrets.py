"""The token shows nowhere: not in the log, an error, an address that a browser passes on, nor in the process list."""

from __future__ import annotations

from pathlib import Path

import psutil

TOKEN = "tok-3cf1e07a-never-to-be-seen"


def test_the_token_shows_nowhere(start_server):
    server = start_server(environment={"MLDB_TOKEN": TOKEN})
    answers = []
    with server.client() as client:
        bearer = {"authorization": f"Bearer {TOKEN}"}
        source = {
            "main": "mldb.log('here')",
            "routes": "import os\nrequest.set_return([request.headers, dict(os.environ)])",
        }
        plugin = {"type": "python", "params": {"source": source}}
        answers.append(client.put("/v1/plugins/p", json=plugin, headers=bearer))
        assert answers[0].status_code == 201
        wrong = {"authorization": f"Basic {TOKEN}", "cookie": f"mldb_session={TOKEN}"}
        for headers in (bearer, wrong):
            for verb, path in [
                ("GET", "/v1/plugins/p/routes/x"), ("GET", "/v1/query?q=SELECT"), ("GET", "/nowhere"),
                ("PUT", "/v1/datasets/x"),
                ("POST", "/v1/types/plugins/python/routes/run"), ("GET", "/v1/datasets/x?y=1"), ("GET", "/v1/help"),
            ]:  # fmt: skip
                answers.append(client.request(verb, path, headers=headers))
        opened = client.get("/logs/mldb", params={"token": TOKEN, "level": "info"}, headers={"accept": "text/html"})
        assert opened.headers["location"] == "/logs/mldb?level=info"  # so no Referer of the page can hold it
        session = opened.headers["set-cookie"].partition(";")[0].partition("=")[2]
        answers += [opened, client.post("/login", data={"token": TOKEN, "next": "/"}), client.get("/logs/mldb")]
        answers.append(client.post("/login", data={"token": TOKEN + "x", "next": "/"}))
    for answer in answers:
        for secret in (TOKEN, session):
            assert secret not in answer.text, answer.request.url
            assert secret not in answer.headers.get("location", "")
    processes = [psutil.Process(server.process.pid)]
    processes += processes[0].children(recursive=True)
    assert len(processes) > 1
    for process in processes:
        assert TOKEN not in " ".join(process.cmdline())
    for process in processes[1:]:
        assert TOKEN not in str(process.environ())
    server.stop()
    written = [path for path in Path(server.data_dir).rglob("*") if path.is_file()]
    assert any(path.parent.name == "logs" for path in written)
    for path in written:
        assert TOKEN.encode() not in path.read_bytes(), path
    assert TOKEN not in "".join(server.lines + server.errors)
