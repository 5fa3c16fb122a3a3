"""Journeys through functions and procedures: made from a form, tried, run, watched, cancelled."""

from __future__ import annotations

import io
import json

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.console import DESK, PHONE, closed, fill, findings, fits, keep, opened
from tests.conftest import RunningServer
from tests.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def server(tmp_path_factory, chromium):
    running = RunningServer(tmp_path_factory.mktemp("console") / "data")
    fill(running)
    yield running
    running.stop()


def create(server, kind, name, type_, params=None):
    with server.client() as client:
        answer = client.put(f"/v1/{kind}s/{name}", json={"type": type_, "params": params or {}})
        assert answer.status_code == 201, answer.text


def config_of(server, kind, name):
    with server.client() as client:
        return client.get(f"/v1/{kind}s/{name}").json()["config"]


def expect_json(page, wanted):
    """The form's configuration, as text beside it, becomes what is wanted."""
    text = page.get_by_label("Configuration as JSON")
    until(lambda: json.loads(text.input_value()) == wanted, f"the form never said {wanted}")


# ── forms ──


def test_a_function_is_made_from_its_form_and_tried(browser, server):
    page = opened(browser, server, "/console/functions")
    page.get_by_role("link", name="New function").click()
    page.get_by_role("button", name="sql.expression").click()
    page.get_by_label("Name", exact=True).fill("tripled")
    page.get_by_label("expression", exact=True).click()
    page.keyboard.insert_text("x * 3 AS y")
    page.get_by_label("prepared").check()
    wanted = {"expression": "x * 3 AS y", "prepared": True}
    expect_json(page, {"type": "sql.expression", "params": wanted})
    keep(page, "new-function")
    page.get_by_role("button", name="Create").click()
    page.wait_for_url("**/console/functions/tripled")
    assert config_of(server, "function", "tripled")["params"] == wanted
    page.get_by_label("Input as JSON").fill('{"x": 14}')
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_role("region", name="Result")).to_contain_text("42")
    page.get_by_role("link", name="As a URL").click()
    expect(page.locator("body")).to_contain_text('"y":42')
    closed(page)


def test_all_that_is_typed_quickly_is_there(browser, server):
    """Faster than the page is painted: an older text never takes the place of the newer one."""
    page = opened(browser, server, "/console/new/function?type=sql.expression")
    typed = "x + 1 AS one, x + 2 AS two, x + 3 AS three"
    page.get_by_label("expression", exact=True).click()
    page.keyboard.type(typed)
    expect(page.get_by_label("expression", exact=True)).to_have_text(typed)
    expect_json(page, {"type": "sql.expression", "params": {"expression": typed}})
    closed(page)


def test_the_form_and_its_json_follow_each_other(browser, server):
    page = opened(browser, server, "/console/new/procedure?type=svm.train")
    text = page.get_by_label("Configuration as JSON")
    page.get_by_label("svmType").select_option("regression")
    page.get_by_label("degree").fill("5")
    expect_json(page, {"type": "svm.train", "params": {"svmType": "regression", "configuration": {"degree": 5}}})
    page.get_by_label("svmType").select_option("classification")  # the default, which is left out
    expect_json(page, {"type": "svm.train", "params": {"configuration": {"degree": 5}}})
    query = "SELECT x, label FROM demo"
    params = {"trainingData": query, "configuration": {"kernel": "linear", "shrinking": False}}
    text.fill(json.dumps({"type": "svm.train", "params": params}))
    expect(page.get_by_label("kernel")).to_have_value("linear")
    expect(page.get_by_label("degree")).to_have_value("3")
    expect(page.get_by_label("shrinking")).not_to_be_checked()
    expect(page.get_by_label("trainingData")).to_have_text(query)
    text.fill('{"type": "svm.train", "params": {')
    expect(page.get_by_text("This is no JSON yet")).to_be_visible()
    expect(page.get_by_label("kernel")).to_have_value("linear")
    closed(page)


def test_every_type_has_a_form(browser, server):
    """Each field of each type is there, whatever its kind, and nothing goes wrong on the way."""
    page = opened(browser, server, "/console/new/function")
    with server.client() as client:
        kinds = ("plugin", "dataset", "function", "procedure")
        types = {kind: client.get(f"/v1/types/{kind}s?details=true").json() for kind in kinds}
    for kind, declared in types.items():
        page.goto(f"{server.url}/console/new/{kind}")
        choice = page.get_by_label(f"Type of the {kind}")
        expect(choice.get_by_role("option")).to_have_count(len(declared) + 1)
        for name, info in declared:
            choice.select_option(name)
            fields = [each["name"] for each in info["configType"]["fields"] if each["name"] != "runOnCreation"]
            expect(page.locator(".params > .param, .params > details > .param")).to_have_count(len(fields))
            shown = page.locator(".params > .param, .params > details > .param").evaluate_all(
                "params => params.map(param => param.dataset.field)"
            )
            assert sorted(shown) == sorted(fields), name
    closed(page)


