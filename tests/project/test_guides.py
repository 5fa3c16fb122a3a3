"""Every code block of the pages is run by a test, or stands here with the reason why it cannot be.

The blocks of the README, the SQL guide, the tutorial, the command line and the client are run by ``test_examples``;
those of the plugin guide and of operations here. The others are checked by the shell's parser.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Client, RunningServer
from tests.project.pages import Block, blocks, pages
from tests.project.sources import ROOT
from tests.project.test_examples import Shell, running
from tests.waiting import PATIENCE, until

PLUGINS = ROOT / "docs" / "plugin-guide.md"
OPERATIONS = ROOT / "docs" / "operations.md"

# By page and the beginning of a block: why it is not run.
NOT_RUN = {
    ("README.md", "make run "): "starts servers and the whole test suite; the verbs are checked by test_docs",
    ("architecture.md", " browser"): "a picture",
    ("plugin-guide.md", "mldb_data/plugins/hello/"): "a picture of a folder",
    ("conformance.md", "curl -s localhost:8080/v1/types"): "needs a checkout of MLDB's tests",
    ("conformance.md", "python run_suite.py"): "needs a checkout of MLDB's tests and the runner",
    ("models.md", "15 3 * * *"): "a line for cron",
    ("operations.md", "mldb.example, apps.example {"): "a file for Caddy, which serves two names",
    ("operations.md", "[Service]"): "a file for systemd",
    ("conformance.md", "#!/bin/sh"): "is started by that runner; mldb's flags in it are checked by test_docs",
}
RUN_BY_EXAMPLES = {"README.md", "command-line.md", "tutorial.md", "models.md", "sql-guide.md", "client.md"}


def reason(block: Block) -> str | None:
    found = [why for (page, beginning), why in NOT_RUN.items() if _is(block, page, beginning)]
    return found[0] if found else None


def _is(block: Block, page: str, beginning: str) -> bool:
    return block.file.name == page and block.text.startswith(beginning)


def is_run(block: Block) -> bool:
    if block.file.name in RUN_BY_EXAMPLES:
        return block.mark in ("run", "magics") or block.language in (
            "sql",
            "json",
        )  # JSON is what the block before it answers
    return block.file in (PLUGINS, OPERATIONS) and block.mark != ""


def test_every_block_is_run_or_explained():
    found = [block for page in pages() for block in blocks(page)]
    assert [block.id for block in found if not is_run(block) and reason(block) is None] == []
    assert not [key for key in NOT_RUN if not any(_is(block, *key) for block in found)], "these blocks are gone"


@pytest.mark.parametrize(
    "block",
    [block for page in pages() for block in blocks(page) if block.language == "sh"],
    ids=lambda block: block.id,
)
def test_the_shell_can_read_it(block: Block):
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ── the plugin guide ──


@pytest.fixture(scope="module")
def guide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A server that has what the guide's examples take for granted."""
    with running(tmp_path_factory.mktemp("guides")) as shell:
        client = shell.client
        client.must("PUT", "/v1/functions/double", {"type": "sql.expression", "params": {"expression": "x * 2 AS y"}})
        record(client, "shop", [["pu'er", "tea", 9], ["sencha", "tea", 7], ["mocha", "coffee", 5]])
        yield shell


def record(client: Client, dataset: str, goods: list[list[object]]) -> None:
    client.must("PUT", f"/v1/datasets/{dataset}", {"type": "sparse.mutable"})
    rows = [[str(name), [["name", name, 0], ["kind", kind, 0], ["price", price, 0]]] for name, kind, price in goods]
    client.must("POST", f"/v1/datasets/{dataset}/multirows", rows)
    client.must("POST", f"/v1/datasets/{dataset}/commit")


def marked(page: Path, mark: str) -> Block:
    (found,) = (block for block in blocks(page) if block.mark == mark)
    return found


def put(client: Client, id: str, main: str, routes: str = "") -> str:
    client.must("PUT", f"/v1/plugins/{id}", {"type": "python", "params": {"source": {"main": main, "routes": routes}}})
    return f"/v1/plugins/{id}/routes"


def test_the_mldb_object(guide: Shell):
    put(guide.client, "object", marked(PLUGINS, "main.py: object").text + "\nmldb.log('answered', answer)\n")
    logged = guide.client.get("/logs/mldb", params={"source": "object", "format": "text"}).text
    assert "number" in logged
    assert "42" in logged.rpartition("answered")[2]


def test_a_plugin_in_javascript(guide: Shell):
    folder = guide.folder / "mldb_data" / "plugins" / "in_js"
    (folder / "static").mkdir(parents=True)
    (folder / "static" / "page.html").write_text("a page")
    (folder / "main.js").write_text(marked(PLUGINS, "main.js").text)
    until(lambda: guide.client.get("/v1/plugins/in_js/routes/static/page.html").text == "a page")
    assert guide.client.get("/v1/plugins/in_js/routes/sum").json()[0]["columns"][0][1] == 42
    assert guide.client.get("/v1/plugins/in_js/routes/other").status_code == 400
    assert guide.client.get("/v1/plugins/in_js").json()["status"] == {"asked": 2}


