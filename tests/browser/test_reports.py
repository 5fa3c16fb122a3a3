"""Journeys through the reports of runs: classifiers, regressions, experiments, maps of rows."""

from __future__ import annotations

import base64
import re
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.console import DESK, PHONE, closed, findings, fits, keep, opened, settled
from tests.browser.models import furnish, picture
from tests.browser.test_functions import focus
from tests.conftest import RunningServer
from tests.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

REPORTS = ("test versicolor", "test kinds", "test width", "experiment", "train kinds", "group flowers", "map flowers")


@pytest.fixture(scope="module")
def server(tmp_path_factory, chromium):
    running = RunningServer(tmp_path_factory.mktemp("reports") / "data")
    with running.client() as client:
        client.timeout = 120  # a busy machine trains slowly
        furnish(client)
    yield running
    running.stop()


def run_of(server, procedure):
    """Address of the page of its run, and the run's status."""
    with server.client() as client:
        url = f"/v1/procedures/{quote(procedure)}/runs"
        (run,) = client.get(url).json()
        return f"/console/procedures/{quote(procedure)}/runs/{run}", client.get(f"{url}/{run}").json().get("status")


def page_of(browser, server, procedure, **options):
    path, status = run_of(server, procedure)
    return opened(browser, server, path, **options), status


def fact(page, name):
    """The number under a name."""
    found = page.locator("dl div").filter(has=page.get_by_text(name, exact=True)).locator("dd")
    return float(found.first.inner_text().removesuffix(" %"))


def test_a_boolean_classifier_has_curves_and_a_threshold(browser, server):
    page, status = page_of(browser, server, "test versicolor")
    expect(page.get_by_role("img", name="ROC curve, area")).to_be_visible()
    expect(page.get_by_role("img", name="Precision by recall")).to_be_visible()
    assert fact(page, "Area under the ROC curve") == pytest.approx(status["auc"], abs=1e-3)
    best = status["bestF1Score"]
    assert fact(page, "F1 score") == pytest.approx(best["pr"]["f1Score"], abs=1e-3), "it begins at the best F1 score"
    cells = page.get_by_role("region", name="Confusion matrix").get_by_role("cell")
    shown = [int(text) if text != "·" else 0 for text in cells.all_inner_texts() if text.strip()]
    assert shown == [best["counts"][name] for name in
                     ("trueNegatives", "falsePositives", "falseNegatives", "truePositives")]  # fmt: skip
    keep(page, "report-boolean")
    slider = page.get_by_role("slider", name="Threshold")
    slider.press("Home")
    until(lambda: fact(page, "Recall") == 1, "at the lowest threshold everything is said to be true")
    slider.press("End")
    until(lambda: fact(page, "Recall") < 1)
    page.get_by_role("button", name="Best MCC").click()
    until(lambda: fact(page, "Precision") == pytest.approx(status["bestMcc"]["pr"]["precision"], abs=1e-3))
    importance = page.get_by_role("region", name="Feature importance of versicolor_scorer")
    expect(importance.get_by_role("row").first).to_contain_text("petal")
    closed(page)


def test_a_classifier_of_several_labels_has_its_confusions(browser, server):
    page, status = page_of(browser, server, "test kinds")
    matrix = page.get_by_role("region", name="Confusion matrix")
    expect(matrix.get_by_role("columnheader")).to_have_text(["setosa", "versicolor", "virginica"])
    counts = {(cell["actual"], cell["predicted"]): cell["count"] for cell in status["confusionMatrix"]}
    row = matrix.get_by_role("row").filter(has=page.get_by_role("rowheader", name="setosa"))
    expect(row.get_by_role("cell").first).to_have_text(str(int(counts["setosa", "setosa"])))
    right = sum(count for (actual, predicted), count in counts.items() if actual == predicted)
    assert fact(page, "Accuracy") == pytest.approx(right / sum(counts.values()), abs=1e-3)
    label = page.get_by_role("region", name="Labels").get_by_role("row").filter(has_text="virginica")
    expect(label).to_contain_text(f"{status['labelStatistics']['virginica']['precision']:.3f}")
    closed(page)