def test_datasets_and_plugins_are_made_from_their_forms(browser, server):
    page = opened(browser, server, "/console/datasets")
    page.get_by_role("link", name="New dataset").click()
    page.get_by_role("button", name="sparse.mutable").click()
    page.get_by_label("Name", exact=True).fill("made here")
    page.get_by_role("button", name="Create", exact=True).click()
    expect(page.get_by_role("heading", name="made here")).to_be_visible()
    page.goto(f"{server.url}/console/new/plugin?type=python")
    page.get_by_label("Name", exact=True).fill("from its text")
    page.get_by_label("main", exact=True).fill("answer = mldb.plugin.args")
    page.get_by_label("routes", exact=True).fill("request.set_return(answer)")
    page.get_by_label("args").fill("[42]")
    page.get_by_role("button", name="Create", exact=True).click()
    card = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="from its text"))
    expect(card.get_by_text("serving")).to_be_visible()
    with server.client() as client:
        assert client.get("/v1/plugins/from its text/routes/x").json() == [42]
        client.delete("/v1/plugins/from its text")
        client.delete("/v1/datasets/made here")
    closed(page)


def test_the_json_may_name_another_type(browser, server):
    page = opened(browser, server, "/console/new/procedure?type=kmeans.train")
    text = page.get_by_label("Configuration as JSON")
    text.fill('{"type": "svm.tr", "params": {}}')
    expect(page.get_by_text("There is no type “svm.tr”")).to_be_visible()
    expect(page.get_by_label("numClusters")).to_be_attached()
    text.fill('{"type": "svm.train", "params": {"svmType": "one class"}}')
    expect(page.get_by_label("svmType")).to_have_value("one class")
    expect(text).to_be_focused()
    expect(page.get_by_label("Type of the procedure")).to_have_value("svm.train")
    closed(page)


def test_lists_maps_and_datasets_are_entered(browser, server):
    page = opened(browser, server, "/console/new/procedure?type=bucketize")
    page.get_by_label("Name", exact=True).fill("halves")
    page.get_by_label("inputData").click()
    page.keyboard.insert_text("SELECT * FROM demo ORDER BY x")
    page.get_by_label("outputDataset", exact=True).fill("halves_of_demo")
    page.get_by_label("Type of outputDataset").select_option("tabular")
    page.get_by_role("button", name="Add to percentileBuckets").click()
    page.get_by_label("Name in percentileBuckets").fill("low")
    page.keyboard.press("Tab")
    page.get_by_label("low, part 2").fill("50")
    page.get_by_role("button", name="Add to percentileBuckets").click()
    page.get_by_role("button", name="Remove name 2").click()
    page.get_by_role("button", name="Create and run").click()
    page.wait_for_url("**/console/procedures/halves/runs/*")
    expect(page.get_by_text("finished")).to_be_visible()
    page.get_by_role("link", name="halves_of_demo").click()
    page.wait_for_url("**/console/datasets/halves_of_demo")
    config = config_of(server, "procedure", "halves")
    assert config["params"]["percentileBuckets"] == {"low": [0, 50]}
    assert config["params"]["outputDataset"] == {"id": "halves_of_demo", "type": "tabular"}
    page.goto(f"{server.url}/console/new/procedure?type=classifier.test")
    for n in (1, 2):
        page.get_by_role("button", name="Add to recallOverN").click()
        page.get_by_label(f"recallOverN {n}", exact=True).fill(str(n * 5))
    page.get_by_role("button", name="Remove recallOverN 1").click()
    expect_json(page, {"type": "classifier.test", "params": {"recallOverN": [10]}})
    closed(page)


def test_errors_stand_at_the_field_that_they_name(browser, server):
    page = opened(browser, server, "/console/new/procedure?type=svm.train")
    page.get_by_label("Name", exact=True).fill("wrong")
    text = page.get_by_label("Configuration as JSON")
    text.fill('{"type": "svm.train", "params": {"configuration": {"C": "much"}}}')
    page.get_by_role("button", name="Create and run").click()
    expect(page.locator("[data-field='configuration.C'] [role=alert]")).to_contain_text("valid number")
    expect(page.locator("[id='configuration.C']")).to_be_focused()
    page.get_by_label("C", exact=True).fill("2")
    expect(page.locator("[role=alert]")).to_have_count(0)
    page.get_by_label("trainingData").click()
    page.keyboard.insert_text("SELECT x fro demo WHERE")
    page.get_by_role("button", name="Create and run").click()
    complaint = page.locator("[data-field=trainingData] [role=alert]")
    expect(complaint).to_contain_text("line 1:10: Unexpected 'fro'")
    expect(page.locator("[data-field=trainingData] .cm-lintRange-error")).to_have_text("fro")
    keep(page, "form-error")
    page.goto(f"{server.url}/console/new/function?type=classifier")
    page.get_by_label("Name", exact=True).fill("wrong")
    page.get_by_role("button", name="Create").click()
    expect(page.locator("[data-field=modelFileUrl] [role=alert]")).to_have_text("This field is required.")
    assert any("400" in trouble for trouble in page.troubles)  # the browser notes the refusals
    page.troubles.clear()
    with server.client() as client:
        assert client.get("/v1/procedures/wrong").status_code == 404
    closed(page)


