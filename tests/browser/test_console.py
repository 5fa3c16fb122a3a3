"""Journeys through the console: plugins, the query editor, datasets; by mouse, by keyboard, on a phone."""

from __future__ import annotations

import csv
import io
import re
import zipfile

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.console import DESK, PHONE, closed, fill, findings, fits, keep, opened
from tests.browser.test_functions import focus
from tests.conftest import RunningServer
from tests.repositories import committed, served
from tests.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PAGES = (
    "/", "/console/query?q=SELECT+1", "/console/datasets", "/console/datasets/demo", "/console/datasets/demo?view=rows",
    "/console/functions", "/console/procedures",
    "/console/new/function", "/console/new/procedure?type=classifier.experiment",
    "/console/new/plugin?type=experimental.external", "/console/new/dataset?type=sampled",
    "/console/functions/double", "/console/nowhere", "/logs/mldb", "/reference", "/doc/",
    "/doc/console.md", "/doc/sql-guide.md", "/login", "/console/procedures/quick", "/console/datasets/missing",
    "/console/compare",
)  # fmt: skip
PLUGIN = {"main.py": "mldb.log('dropped and loaded')", "routes.py": "mldb.plugin.set_return('here')"}
DROP_FOLDER = """files => {
  const entry = ([name, text]) => ({isDirectory: false, name, file: (done) => done(new File([text], name))});
  const batches = [Object.entries(files).map(entry), []];
  const folder = {isDirectory: true, name: "dropped", createReader: () => ({readEntries: (d) => d(batches.shift())})};
  const event = new Event("drop", {bubbles: true, cancelable: true});
  const transfer = {items: [{webkitGetAsEntry: () => folder}]};
  Object.defineProperty(event, "dataTransfer", {value: transfer});
  document.querySelector("[aria-label='Drop a plugin here']").dispatchEvent(event);
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory, chromium):
    running = RunningServer(tmp_path_factory.mktemp("console") / "data")
    fill(running)
    yield running
    running.stop()


def run_query(page, text):
    page.get_by_label("SQL").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text)
    page.keyboard.press("Control+Enter")


# ── plugins ──


def test_the_tour_ends_with_a_plugin_of_ones_own(browser, server):
    page = opened(browser, server, tour=True)
    tour = page.get_by_role("region", name="Tour")
    for _ in range(3):
        tour.get_by_role("button", name="Next").click()
    expect(tour.get_by_label("Its name")).to_be_focused()
    tour.get_by_label("Its name").fill("my-first")
    tour.get_by_role("button", name="Make it").click()
    expect(tour.get_by_role("link", name="open its page")).to_be_visible()
    keep(page, "tour")
    tour.get_by_role("button", name="Done").click()
    page.reload()
    expect(page.get_by_role("link", name="my-first")).to_be_visible()
    expect(page.get_by_role("region", name="Tour")).to_have_count(0)
    closed(page)


def test_a_dropped_folder_is_a_plugin_that_stops_starts_and_goes(browser, server):
    page = opened(browser, server)
    page.evaluate(DROP_FOLDER, PLUGIN)
    card = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="dropped"))
    expect(card.get_by_text("serving")).to_be_visible()
    expect(page.locator(".progress-log")).to_contain_text("dropped and loaded")
    with server.client() as client:
        assert client.get("/v1/plugins/dropped/routes/x").json() == "here"
        (server.data_dir / "plugins" / "dropped" / "main.py").write_text("\n1 / 0\n")
        expect(card.get_by_text("ZeroDivisionError")).to_be_visible()
        expect(card.get_by_text("line 2")).to_be_visible()
        assert client.get("/v1/plugins/dropped/routes/x").json() == "here"
    keep(page, "plugin-failure")
    for answer, text in (("Cancel", "\n1 / 0\n"), ("Replace", PLUGIN["main.py"])):
        page.evaluate(DROP_FOLDER, PLUGIN)
        dialog = page.get_by_role("dialog", name="Replace dropped?")
        dialog.get_by_role("button", name=answer).click()
        expect(dialog).to_have_count(0)
        main = server.data_dir / "plugins" / "dropped" / "main.py"
        until(lambda main=main, text=text: main.read_text() == text, answer)
    expect(card.get_by_text("ZeroDivisionError")).to_have_count(0)
    card.get_by_role("button", name="Stop").click()
    expect(card.get_by_text("stopped", exact=True)).to_be_visible()
    (server.data_dir / "plugins" / "dropped" / "main.py").write_text("")
    card.get_by_role("button", name="Start").click()
    expect(card.get_by_text("serving")).to_be_visible()
    card.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(card).to_have_count(0)
    assert not (server.data_dir / "plugins" / "dropped").exists()
    closed(page)


def test_what_a_plugin_says_at_once_is_shown(browser, server):
    page = opened(browser, server)
    waiting = []
    page.route("**/logs/mldb/events?*", lambda route: waiting.append(route))
    page.evaluate(DROP_FOLDER, {"main.py": "mldb.log('said at once')"})
    until(lambda: page.wait_for_timeout(20) or waiting, "its log is listened to")
    page.wait_for_timeout(1500)  # a plugin would have been loaded meanwhile
    for route in waiting:
        route.continue_()
    expect(page.locator(".progress-log")).to_contain_text("said at once")
    with server.client() as client:
        client.delete("/v1/plugin-folders/dropped")
        until(lambda: "dropped" not in client.get("/v1/plugins").json())
    closed(page)


@pytest.fixture
def private_server(start_server, chromium):
    """One that may clone from this machine."""
    return start_server("--fetch-private")


def test_a_plugin_comes_from_git_whatever_its_language(browser, private_server, tmp_path):
    work = tmp_path / "served" / "teapot"
    committed(work, {"main.js": "plugin.setRequestHandler(() => 'tea'); mldb.log('the water boils')"})
    page = opened(browser, private_server)
    with served(work) as address:
        page.get_by_label("Git address").fill(address)
        page.get_by_role("button", name="Install from git").click()
        card = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="teapot"))
        expect(card.get_by_text("serving")).to_be_visible()
        expect(page.locator(".progress-log")).to_contain_text("the water boils")
        with private_server.client() as client:
            assert client.get("/v1/plugins/teapot/routes/x").json() == "tea"
        assert findings(page) == []
        page.get_by_label("Git address").fill(f"{address}#none")
        page.get_by_role("button", name="Install from git").click()
        page.get_by_role("dialog").get_by_role("button", name="Replace").click()
        expect(page.get_by_text("the repository has no revision 'none'")).to_be_visible()
    page.troubles.clear()  # the browser notes the refusal
    closed(page)


def test_a_new_plugin_in_javascript_and_a_request_of_it_that_failed(browser, server):
    page = opened(browser, server)
    page.get_by_label("Name of a new plugin").fill("kettle")
    page.get_by_label("Language of the new plugin").select_option("JavaScript")
    page.get_by_role("button", name="Make a new plugin").click()
    card = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="kettle"))
    expect(card.get_by_text("serving")).to_be_visible()
    with server.client() as client:
        assert client.get("/v1/plugins/kettle/routes/cup").status_code == 400
    expect(card.get_by_text("Error: there is no such route: /cup")).to_be_visible()
    expect(card.get_by_text("GET /cup")).to_be_visible()
    expect(card.get_by_text("main.js, line")).to_be_visible()
    keep(page, "request-failure")
    assert findings(page) == []
    card.get_by_role("button", name="Reload").click()
    expect(card.get_by_text("GET /cup")).to_have_count(0)
    page.goto(f"{server.url}/v1/plugins/kettle/routes/static/index.html")
    expect(page.get_by_text("doubled: 42")).to_be_visible()
    closed(page)


def test_a_plugin_that_could_not_be_loaded_is_tried_again(browser, server):
    wanted = server.data_dir / "wanted.txt"
    config = {"type": "python", "params": {"source": {"main": f"open({str(wanted)!r}).close()"}}}
    with server.client() as client:
        assert client.put("/v1/plugins/needy", json=config).status_code == 400
    page = opened(browser, server)
    card = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="needy"))
    expect(card.get_by_text("FileNotFoundError")).to_be_visible()
    wanted.write_text("")
    card.get_by_role("button", name="Try again").click()
    expect(card.get_by_text("serving")).to_be_visible()
    with server.client() as client:
        client.delete("/v1/plugins/needy")
    closed(page)


def test_what_is_no_plugin_is_told_with_the_servers_words(browser, server):
    page = opened(browser, server)
    page.evaluate(DROP_FOLDER, {"readme.md": "no plugin"})
    toast = page.get_by_role("alert")
    expect(toast).to_contain_text("no main.py")
    toast.locator("summary").click()
    expect(toast.locator("pre")).to_contain_text('"httpCode": 400')
    page.troubles.clear()  # the browser notes the refusal
    closed(page)


# ── query ──


def test_completion_knows_functions_datasets_and_columns(browser, server):
    page = opened(browser, server, "/console/query?q=+")
    page.get_by_label("SQL").click()
    page.keyboard.press("Control+a")
    page.keyboard.type("SELECT sqr")
    option = page.get_by_role("option", name="sqrt")
    expect(option).to_contain_text("(")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+a")
    page.keyboard.type("SELECT * FROM de")
    expect(page.get_by_role("option", name="demo")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.type("mo WHERE lab")
    expect(page.get_by_role("option", name="label")).to_be_visible()
    closed(page)


def test_errors_are_underlined_where_they_are(browser, server):
    page = opened(browser, server, "/console/query?q=+")
    page.get_by_label("SQL").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text("SELECT x FROM demo WHERE nofunction(x)")
    expect(page.locator(".cm-lintRange-error")).to_have_text("nofunction(x)")
    page.keyboard.press("Control+a")
    page.keyboard.insert_text("SELECT x FROM demo WHERE")
    expect(page.locator(".cm-lint-marker-error")).to_be_visible()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text("SELECT x FROM demo")
    expect(page.locator(".cm-lint-marker-error")).to_have_count(0)
    closed(page)


def test_a_result_as_table_plot_file_and_plan(browser, server):
    page = opened(browser, server, "/console/query?q=+")
    run_query(page, "SELECT x, label FROM demo WHERE x IS NOT NULL ORDER BY x")
    expect(page.get_by_role("status").filter(has_text="300 rows")).to_be_visible()
    expect(page).to_have_url(re.compile("q=SELECT"))
    page.get_by_role("tab", name="Plot").click()
    kinds = page.locator("label.field select").first
    for kind in ("bar", "line", "scatter", "histogram", "heat map"):
        kinds.select_option(kind)
        expect(page.get_by_role("img", name=re.compile(f"^{kind}"))).to_be_visible()
        expect(page.locator(".plot svg").first).to_be_visible()
    keep(page, "plot")
    assert findings(page) == []
    page.get_by_role("tab", name="Compiled").click()
    lines = page.locator("pre").first.inner_text().splitlines()
    assert (lines[0], "FROM" in lines, "ORDER BY" in lines) == ("SELECT", True, True)
    page.get_by_role("tab", name="Table").click()
    grid = page.get_by_role("table", name="Rows of the result")
    first = grid.get_by_role("row").nth(1).get_by_role("cell").first
    expect(first).to_have_text("row 0")
    grid.get_by_role("button", name="x").click()
    grid.get_by_role("button", name="x").click()
    expect(grid.get_by_role("columnheader", name="x")).to_have_attribute("aria-sort", "descending")
    expect(first).to_have_text("row 299")
    grid.get_by_role("button", name="x").click()
    expect(first).to_have_text("row 0")
    with page.expect_download() as download:
        page.get_by_role("link", name="csv").click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text())))
    assert (len(rows), rows[0]["_rowName"]) == (300, "row 0")
    closed(page)


def test_a_link_is_the_query_and_history_brings_it_back(browser, server):
    page = opened(browser, server, "/console/query?q=SELECT+41+%2B+1+AS+answer")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("cell", name="42")).to_be_visible()
    run_query(page, "SELECT 7 AS other")
    expect(page.get_by_role("cell", name="7")).to_be_visible()
    page.get_by_text("Saved", exact=True).click()
    page.get_by_label("Name for this query").fill("seven")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("button", name="seven", exact=True)).to_be_visible()
    page.reload()
    page.get_by_label("History").select_option("SELECT 41 + 1 AS answer")
    expect(page.get_by_label("SQL")).to_have_text("SELECT 41 + 1 AS answer")
    page.get_by_text("Saved", exact=True).click()
    page.get_by_role("button", name="seven", exact=True).click()
    expect(page.get_by_label("SQL")).to_have_text("SELECT 7 AS other")
    closed(page)


def test_a_saved_query_is_there_for_others_by_its_link(browser, server):
    page = opened(
        browser, server, "/console/query?q=SELECT+6+AS+six", permissions=["clipboard-write", "clipboard-read"]
    )
    page.get_by_text("Saved", exact=True).click()
    page.get_by_label("Name for this query").fill("sechs & mehr")
    page.keyboard.press("Enter")
    page.get_by_label("Copy a link to sechs & mehr").click()
    expect(page.get_by_text("the link was copied")).to_be_visible()
    link = page.evaluate("navigator.clipboard.readText()")
    page.keyboard.press("Escape")
    expect(page.get_by_label("Name for this query")).to_be_hidden()
    closed(page)
    other = opened(browser, server, link.removeprefix(server.url))
    expect(other.get_by_label("SQL")).to_have_text("SELECT 6 AS six")
    other.get_by_role("button", name="Run").click()
    expect(other.get_by_role("cell", name="6")).to_be_visible()
    expect(other).not_to_have_url(re.compile("saved="))
    other.get_by_text("Saved", exact=True).click()
    other.get_by_label("Remove sechs & mehr").click()
    expect(other.get_by_role("button", name="sechs & mehr", exact=True)).to_have_count(0)
    closed(other)


def test_queries_of_earlier_consoles_take_the_place_of_no_shared_one(browser, server):
    with server.client() as client:
        client.put("/v1/saved-queries/mine", json={"query": "SELECT 'theirs' AS x"})
        client.put("/v1/saved-queries/same", json={"query": "SELECT 'same' AS x"})
    earlier = {"mine": "SELECT 'mine' AS x", "same": "SELECT 'same' AS x", "other": "SELECT 'other' AS x"}
    page = opened(browser, server, "/console/query?q=SELECT+1")
    page.evaluate("queries => localStorage.setItem('mldb.queries', JSON.stringify(queries))", earlier)
    page.get_by_text("Saved", exact=True).click()
    for name in ("mine", "mine (2)", "same", "other"):
        expect(page.get_by_role("button", name=name, exact=True)).to_be_visible()
    with server.client() as client:
        shared = {each["name"]: each["query"] for each in client.get("/v1/saved-queries").json()}
        assert {name: shared[name] for name in ("mine", "mine (2)", "same", "other")} == {
            "mine": "SELECT 'theirs' AS x",
            "mine (2)": "SELECT 'mine' AS x",
            "same": "SELECT 'same' AS x",
            "other": "SELECT 'other' AS x",
        }
        assert "same (2)" not in shared
        for name in ("mine", "mine (2)", "same", "other"):
            client.delete(f"/v1/saved-queries/{name}")
    until(lambda: page.evaluate("localStorage.getItem('mldb.queries')") is None)
    closed(page)


def test_what_was_typed_is_not_lost_to_a_saved_query(browser, server):
    with server.client() as client:
        client.put("/v1/saved-queries/kept", json={"query": "SELECT 'saved' AS x"})
    waiting = []
    page = opened(browser, server, "/console/query?q=+")
    page.route("**/v1/saved-queries/kept", lambda route: waiting.append(route))
    page.goto(f"{server.url}/console/query?saved=kept")
    until(lambda: page.wait_for_timeout(20) or waiting, "the saved query is asked for")
    page.get_by_label("SQL").click()
    page.keyboard.insert_text("SELECT 'typed' AS x")
    for route in waiting:
        route.continue_()
    expect(page.get_by_role("status").filter(has_text="You have typed meanwhile")).to_be_visible()
    expect(page.get_by_label("SQL")).to_have_text("SELECT 'typed' AS x")
    page.get_by_text("Saved", exact=True).click()
    page.get_by_role("button", name="kept", exact=True).click()
    expect(page.get_by_label("SQL")).to_have_text("SELECT 'saved' AS x")
    page.get_by_label("History").select_option("SELECT 'typed' AS x")
    expect(page.get_by_label("SQL")).to_have_text("SELECT 'typed' AS x")
    with server.client() as client:
        client.delete("/v1/saved-queries/kept")
    closed(page)


def test_the_rows_of_a_dataset_are_one_click_away(browser, server):
    page = opened(browser, server, "/console/datasets/demo")
    page.get_by_role("main").get_by_role("link", name="Query").click()
    expect(page.get_by_role("status").filter(has_text="rows")).to_be_visible()
    page.reload()
    expect(page.get_by_role("region", name="Where to begin")).to_be_visible()  # a link by itself runs nothing
    page.get_by_role("button", name="demo", exact=True).click()
    expect(page.get_by_role("status").filter(has_text="rows")).to_be_visible()
    closed(page)


def test_a_query_from_the_history_is_kept_while_the_editor_is_on_its_way(browser, server):
    page = opened(browser, server, "/console/query?q=SELECT+1+AS+first")
    page.evaluate("localStorage.setItem('mldb.history', JSON.stringify(['SELECT 2 AS earlier']))")
    waiting = []
    page.route("**/editor-*.js", lambda route: waiting.append(route))
    page.reload()
    until(lambda: page.wait_for_timeout(20) or waiting, "the editor was not asked for")
    page.get_by_label("History").select_option("SELECT 2 AS earlier")
    assert page.get_by_label("SQL").count() == 0  # the editor is not there yet
    for route in waiting:
        route.continue_()
    expect(page.get_by_label("SQL")).to_have_text("SELECT 2 AS earlier")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("columnheader", name="earlier")).to_be_visible()
    closed(page)


def test_values_as_of_a_time(browser, server):
    page = opened(browser, server, "/console/query?q=SELECT+x+FROM+demo+WHERE+rowName()+%3D+'row+50'")
    page.get_by_label("With times").check()
    page.get_by_role("button", name="Run").click()
    cells = page.get_by_role("table", name="Rows of the result").get_by_role("cell")
    expect(cells.nth(1)).to_have_text("50")
    page.get_by_role("slider").press("Home")
    expect(page.locator("output")).to_contain_text("20")
    closed(page)


@pytest.fixture(scope="module")
def wide(server):
    """A dataset of a million cells."""
    with server.client() as client:
        lines = "\n".join([",".join(f"c{i}" for i in range(10)), *(",".join([str(n)] * 10) for n in range(100_000))])
        client.put("/v1/uploads/wide.csv", content=lines.encode())
        steps = client.get("/v1/uploads/wide.csv/preview").json()["steps"]
        assert client.post("/v1/procedures", json=steps[0]).status_code == 201


@pytest.mark.usefixtures("wide")
def test_a_million_cells_scroll(browser, server):
    page = opened(browser, server, "/console/query?q=SELECT+*+FROM+wide+ORDER+BY+c0")
    page.get_by_role("button", name="Run").click()
    grid = page.get_by_role("table", name="Rows of the result")
    expect(grid).to_have_attribute("aria-rowcount", "100001")
    assert grid.get_by_role("cell").count() < 1000
    grid.evaluate("grid => grid.scrollTop = grid.scrollHeight")
    expect(grid.get_by_role("cell", name="99999").first).to_be_visible()
    grid.evaluate("grid => grid.scrollTop = grid.scrollHeight / 2")
    expect(grid.get_by_role("cell", name=re.compile(r"^(49|50)\d\d\d$")).first).to_be_visible()
    closed(page)


@pytest.mark.usefixtures("wide")
def test_a_query_is_cancelled(browser, server):
    page = opened(browser, server, "/console/query?q=+")
    run_query(page, "SELECT count(*) FROM wide AS a JOIN wide AS b ON a.c0 < b.c0")
    with server.client() as client:
        until(lambda: len(client.get("/v1/queries").json()) == 1, "the query runs on the server")
        page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_role("button", name="Run")).to_be_enabled()
        expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
        until(lambda: client.get("/v1/queries").json() == [], "the work stops")
    closed(page)


# ── datasets ──


def test_a_file_is_previewed_and_imported(browser, server):
    page = opened(browser, server, "/console/datasets")
    content = "name,größe\nKöln,1084\nBonn,331\n".encode()
    page.get_by_label("Data file", exact=True).set_input_files(
        {"name": "städte.csv", "mimeType": "text/csv", "buffer": content}
    )
    expect(page.get_by_role("region", name="First rows").get_by_text("Köln")).to_be_visible()
    keep(page, "import-preview")
    page.get_by_label("Name of the dataset").fill("towns")
    page.get_by_role("button", name="Import").click()
    page.wait_for_url("**/console/datasets/towns")
    expect(page.get_by_role("row").filter(has_text="größe")).to_contain_text("331 … 1,084")
    page.get_by_role("tab", name="Rows").click()
    expect(page.get_by_role("cell", name="Bonn")).to_be_visible()
    page.get_by_label("Search the rows").fill("köl")
    expect(page.get_by_role("cell", name="Bonn")).to_have_count(0)
    with server.client() as client:
        until(lambda: "städte.csv" not in client.get("/v1/uploads").json())
    closed(page)


def test_lines_that_cannot_be_read_are_named_and_left_out(browser, server):
    page = opened(browser, server, "/console/datasets")
    file = {"name": "ragged.csv", "mimeType": "text/csv", "buffer": b"a,b\n1,2\n3,4,5\n6,7\n"}
    page.get_by_label("Data file", exact=True).set_input_files(file)
    page.get_by_role("button", name="Import").click()
    expect(page.get_by_role("alert")).to_contain_text("Line 3: Error parsing CSV row: too many columns in row")
    page.get_by_label("Leave out lines that cannot be read").check()
    page.get_by_role("button", name="Import").click()
    page.wait_for_url("**/console/datasets/ragged")
    expect(page.get_by_text("2 rows").first).to_be_visible()
    page.troubles.clear()  # the browser notes the refusal
    closed(page)


def test_a_file_beyond_the_limit_is_refused_with_its_name(browser, start_server):
    """Before any of it is sent."""
    limited = start_server("--upload-size", "1")
    page = opened(browser, limited, "/console/datasets")
    content = b"x,y\n" + b"1,2\n" * (2 * 2**20)
    expect(page.get_by_text("of up to 1.0 MiB")).to_be_visible()
    sent = []
    page.on("request", lambda request: sent.append(request.method))
    page.get_by_label("Data file").set_input_files({"name": "large.csv", "mimeType": "text/csv", "buffer": content})
    expect(page.get_by_text("large.csv has 8.0 MiB; the setting upload-size allows 1.0 MiB").first).to_be_visible()
    expect(page.get_by_role("button", name="Choose a file")).to_be_visible()
    assert "PUT" not in sent
    closed(page)


def test_an_upload_is_cancelled(browser, server):
    page = opened(browser, server, "/console/datasets")
    waiting = []
    page.route("**/v1/uploads/slow.csv", lambda route: waiting.append(route))
    page.get_by_label("Data file").set_input_files({"name": "slow.csv", "mimeType": "text/csv", "buffer": b"x\n1\n"})
    until(lambda: page.wait_for_timeout(20) or waiting, "the upload begins")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("button", name="Choose a file")).to_be_visible()
    closed(page)


def test_a_zip_of_pictures_is_seen_in_results(browser, server):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in ("red", "blue"):
            picture = io.BytesIO()
            Image.new("RGB", (8, 8), name).save(picture, "PNG")
            archive.writestr(f"{name}.png", picture.getvalue())
    page = opened(browser, server, "/console/datasets")
    file = {"name": "colours.zip", "mimeType": "application/zip", "buffer": packed.getvalue()}
    page.get_by_label("Data file", exact=True).set_input_files(file)
    expect(page.get_by_text("Pictures, 2 rows")).to_be_visible()
    page.get_by_role("button", name="Import").click()
    page.wait_for_url("**/console/datasets/colours")
    page.get_by_role("main").get_by_role("link", name="Query").click()
    page.get_by_role("button", name="Run").click()
    page.get_by_role("tab", name="Pictures").click()
    expect(page.locator(".pictures img")).to_have_count(2)
    assert page.locator(".pictures img").first.evaluate("image => image.decode().then(() => image.naturalWidth)") == 8
    closed(page)


def test_columns_are_searched_and_names_are_only_text(browser, server):
    page = opened(browser, server, "/console/datasets/demo")
    table = page.get_by_role("region", name="Columns")
    expect(table.get_by_role("row")).to_have_count(4)
    expect(table.get_by_role("row").filter(has_text="rare <b>")).to_contain_text("0 %")
    page.get_by_label("Search the columns").fill("LAB")
    expect(table.get_by_role("row")).to_have_count(2)
    closed(page)


# ── procedures ──


def test_a_run_is_seen_and_cancelled(browser, server):
    with server.client() as client:
        config = {"type": "mock", "params": {"durationMs": 600_000, "refreshRateMs": 100}}
        client.put("/v1/procedures/long", json=config, headers={"async": "true"})
    page = opened(browser, server, "/console/procedures")
    long = page.get_by_role("row").filter(has=page.get_by_role("link", name="long", exact=True))
    expect(long.get_by_text("executing")).to_be_visible()
    long.get_by_role("button", name="Cancel").click()
    expect(long.get_by_text("cancelled", exact=True)).to_be_visible()
    closed(page)


# ── every page ──


@pytest.mark.parametrize(("scheme", "size"), [("light", DESK), ("dark", PHONE)], ids=["desk light", "phone dark"])
def test_every_page_is_accessible_and_fits(browser, server, scheme, size):
    page = opened(browser, server, viewport=size, color_scheme=scheme)
    for path in PAGES:
        page.goto(server.url + path)
        page.wait_for_selector("h1")
        assert findings(page) == [], path
        assert fits(page), path
    closed(page)


def test_the_keyboard_is_enough(browser, server):
    """From the address bar to a result, and out of the editor again, without a mouse."""
    page = opened(browser, server)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
    for _ in range(3):
        page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Query")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/console/query")
    editor = page.get_by_label("SQL")
    expect(editor).to_be_visible()
    for _ in range(30):
        if editor.evaluate("node => node.getRootNode().activeElement === node"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Control+a")
    page.keyboard.insert_text("SELECT 6 * 7 AS answer")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("cell", name="42")).to_be_visible()
    expect(page.get_by_role("button", name="Run")).to_be_enabled()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Run")).to_be_focused()
    closed(page)


def test_the_menu_opens_on_a_phone(browser, server):
    page = opened(browser, server, viewport=PHONE)
    expect(page.get_by_role("link", name="Datasets")).to_be_hidden()
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("link", name="Datasets").click()
    page.wait_for_url("**/console/datasets")
    expect(page.get_by_role("link", name="Query")).to_be_hidden()
    closed(page)


def test_keys_lead_through_the_console(browser, server):
    page = opened(browser, server)
    page.keyboard.press("?")
    help_ = page.get_by_role("dialog", name="Keyboard")
    expect(help_.get_by_role("cell", name="Datasets")).to_be_visible()
    page.keyboard.press("Escape")
    expect(help_).to_have_count(0)
    page.keyboard.press("g")
    page.wait_for_timeout(2500)  # `g` waits for its letter: a machine that is busy between the two loses none
    page.keyboard.press("d")
    page.wait_for_url("**/console/datasets")
    with server.client() as client:
        for number in range(8):
            client.put(f"/v1/datasets/many {number}", json={"type": "sparse.mutable"})
    expect(page.get_by_label("Search the datasets")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("gq7")  # what is typed into a field is no command
    expect(page.get_by_label("Search the datasets")).to_have_value("gq7")
    page.get_by_role("heading", name="Datasets").click()
    page.keyboard.press("?")
    help_.get_by_label("Single keys work").uncheck()
    help_.get_by_role("button", name="Close").click()
    page.keyboard.press("g")
    page.keyboard.press("q")
    page.wait_for_timeout(200)
    assert page.url.endswith("/console/datasets")
    page.get_by_role("button", name="Keyboard").click()
    help_.get_by_label("Single keys work").check()
    help_.get_by_label("Single keys work").press("Escape")  # a tick box, which may keep the focus, takes no letters
    page.keyboard.press("g")
    page.keyboard.press("q")
    page.wait_for_url("**/console/query")
    closed(page)


def test_the_pages_beside_the_console_take_its_colours_and_lead_back(browser, server):
    page = opened(browser, server, color_scheme="light")
    page.get_by_label("Colours").select_option("dark")
    for path in ("/logs/mldb", "/reference", "/doc/", "/doc/sql-guide.html"):
        page.goto(server.url + path)
        assert (
            page.evaluate("getComputedStyle(document.querySelector('nav.site')).backgroundColor") == "rgb(24, 30, 39)"
        )
        assert findings(page) == [], path
        assert fits(page), path
    page.get_by_role("navigation", name="Console").get_by_role("link", name="Query").click()
    page.wait_for_url("**/console/query")
    closed(page)


def test_a_run_before_the_latest_ones_can_be_looked_at(browser, server):
    with server.client() as client:
        client.put("/v1/procedures/often", json={"type": "null", "params": {"runOnCreation": False}})
        for number in range(23):
            client.must("PUT", f"/v1/procedures/often/runs/run {number:02}", {})
    page = opened(browser, server, "/console/procedures/often")
    page.get_by_text("Earlier runs").click()
    page.get_by_role("link", name="run 01").click()
    expect(page.get_by_text("finished")).to_be_visible()
    expect(page.get_by_text("Started")).to_be_visible()
    page.get_by_role("navigation", name="Where this is").get_by_role("link", name="often").click()
    page.wait_for_url("**/console/procedures/often")
    closed(page)


def test_what_has_no_name_of_its_own_stands_last(browser, server):
    with server.client() as client:
        made = [client.must("POST", "/v1/procedures", {"type": "null"})["id"] for _ in range(3)]
        client.must("POST", f"/v1/procedures/{made[1]}/runs", {})
        client.must("PUT", "/v1/procedures/zoo", {"type": "null"})
    page = opened(browser, server, "/console/procedures")
    names = page.get_by_role("row").get_by_role("link", name=re.compile(f"^({'|'.join([*made, 'zoo'])})$"))
    expect(names).to_have_text(["zoo", made[1], made[2], made[0]])
    names.first.click()
    expect(page).to_have_title("zoo · Procedure · MLDB")
    expect(page.get_by_text('"null"')).to_be_visible()  # its configuration
    closed(page)


@pytest.fixture
def sorts(server):
    """Datasets of known sizes, whose names are in another order."""
    with server.client() as client:
        for name, rows in (("sort b", 2), ("sort a 10", 3), ("sort a 9", 1)):
            client.put(f"/v1/datasets/{name}", json={"type": "sparse.mutable"})
            client.post(f"/v1/datasets/{name}/multirows", json=[[f"r{i}", [["x", i, 0]]] for i in range(rows)])
            client.post(f"/v1/datasets/{name}/commit")
    return ["sort a 9", "sort b", "sort a 10"]


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_lists_are_sorted_by_any_column_and_the_address_remembers_it(browser, server, sorts, size):
    page = opened(browser, server, "/console/datasets", viewport=size)
    names = page.locator("table.entities a").filter(has_text=re.compile("^sort "))
    expect(names).to_have_text(["sort a 10", "sort a 9", "sort b"])
    focus(page, page.get_by_role("button", name="Rows", exact=True))
    page.keyboard.press("Enter")
    rows = page.locator("th", has=page.get_by_role("button", name="Rows", exact=True))
    expect(names).to_have_text(sorts)
    expect(rows).to_have_attribute("aria-sort", "ascending")
    page.keyboard.press("Space")
    expect(names).to_have_text(sorts[::-1])
    expect(rows).to_have_attribute("aria-sort", "descending")
    assert page.url.endswith("?sort=-rows")
    names.first.click()
    page.wait_for_url("**/console/datasets/sort*")
    page.go_back()
    expect(rows).to_have_attribute("aria-sort", "descending")
    page.get_by_role("button", name="Name", exact=True).click()
    expect(names).to_have_text(["sort a 9", "sort a 10", "sort b"])  # numbers in names count as such
    page.get_by_role("button", name="Name", exact=True).click()
    page.get_by_role("button", name="Name", exact=True).click()
    expect(page.locator("th[aria-sort]")).to_have_count(0)
    assert page.url.endswith("/console/datasets")
    closed(page)


def test_runs_and_plugins_are_sorted_too(browser, server):
    with server.client() as client:
        config = {"type": "transform", "params": {"inputData": "SELECT 1 FROM nowhere", "runOnCreation": False}}
        client.put("/v1/procedures/mixed", json=config)
        client.must(
            "PUT", "/v1/procedures/mixed/runs/works", {"params": {"inputData": "SELECT 1", "outputDataset": "m"}}
        )
        client.put("/v1/procedures/mixed/runs/fails", json={})
        for name in ("calm", "eager"):
            source = {"main": "value = 1", "routes": "mldb.plugin.set_return(value)"}
            client.put(f"/v1/plugins/{name}", json={"type": "python", "params": {"source": source}})
        client.get("/v1/plugins/eager/routes/x")
    page = opened(browser, server, "/console/procedures/mixed?sort=-state")
    states = page.get_by_role("region", name="Runs of mixed").locator("tbody .badge")
    expect(states).to_have_text(["finished", "error"])
    page.get_by_role("button", name="State").click()
    page.get_by_role("button", name="State").click()
    expect(states).to_have_text(["error", "finished"])
    page.goto(f"{server.url}/?sort=-requests")
    names = page.locator(".cards h2").filter(has_text=re.compile("^(calm|eager)$"))
    expect(names).to_have_text(["eager", "calm"])
    group = page.get_by_role("group", name="Sort by")
    group.get_by_role("button", name="Name").click()
    expect(names).to_have_text(["calm", "eager"])
    expect(group).to_contain_text("ascending")
    with server.client() as client:
        for name in ("calm", "eager"):
            client.delete(f"/v1/plugins/{name}")
    closed(page)


def test_what_is_not_there_is_said_with_a_way_back(browser, server):
    page = opened(browser, server, "/console/datasets/nothing%20%3Cb%3E")
    expect(page.get_by_role("heading", name=re.compile("There is no dataset.*nothing <b>"))).to_be_visible()
    page.get_by_role("link", name="To the datasets").click()
    page.wait_for_url("**/console/datasets")
    closed(page)


@pytest.mark.parametrize(("scheme", "size"), [("light", DESK), ("dark", PHONE)], ids=["desk light", "phone dark"])
def test_an_address_where_nothing_is_leads_on(browser, server, scheme, size):
    page = opened(browser, server, "/datasets", viewport=size, color_scheme=scheme)
    expect(page.get_by_role("heading", name="There is nothing at this address")).to_be_visible()
    assert (findings(page), fits(page)) == ([], True)
    page.get_by_role("paragraph").get_by_role("link", name="/console/datasets").click()
    expect(page.get_by_role("heading", name="Datasets")).to_be_visible()
    page.goto(f"{server.url}/console/nowhere")
    page.get_by_role("main").get_by_role("link", name="Functions").click()
    page.wait_for_url("**/console/functions")
    page.troubles.clear()  # the browser notes the 404
    closed(page)


def test_changes_show_without_asking(browser, server):
    page = opened(browser, server, "/console/datasets")
    with server.client() as client:
        client.put("/v1/datasets/appears", json={"type": "sparse.mutable"})
        expect(page.get_by_role("link", name="appears")).to_be_visible()
        client.delete("/v1/datasets/appears")
        expect(page.get_by_role("link", name="appears")).to_have_count(0)
    closed(page)


def test_a_first_visit_is_light_and_quick(browser, server, record_property):
    """Bytes without the editor; the first paint is recorded, and bounded only where something must have gone wrong."""
    page = opened(browser, server)
    until(lambda: page.evaluate("performance.getEntriesByName('first-contentful-paint').length"), "nothing was painted")
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    entries = "performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))"
    weight = page.evaluate(f"{entries}.reduce((sum, entry) => sum + entry.encodedBodySize, 0)")
    record_property("first_contentful_paint_ms", paint)
    record_property("page_weight_bytes", weight)
    assert 0 < weight < 500_000
    assert paint < 10_000
    assert not page.evaluate(f"{entries}.some(({{name}}) => !name.startsWith(location.origin))")
    closed(page)