def test_a_classifier_of_sets_of_labels_tells_how_soon_they_are_found(browser, server):
    labels = (
        "{CASE WHEN sepal_length > 5 THEN 1 END AS big, CASE WHEN sepal_width > 3 THEN 1 END AS wide} AS label "
        "FROM flowers WHERE sepal_length > 5 OR sepal_width > 3"
    )
    features = "{{petal_length, petal_width} AS features}"
    with server.client() as client:
        trained = {
            "mode": "multilabel", "modelFileUrl": "file:///mldb_data/models/m.cls", "functionName": "sets",
            "configuration": {"type": "naive_bayes"}, "trainingData": f"SELECT {features[1:-1]}, {labels}",
        }  # fmt: skip
        tested = {
            "mode": "multilabel",
            "recallOverN": [1, 2],
            "testingData": f"SELECT sets({features})[scores] AS score, {labels}",
        }
        for name, type_, params in (
            ("train sets", "classifier.train", trained),
            ("test sets", "classifier.test", tested),
        ):
            assert client.put(f"/v1/procedures/{name}", json={"type": type_, "params": params}).status_code == 201
    page, status = page_of(browser, server, "test sets")
    weighted = status["weightedStatistics"]
    assert fact(page, "Labels until all right ones are found") == pytest.approx(weighted["coverageError"], abs=1e-3)
    assert fact(page, "Right label in the first 2") == 1
    row = page.get_by_role("region", name="Labels").get_by_role("row").filter(has_text="wide")
    expect(row).to_contain_text(f"{status['labelStatistics']['wide']['recallOverTopN'][0]:.3f}")
    expect(page.get_by_role("region", name="Feature importance of sets").get_by_role("row").first).to_contain_text(
        "petal"
    )
    closed(page)


def test_a_regression_shows_its_rows_and_errors(browser, server):
    page, status = page_of(browser, server, "test width")
    expect(page.get_by_role("img", name="Scatter plot of predictions").locator("circle")).to_have_count(79)
    expect(page.get_by_role("img", name="Histogram of the errors").locator("rect")).not_to_have_count(0)
    assert fact(page, "R²") == pytest.approx(status["r2"], abs=1e-3)
    assert fact(page, "50 % of the rows are off by at most") == pytest.approx(
        100 * status["quantileErrors"]["0.5"], rel=1e-3
    )
    closed(page)


def test_an_experiment_shows_its_folds(browser, server):
    page, status = page_of(browser, server, "experiment")
    spread = page.get_by_role("region", name="All folds").get_by_role("row").filter(has_text="ROC")
    expect(spread).to_contain_text(f"{status['aggregatedTest']['auc']['mean']:.3f}"[:5])
    page.get_by_role("tab", name="Fold 3").click()
    third = status["folds"][2]
    expect(page.get_by_role("region", name=f"Feature importance of {third['functionName']}")).to_be_visible()
    until(lambda: fact(page, "Area under the ROC curve") == pytest.approx(third["resultsTest"]["auc"], abs=1e-3))
    closed(page)


def test_clusters_are_a_map_with_pictures_and_centres(browser, server):
    page, _ = page_of(browser, server, "group flowers")
    chart = page.get_by_role("img", name="Clusters: petal_width by petal_length, coloured by cluster")
    expect(chart.locator("image")).to_have_count(150)
    expect(chart.locator("[class*=swatch] > *, [class*=swatch]").filter(has_text=re.compile("^[012]$"))).to_have_count(
        3
    )
    keep(page, "report-clusters")
    page.get_by_role("combobox", name="Pictures", exact=True).select_option("")
    expect(chart.locator("image")).to_have_count(0)
    page.get_by_role("combobox", name="Y axis", exact=True).select_option("sepal_width")
    page.get_by_role("combobox", name="Colour", exact=True).select_option("kind")
    chart = page.get_by_role("img", name="Clusters: sepal_width by petal_length, coloured by kind")
    expect(chart.get_by_text("virginica")).to_be_visible()
    closed(page)