def test_an_entity_is_changed_in_the_form_that_made_it(browser, server):
    create(server, "function", "squared", "sql.expression", {"expression": "x * x AS y"})
    page = opened(browser, server, "/console/functions/squared")
    page.get_by_role("link", name="Change").click()
    expect(page.get_by_label("expression", exact=True)).to_have_text("x * x AS y")
    expect(page.get_by_text("it will be replaced")).to_be_visible()
    page.get_by_label("expression", exact=True).click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text("x + 1 AS y")
    page.get_by_role("button", name="Create").click()
    page.wait_for_url("**/console/functions/squared")
    assert config_of(server, "function", "squared")["params"]["expression"] == "x + 1 AS y"
    closed(page)


# ── trials ──


def test_a_function_is_tried_on_a_row_of_a_dataset(browser, server):
    create(server, "function", "parts", "sql.expression", {"expression": "{x AS one, 2 * x AS two} AS scores, label"})
    page = opened(browser, server, "/console/functions/parts?try=row&dataset=demo&row=row+7")
    page.get_by_role("button", name="Apply").click()
    result = page.get_by_role("region", name="Result")
    expect(result.get_by_role("row").first).to_have_text("two14")
    expect(result.get_by_role("row").last).to_have_text("one7")
    page.get_by_role("button", name="Another row").click()
    expect(result.get_by_role("row").first).not_to_have_text("two14")
    page.get_by_role("link", name="As a query").click()
    page.wait_for_url("**/console/query?q=SELECT+parts*")
    closed(page)


def test_a_function_is_tried_on_a_picture(browser, server):
    packed = io.BytesIO()
    Image.new("RGB", (9, 9), "teal").save(packed, "PNG")
    file = {"name": "teal.png", "mimeType": "image/png", "buffer": packed.getvalue()}
    create(server, "function", "weighed", "sql.expression", {"expression": "blob_length(content) AS bytes, content"})
    create(server, "function", "addressed", "sql.expression", {"expression": "length(url) AS letters, url AS same"})
    page = opened(browser, server, "/console/functions/weighed")
    page.get_by_label("Picture", exact=True).set_input_files(file)
    result = page.get_by_role("region", name="Result")
    expect(result).to_contain_text(str(len(packed.getvalue())))
    expect(result.locator("img")).to_have_count(2)
    assert result.locator("img").last.evaluate("image => image.decode().then(() => image.naturalWidth)") == 9
    page.goto(f"{server.url}/console/functions/addressed")
    page.get_by_label("Picture", exact=True).set_input_files(file)
    expect(result).to_contain_text("teal.png")
    with server.client() as client:
        until(lambda: client.get("/v1/uploads").json() == [], "the picture does not stay on the server")
    closed(page)


def test_an_input_may_be_a_text_as_it_is(browser, server):
    create(server, "function", "shouted", "sql.expression", {"expression": "upper(x) AS y"})
    page = opened(browser, server, "/console/functions/shouted?try=values")
    field, pane = page.get_by_label("x", exact=True), page.get_by_label("Input as JSON")
    field.fill("plain words")
    expect(pane).to_have_value('{\n  "x": "plain words"\n}')
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_role("region", name="Result")).to_contain_text("PLAIN WORDS")
    field.fill('{"a": ')
    expect(page.get_by_text("This is no JSON yet.", exact=True)).to_be_visible()
    page.get_by_role("button", name="Apply").click()  # which is not done with what was there before
    expect(page.locator("textarea:invalid")).to_have_count(1)
    field.fill("12")
    expect(pane).to_have_value('{\n  "x": 12\n}')
    field.fill('"12"')
    expect(pane).to_have_value('{\n  "x": "12"\n}')
    closed(page)


def test_what_a_function_refuses_is_told(browser, server):
    create(server, "function", "parsed", "sql.expression", {"expression": "parse_json(x) AS y"})
    page = opened(browser, server, "/console/functions/parsed?try=values")
    page.get_by_label("Input as JSON").fill('{"x": "{no json"}')
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.troubles.clear()  # the browser notes the refusal
    closed(page)