def test_routes_by_text(guide: Shell):
    routes = put(
        guide.client, "shopping", marked(PLUGINS, "main.py: shop").text, marked(PLUGINS, "routes.py: shop").text
    )
    found = guide.client.get(f"{routes}/cheapest", params={"kind": "coffee"}).json()
    assert found == {"name": "mocha", "price": 5}
    assert guide.client.get(f"{routes}/cheapest").json()["name"] == "sencha"
    ordered = guide.client.post(f"{routes}/order", content=b"two of them")
    assert (ordered.status_code, ordered.json()) == (201, {"accepted": 11})


def test_routes_that_refuse(guide: Shell):
    routes = put(guide.client, "refusing", "", marked(PLUGINS, "routes.py: refusing").text)
    assert guide.client.get(f"{routes}/price/tea").json() == 2.5
    refused = guide.client.get(f"{routes}/price/milk")
    body = {"error": "there is no milk", "httpCode": 404, "known": ["coffee", "tea"]}
    assert (refused.status_code, refused.json()) == (404, body)


def test_routes_as_functions(guide: Shell):
    routes = put(guide.client, "functions", marked(PLUGINS, "main.py: routes").text)
    assert guide.client.get(f"{routes}/items/a", params={"count": 2}).json() == {"items": ["a", "a"]}
    assert "count" in guide.client.get(f"{routes}/items/a", params={"count": "x"}).json()["error"]


def test_pages_of_templates(guide: Shell):
    routes = put(guide.client, "pages", marked(PLUGINS, "main.py: pages").text)
    page = guide.client.get(f"{routes}/hello", params={"name": "<b>"})
    assert (page.text, page.headers["content-type"]) == ("<h1>Hello &lt;b&gt;</h1>", "text/html; charset=utf-8")


# ── the client ──

_NOTEBOOK = """
import sys
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
for cell in ["%load_ext pymldb", *sys.stdin.read().split("\\0")]:
    shell.run_cell(cell).raise_error()
print(sorted(shell.user_ns["_"]["name"]))
"""


def test_magics(guide: Shell):
    """The last cell's result is a data frame."""
    client = guide.client
    client.must("PUT", "/v1/datasets/cities", {"type": "sparse.mutable"})
    rows = [[name, [["name", name, 0], ["people", people, 0]]] for name, people in (("Bonn", 0.3), ("Köln", 1.1))]
    client.must("POST", "/v1/datasets/cities/multirows", rows)
    client.must("POST", "/v1/datasets/cities/commit")
    text = marked(ROOT / "docs" / "client.md", "magics").text.replace("http://localhost:8080", str(client.base_url))
    lines, _, cell = text.partition("%%")
    cells = "\0".join([*lines.split("\n")[:-1], "%%" + cell.rstrip()])
    done = subprocess.run(
        [sys.executable, "-c", _NOTEBOOK], input=cells, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stdout.splitlines()[-1] == "['Köln']"


# ── operations ──


def test_the_log_as_text(guide: Shell):
    assert " INFO " in guide.run(marked(OPERATIONS, "run: log"))


def test_a_query_is_watched_and_cancelled(guide: Shell):
    """The query of the page is put in place of its dots: one that takes long."""
    client = guide.client
    client.must("PUT", "/v1/datasets/many", {"type": "tabular"})
    client.must("POST", "/v1/datasets/many/multirows", [[f"r{n}", [["x", n, 0]]] for n in range(3000)])
    client.must("POST", "/v1/datasets/many/commit")
    joined = "count(*) FROM (SELECT * FROM many AS a JOIN many AS b ON a.x != b.x JOIN many AS c ON b.x != c.x)"
    query, look, cancel = marked(OPERATIONS, "run: cancel").text.splitlines()
    until_it_runs = f'until {look} | grep -q \'"id":"report"\'; do sleep 0.1; done'
    block = f"{query.replace('...', joined)}\n{until_it_runs}\n{look}\n{cancel}\nwait || true\n"
    shown = guide.run(Block(OPERATIONS, 0, "sh", block, "", ()))
    assert '"id":"report"' in shown
    assert '"httpCode":409' in shown


def test_backup_and_restore(guide: Shell):
    """The last command serves: it is ended once it answers."""
    save, restore, serve = marked(OPERATIONS, "run: backup").text.splitlines()
    guide.run(Block(OPERATIONS, 0, "sh", f"{save}\n{restore}\n", "", ()))
    assert serve == "mldb serve --data-dir new_data"
    restored = RunningServer(guide.folder / "new_data")
    try:
        with restored.client() as client:
            until(lambda: client.get("/readyz").json()["restored"])
            assert "shop" in client.get("/v1/datasets").json()
            assert client.query("SELECT count(*) FROM shop", "atom") == 3
    finally:
        restored.stop()