@pytest.mark.parametrize(("procedure", "axis"), [("map flowers", "y by x"), ("factors", "embedding.1 by embedding.0")])
def test_coordinates_are_a_map_whose_rows_are_looked_at(browser, server, procedure, axis):
    page, _ = page_of(browser, server, procedure)
    chart = page.get_by_role("img", name=re.compile(f"{re.escape(axis)}, coloured by kind"))
    expect(chart.locator("image")).to_have_count(150)
    page.get_by_label("Row: type its name, or click on a point").fill("flower 5")
    expect(page.locator(".output-name").filter(has_text="sepal_width")).to_be_visible()
    settled(page)  # nothing moves the chart any more
    box = chart.locator("image").first.bounding_box()  # of another flower
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.get_by_label("Row: type its name, or click on a point")).not_to_have_value("flower 5")
    closed(page)


@pytest.fixture(scope="module")
def pictured(server):
    """Datasets with a picture of each of the first flowers: by address, and by its bytes."""
    folder = server.data_dir / "pictures"
    folder.mkdir()
    for number in range(12):
        content = base64.b64decode(picture(number % 3, number / 2).partition(",")[2])
        (folder / f"{number}.png").write_bytes(content)
    rows = [[f"flower {n}", [["seen", f"file:///mldb_data/pictures/{n}.png", 0]]] for n in range(12)]
    with server.client() as client:
        client.put("/v1/datasets/addresses", json={"type": "sparse.mutable"})
        client.post("/v1/datasets/addresses/multirows", json=rows)
        client.post("/v1/datasets/addresses/commit")
        params = {"inputData": "SELECT fetcher(seen)[content] AS seen FROM addresses", "outputDataset": "contents"}
        assert client.put("/v1/procedures/fetch", json={"type": "transform", "params": params}).status_code == 201


@pytest.mark.parametrize("dataset", ["addresses", "contents"])
def test_pictures_come_from_addresses_and_bytes_too(browser, server, pictured, dataset):
    page, _ = page_of(browser, server, "map flowers")
    chart = page.get_by_role("img", name=re.compile("^t-SNE map"))
    expect(chart.locator("image")).to_have_count(150)
    page.get_by_role("combobox", name="Described by", exact=True).select_option(dataset)
    expect(chart.locator("image")).to_have_count(12)
    assert chart.locator("image").first.get_attribute("href").startswith("data:image/png;base64,")
    closed(page)


def test_a_column_of_many_texts_has_colours_for_the_frequent_ones(browser, server):
    rows = [[f"flower {n}", [["owner", "Ada" if n % 3 == 0 else f"somebody {n}", 0]]] for n in range(150)]
    with server.client() as client:
        client.put("/v1/datasets/owners", json={"type": "sparse.mutable"})
        client.post("/v1/datasets/owners/multirows", json=rows)
        client.post("/v1/datasets/owners/commit")
    page, _ = page_of(browser, server, "map flowers")
    page.get_by_role("combobox", name="Described by", exact=True).select_option("owners")
    page.get_by_role("combobox", name="Colour", exact=True).select_option("owner")
    swatches = page.get_by_role("img", name=re.compile("coloured by owner")).locator("span[class$=-swatch]")
    expect(swatches).to_have_count(10)
    expect(swatches.filter(has_text="Ada")).to_be_visible()
    expect(swatches.filter(has_text="others")).to_be_visible()
    closed(page)


def test_a_report_is_of_the_parameters_of_its_run(browser, server):
    with server.client() as client:
        config = client.get("/v1/procedures/test versicolor").json()["config"]
        params = config["params"] | {"runOnCreation": False}
        client.put("/v1/procedures/test again", json={"type": config["type"], "params": params})
        other = {"params": {"outputDataset": {"id": "other_scores"}}}
        assert client.post("/v1/procedures/test again/runs", json=other).status_code == 201
    page, _ = page_of(browser, server, "test again")
    expect(page.get_by_role("link", name="other_scores")).to_be_visible()
    expect(page.get_by_role("link", name="versicolor_scores", exact=True)).to_have_count(0)
    expect(page.get_by_role("img", name="ROC curve, area")).to_be_visible()
    closed(page)


