"""A plugin in the words of the 2016 talk: a graph in an archive on the web, a classifier, one function, one route."""

import zipfile

import pytest

from tests.checkouts import site_of
from tests.conftest import RunningServer
from tests.images.conftest import picture

pytestmark = pytest.mark.timeout(180)  # the first use of a fixture starts TensorFlow, on a busy machine

MAIN = """
mldb = mldb_wrapper.wrap(mldb)
mldb.plugin.serve_static_folder("static", "static")
mldb.put("/v1/functions/inception", {"type": "tensorflow.graph", "params": {
    "modelFileUrl": "archive+" + mldb.plugin.args["site"] + "/inception.zip#graph.pb",
    "inputs": 'fetcher(url)[content] AS "DecodeJpeg/contents"',
    "outputs": "pool_3"}})
images = mldb.create_dataset({"id": "images", "type": "sparse.mutable"})
for number in range(12):
    url = "%s/%d.jpg" % (mldb.plugin.args["site"], number % 2)
    images.record_row(str(number), [["url", url, 0], ["brand", ["audi", "bmw"][number % 2], 0]])
images.commit()
mldb.put("/v1/procedures/features", {"type": "transform", "params": {
    "inputData": "SELECT brand, inception({url}) AS * FROM images", "outputDataset": "training"}})
mldb.put("/v1/procedures/train", {"type": "classifier.train", "params": {
    "mode": "categorical", "trainingData": "SELECT {* EXCLUDING(brand)} AS features, brand AS label FROM training",
    "configuration": {"type": "decision_tree"}, "modelFileUrl": "file:///mldb_data/brand.cls",
    "functionName": "scorer"}})
mldb.log(mldb.put("/v1/functions/brand_predictor", {"type": "sql.expression", "params": {
    "expression": "scorer({features: inception({url})}) as *"}}))
"""
ROUTES = """
mldb = mldb_wrapper.wrap(mldb)
if mldb.plugin.rest_params.verb == "GET" and mldb.plugin.rest_params.remaining == "/py_predict":
    url = mldb.plugin.rest_params.rest_params[0][1]
    rows = mldb.query("SELECT * FROM transpose((SELECT brand_predictor({url: '%s'})[scores] as *)) "
                      "ORDER BY result DESC LIMIT 1" % url)
    mldb.plugin.set_return(rows[1][0].replace('"', ''), 200)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory, graphs):
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(folder / "inception.zip", "w") as archive:
        archive.write(graphs / "inception.pb", "graph.pb")
    for number in range(2):
        (folder / f"{number}.jpg").write_bytes(picture(number))
    with site_of(folder) as address:
        yield address


@pytest.fixture(scope="module")
def client(tmp_path_factory, site):
    plugin = tmp_path_factory.mktemp("carapp")
    (plugin / "static").mkdir()
    (plugin / "static" / "index.html").write_text("<h1>cars</h1>")
    (plugin / "main.py").write_text(MAIN)
    (plugin / "routes.py").write_text(ROUTES)
    running = RunningServer(tmp_path_factory.mktemp("data"), "--fetch-private", "--file-root", str(plugin))
    with running.client(headers={}) as client:
        params = {"address": f"file://{plugin}", "args": {"site": site}}
        answer = client.put("/v1/plugins/carapp", json={"type": "python", "params": params}, timeout=120)
        assert answer.status_code == 201, answer.text
        yield client
    running.stop()


def test_the_page(client):
    assert client.get("/v1/plugins/carapp/routes/static/").text == "<h1>cars</h1>"


@pytest.mark.parametrize(("number", "brand"), [(0, "audi"), (1, "bmw")])
def test_both_ways_to_the_brand(client, site, number, brand):
    url = f"{site}/{number}.jpg"
    scores = client.get_json("/v1/functions/brand_predictor/application", {"input": {"url": url}}).json()["output"]
    best = max(scores["scores"], key=lambda cell: cell[1][0])
    assert best[0] == f'"{brand}"'
    assert client.get("/v1/plugins/carapp/routes/py_predict", params={"url": url}).json() == brand


def test_a_picture_that_is_not_there(client, site):
    answer = client.get_json("/v1/functions/brand_predictor/application", {"input": {"url": f"{site}/none.jpg"}})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("Unable to run model: ")


def test_no_such_route(client):
    assert client.get("/v1/plugins/carapp/routes/nope").status_code == 404


def test_every_row_of_a_dataset(client):
    rows = client.query("SELECT brand, inception({url})[pool_3] AS f FROM images ORDER BY rowName()")
    assert len(rows) == 13
    assert len(rows[0]) == 2 + 12
