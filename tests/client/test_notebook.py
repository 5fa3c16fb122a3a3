"""The client inside a real Jupyter kernel: magics, widgets, the cancel button."""

from __future__ import annotations

import queue

import pytest
from jupyter_client.manager import start_new_kernel

from tests.waiting import until

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning")

WIDE = """
from pymldb import Connection
mldb = Connection({url!r})
mldb.put("/v1/datasets/wide", {{"type": "tabular"}})
mldb.post("/v1/datasets/wide/multirows", [[str(n), [["x", n, 0]]] for n in range(60_000)])
mldb.post("/v1/datasets/wide/commit")
"""
ENDLESS = """
mldb.put_and_track("/v1/procedures/endless", {"type": "transform", "params": {
    "inputData": "SELECT sum(a.x * b.x) AS n FROM wide AS a JOIN wide AS b ON a.x != b.x + 0.5 GROUP BY a.x % 3",
    "outputDataset": "never"}}, 0.2)
"""


class Kernel:
    """A kernel that runs cells; what they show is kept by kind."""

    def __init__(self) -> None:
        self.manager, self.client = start_new_kernel()

    def run(self, code: str, on_message=None) -> dict:
        """Outputs of a cell: ``text``, ``html``, ``stdout``, ``error``."""
        self.client.execute(code)
        shown: dict = {"text": [], "html": [], "stdout": "", "error": ""}

        def ended() -> bool:
            try:
                message = self.client.get_iopub_msg(timeout=1)
            except queue.Empty:
                message = {"msg_type": "nothing", "content": {}}
            kind, content = message["msg_type"], message["content"]
            if on_message:
                on_message(kind, content)
            if kind in ("execute_result", "display_data"):
                shown["text"].append(content["data"].get("text/plain", ""))
                shown["html"].append(content["data"].get("text/html", ""))
            elif kind == "stream":
                shown["stdout"] += content["text"]
            elif kind == "error":
                shown["error"] = "\n".join(content["traceback"])
            return kind == "status" and content["execution_state"] == "idle"

        until(ended, lambda: f"the cell did not end: {shown}")
        return shown

    def click(self, widget: str) -> None:
        """What the page sends when a button is pressed."""
        content = {"comm_id": widget, "data": {"method": "custom", "content": {"event": "click"}}}
        message = self.client.session.msg("comm_msg", content)
        self.client.shell_channel.send(message)

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture(scope="module")
def kernel(server):
    kernel = Kernel()
    assert not kernel.run("%load_ext pymldb")["error"]
    assert server.url in kernel.run(f"%mldb init {server.url}")["stdout"]
    yield kernel
    kernel.close()


def test_line_magics(kernel):
    put = kernel.run('%mldb PUT /v1/functions/inc {"type": "sql.expression", "params": {"expression": "x + 1 AS y"}}')
    assert "201 Created" in put["html"][0]
    answer = kernel.run('%mldb GET /v1/functions/inc/application {"input": {"x": 1}}')
    assert "200 OK" in answer["html"][0]
    frame = kernel.run("%mldb query SELECT inc({x: 41})[y] AS answer")
    assert "42" in frame["text"][0]
    missing = kernel.run("%mldb DELETE /v1/datasets")
    assert "color: red" in missing["html"][0]
    assert "%mldb init" in kernel.run("%mldb help")["stdout"]
    assert "There is no magic 'nonsense'" in kernel.run("%mldb nonsense")["stdout"]
    assert "/v1/types/datasets/tabular/doc" in kernel.run("%mldb doc datasets/tabular")["html"][0]


def test_cell_magics(kernel):
    assert "towns: 2 rows" in kernel.run("%%mldb loadcsv towns\n,people,name\na,3,Köln\nb,2.5,Bonn\n")["stdout"]
    frame = kernel.run("%%mldb query\n-- a comment\nSELECT people, name FROM towns\nORDER BY people DESC")
    assert "Köln" in frame["text"][0]
    created = kernel.run('%%mldb PUT /v1/functions/three\n{"type": "sql.expression", "params": {"expression": "3"}}')
    assert "201 Created" in created["html"][0]
    script = (
        '%%mldb py {"n": 20}\nfrom mldb import mldb\n'
        "print('in the server')\nmldb.script.set_return(mldb.script.args['n'] + 1)"
    )
    ran = kernel.run(script)
    assert "in the server" in ran["stdout"]
    assert ran["text"] == ["21"]
    failed = kernel.run("%%mldb py\n1 / 0")
    assert "ZeroDivisionError" in failed["stdout"]
    ran = kernel.run("%%mldb js 40\nmldb.log('in QuickJS'); args + 2")
    assert ("in QuickJS" in ran["stdout"], ran["text"]) == (True, ["42"])


def test_files_are_read_by_the_server(kernel, server):
    (server.data_dir / "small.csv").write_text("x,y\n1,2\n3,4\n")
    assert "small: 2 rows" in kernel.run(f"%mldb loadcsv small {(server.data_dir / 'small.csv').as_uri()}")["stdout"]


def test_plugins(kernel, server):
    folder = server.data_dir / "elsewhere"
    folder.mkdir()
    (folder / "main.py").write_text("mldb.log('here')\n")
    assert "201 Created" in kernel.run(f"%mldb pyplugin mine {folder.as_uri()}")["html"][0]


def test_the_cancel_button_stops_the_work(kernel, server, client):
    assert not kernel.run(WIDE.format(url=server.url))["error"]
    clicked = []

    def press(kind, content):
        """Press the button once the run is under way."""
        if kind == "comm_open" and content["data"]["state"].get("_model_name") == "ButtonModel":
            clicked.append(content["comm_id"])
        state = client.get("/v1/procedures/endless/runs") if clicked and kind == "nothing" else None
        if state is not None and state.status_code == 200 and state.json() and len(clicked) == 1:
            clicked.append("pressed")
            kernel.click(clicked[0])

    shown = kernel.run(ENDLESS, press)
    assert "pressed" in clicked
    assert "could not be obtained" in shown["error"], shown
    (run,) = client.get("/v1/procedures/endless/runs").json()
    assert client.get(f"/v1/procedures/endless/runs/{run}/state").json() == {"state": "cancelled"}