def test_a_classifier_tells_what_it_goes_by_on_its_page(browser, server):
    page = opened(browser, server, "/console/functions/kinds_scorer")
    shares = page.get_by_role("region", name="Feature importance of kinds_scorer").get_by_role("row")
    expect(shares.first).to_contain_text("petal")
    closed(page)


def test_the_keyboard_reads_a_report(browser, server):
    page, _ = page_of(browser, server, "test versicolor", viewport=PHONE)
    slider = page.get_by_role("slider", name="Threshold")
    expect(slider).to_be_visible()
    focus(page, slider)
    before = fact(page, "Recall")
    for _ in range(8):
        page.keyboard.press("ArrowLeft")
    until(lambda: fact(page, "Recall") > before or before == 1)
    focus(page, page.get_by_role("button", name="Best F1"))
    page.keyboard.press("Enter")
    focus(page, page.get_by_role("link", name="versicolor_scorer").last)
    page.keyboard.press("Enter")
    page.wait_for_url("**/console/functions/versicolor_scorer")
    closed(page)


# ── comparisons ──


@pytest.fixture(scope="module")
def rivals(server):
    """Runs of two experiments, of which the second has run twice, as the address of a comparison names them."""
    with server.client() as client:
        client.timeout = 120
        config = client.get("/v1/procedures/experiment").json()["config"]
        params = config["params"] | {"experimentName": "rival", "configuration": {"type": "glz"}}
        client.must("PUT", "/v1/procedures/rival", {"type": config["type"], "params": params})
        other = {"params": {"inputData": params["inputData"].replace("flowers", f"({LONG})")}}
        client.must("POST", "/v1/procedures/rival/runs", other)
        runs = [(name, client.get(f"/v1/procedures/{name}/runs").json()) for name in ("experiment", "rival")]
        return {
            f"{name}/{run}": client.get(f"/v1/procedures/{name}/runs/{run}").json()["status"]
            for name, ids in runs
            for run in sorted(ids)
        }


CURVE = "g[stroke^='var(--run-']"
LONG = "SELECT * FROM flowers WHERE petal_length > 2"


def comparison(*keys):
    return f"/console/compare?{urlencode([('run', key) for key in keys])}"


def test_runs_are_compared_with_their_folds_and_curves(browser, server, rivals):
    experiment, _, latest = rivals
    page = opened(browser, server, comparison(experiment, latest))
    table = page.get_by_role("region", name="Measures")
    row = table.get_by_role("row").filter(has=page.get_by_role("link", name="experiment"))
    auc = rivals[experiment]["aggregatedTest"]["auc"]
    expect(row.get_by_role("cell").nth(1)).to_have_text(f"{auc['mean']:.4f} ± {auc['std']:.4f}")
    best = max((experiment, latest), key=lambda key: rivals[key]["aggregatedTest"]["auc"]["mean"])
    expect(table.locator("tr", has=page.locator("td:nth-child(2) strong"))).to_contain_text(best.split("/")[0])
    table.get_by_label("Each fold").check()
    for index, fold in enumerate(rivals[experiment]["folds"]):
        shown = table.get_by_role("row").filter(has_text=f"Fold {index + 1}").first.get_by_role("cell").nth(1)
        expect(shown).to_have_text(f"{fold['resultsTest']['auc']:.4f}")
    assert "folds=shown" in page.url
    expect(page.get_by_role("img", name="ROC curves of experiment, rival").locator(CURVE)).to_have_count(3 + 3)
    differ = page.get_by_role("region", name="Where their parameters differ")
    expect(differ.get_by_role("row").filter(has_text="configuration.type")).to_contain_text("glz")
    expect(differ).not_to_contain_text("experimentName")
    page.get_by_label("Curves of rival").uncheck()
    expect(page.get_by_role("img", name="ROC curves of experiment").locator(CURVE)).to_have_count(3)
    page.reload()  # the address is all that another browser is given
    expect(page.get_by_label("Curves of rival")).not_to_be_checked()
    expect(table.get_by_label("Each fold")).to_be_checked()
    table.get_by_role("button", name="AUC").click()
    expect(table.get_by_role("columnheader", name="AUC")).to_have_attribute("aria-sort", "ascending")
    worst = min((experiment, latest), key=lambda key: rivals[key]["aggregatedTest"]["auc"]["mean"])
    expect(table.get_by_role("link").first).to_have_text(worst.split("/")[0])
    table.get_by_role("link", name="experiment").click()
    page.wait_for_url("**/console/procedures/experiment/runs/**")
    closed(page)