# ── procedures and runs ──


def test_a_run_goes_by_steps_and_is_cancelled(browser, server):
    create(server, "procedure", "slow", "mock", {"durationMs": 600_000, "refreshRateMs": 100, "runOnCreation": False})
    page = opened(browser, server, "/console/procedures/slow")
    page.get_by_role("button", name="Run slow").click()
    page.wait_for_url("**/console/procedures/slow/runs/*")
    steps = page.get_by_role("region", name="Steps")
    expect(steps.get_by_role("listitem")).to_have_count(2)
    expect(page.get_by_text("executing")).to_be_visible()
    keep(page, "run")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("cancelled", exact=True)).to_be_visible()
    with server.client() as client:
        (run,) = client.get("/v1/procedures/slow/runs").json()
        assert client.get(f"/v1/procedures/slow/runs/{run}/state").json() == {"state": "cancelled"}
    page.get_by_role("link", name="slow").click()
    rows = page.get_by_role("region", name="Runs of slow").get_by_role("row")
    expect(rows).to_have_count(2)
    rows.last.get_by_role("link").click()
    page.get_by_role("button", name="Run again slow").click()
    expect(page.get_by_text("executing")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("cancelled", exact=True)).to_be_visible()
    closed(page)


def test_a_run_with_other_parameters_that_fails_says_why(browser, server):
    params = {"inputData": "SELECT x FROM demo", "outputDataset": "copy", "runOnCreation": False}
    create(server, "procedure", "copying", "transform", params)
    page = opened(browser, server, "/console/procedures/copying")
    page.get_by_text("Run with other parameters").click()
    page.get_by_label("Parameters of the run").fill('{"inputData": "SELECT x FROM nowhere"}')
    page.get_by_role("button", name="Run with these").click()
    page.wait_for_url("**/runs/*")
    expect(page.get_by_role("alert")).to_contain_text("dataset entry 'nowhere' doesn't exist")
    page.goto(f"{server.url}/console/procedures/copying/runs/nothing")
    expect(page.get_by_text("There is no such run any more")).to_be_visible()
    page.troubles.clear()  # the browser notes the run that is not there
    closed(page)


# ── every way to work ──


def focus(page, locator, key="Tab"):
    """Go on by keyboard until this has the focus."""
    for _ in range(80):
        if locator.evaluate("node => node.getRootNode().activeElement === node"):
            return
        page.keyboard.press(key)
    raise AssertionError("the keyboard does not get there")


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_the_keyboard_makes_runs_and_cancels(browser, server, size):
    page = opened(browser, server, "/console/procedures", viewport=size)
    focus(page, page.get_by_role("link", name="New procedure"))
    page.keyboard.press("Enter")
    choice = page.get_by_label("Type of the procedure")
    expect(choice.get_by_role("option", name="mock")).to_be_attached()
    focus(page, choice)
    page.keyboard.type("mock")
    name = page.get_by_label("Name", exact=True)
    expect(name).to_be_visible()
    focus(page, name)
    page.keyboard.type(f"keyed {size['width']}")
    focus(page, page.get_by_label("durationMs"))
    page.keyboard.press("Control+a")
    page.keyboard.type("60000")
    page.keyboard.press("Enter")
    page.wait_for_url("**/runs/*")
    cancel = page.get_by_role("button", name="Cancel")
    expect(cancel).to_be_visible()
    focus(page, cancel)
    page.keyboard.press("Enter")
    expect(page.get_by_text("cancelled", exact=True)).to_be_visible()
    assert fits(page)
    closed(page)


@pytest.mark.parametrize(("scheme", "size"), [("light", DESK), ("dark", PHONE)], ids=["desk light", "phone dark"])
def test_forms_and_results_are_accessible_and_fit(browser, server, scheme, size):
    create(server, "function", "scored", "sql.expression", {"expression": "{x AS one, 2 * x AS two} AS scores"})
    page = opened(
        browser, server, "/console/functions/scored?try=row&dataset=demo&row=row+7", viewport=size, color_scheme=scheme
    )
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_role("region", name="Result").get_by_role("row")).to_have_count(2)
    page.locator("summary").last.click()
    assert (findings(page), fits(page)) == ([], True)
    for path in ("classifier.experiment", "bucketize", "script.run", "serial", "permuter.run", "svm.train"):
        page.goto(f"{server.url}/console/new/procedure?type={path}")
        page.get_by_label("Name", exact=True).wait_for()
        for fold in page.locator(".params summary").all():
            fold.click()
        for add in page.get_by_role("button", name="Add to").all():
            add.click()
        assert (findings(page), fits(page)) == ([], True), path
    closed(page)