def test_curves_that_a_later_run_has_written_over_are_not_drawn(browser, server, rivals):
    _, former, latest = rivals
    page = opened(browser, server, comparison(former, latest))
    expect(page.get_by_text("another run has written the scored rows since")).to_contain_text("No curves of rival, ")
    expect(page.get_by_role("img", name="ROC curves").locator(CURVE)).to_have_count(3)
    differ = page.get_by_role("region", name="Where their parameters differ")
    expect(differ.get_by_role("row").filter(has_text="inputData")).to_contain_text("petal_length > 2")
    procedure, run = former.split("/")
    page.goto(f"{server.url}/console/procedures/{procedure}/runs/{run}")
    expect(page.get_by_text("another run has written its scored rows into rival_results_0 since")).to_be_visible()
    expect(page.get_by_role("img", name="ROC curve")).to_have_count(0)
    closed(page)


def test_runs_are_ticked_where_they_are_listed(browser, server, rivals):
    page = opened(browser, server, "/console/procedures")
    expect(page.get_by_role("row").filter(has_text="map flowers").get_by_role("checkbox")).to_have_count(0)
    focus(page, page.get_by_role("checkbox", name="Compare test versicolor"))
    page.keyboard.press("Space")
    expect(page.get_by_role("link", name="Compare 1 run")).to_be_visible()
    page.get_by_role("link", name="rival", exact=True).click()
    page.get_by_role("checkbox", name="Compare rival").last.check()
    page.get_by_role("link", name="Compare 2 runs").click()
    table = page.get_by_role("region", name="Measures")
    expect(table.get_by_role("link")).to_have_text(["test versicolor", "rival"])
    offered = page.get_by_label("Add a run")
    offered.select_option(offered.locator("option", has_text="test kinds").get_attribute("value"))
    expect(table.get_by_role("columnheader", name="Precision")).to_be_visible()  # of several labels, not of two
    table.get_by_role("button", name="Take out rival").click()
    expect(table.get_by_role("link")).to_have_text(["test versicolor", "test kinds"])
    (kinds,) = [key for key in parse_qs(urlsplit(page.url).query)["run"] if key.startswith("test kinds/")]
    page.goto(server.url + comparison(kinds, "test kinds/gone"))
    expect(page.get_by_text("there is no such run any more")).to_be_visible()
    page.troubles.clear()  # the browser notes the 404
    page.goto(server.url + "/console/compare")
    expect(page.get_by_text("Nothing to compare yet")).to_be_visible()
    closed(page)


@pytest.mark.parametrize(("scheme", "size"), [("light", DESK), ("dark", PHONE)], ids=["desk light", "phone dark"])
def test_reports_are_accessible_and_fit(browser, server, rivals, scheme, size):
    page = opened(browser, server, viewport=size, color_scheme=scheme)
    for procedure in REPORTS:
        page.goto(server.url + run_of(server, procedure)[0])
        page.get_by_role("region", name="Report").wait_for()
        assert (findings(page), fits(page)) == ([], True), procedure
    page.goto(server.url + comparison(*rivals) + "&folds=shown")
    expect(page.get_by_role("img", name="ROC curves").locator(CURVE).first).to_be_visible()
    assert (findings(page), fits(page)) == ([], True), "comparison"
    closed(page)
