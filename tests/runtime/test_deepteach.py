"""The public plugin mldbai/deepteach, with the edits that Python 3 asks for: similar images, training, prediction.

The plugin is not part of this project: the environment variable DEEPTEACH names a checkout of it.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import zipfile
from pathlib import Path
from urllib.parse import quote, urlencode

import numpy as np
import pytest
from PIL import Image

from tests.checkouts import server_with, site_of

CHECKOUT = os.environ.get("DEEPTEACH", "")
UPSTREAM = "https://s3.amazonaws.com"  # where its main.py loads models and collections from
MODELS = "public-mldb-ai/models"
CACHE = "public-mldb-ai/datasets/dataset-builder/cache"
COLLECTIONS = ("recipe", "transport", "pets", "realestate")
PATCH = Path(__file__).with_name("deepteach") / "python3.patch"

pytestmark = [
    pytest.mark.skipif(
        not CHECKOUT, reason="set DEEPTEACH to a checkout of the plugin mldbai/deepteach to run it against this server"
    ),
    pytest.mark.timeout(300),
]


def picture(colour: tuple[int, int, int], seed: int) -> bytes:
    """A picture of one colour with some noise."""
    noise = np.random.default_rng(seed).integers(-40, 40, (40, 50, 3))
    image = Image.fromarray(np.clip(noise + np.array(colour), 0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG")
    return buffer.getvalue()


PICTURES = {f"red{n}": picture((220, 40, 40), n) for n in range(8)} | {
    f"blue{n}": picture((40, 40, 220), 100 + n) for n in range(8)
}


@pytest.fixture(scope="module")
def site(tmp_path_factory, graphs):
    """What the plugin's main.py loads: a graph, and its four collections (here of three rows each); and pictures."""
    folder = tmp_path_factory.mktemp("site")
    (folder / MODELS).mkdir(parents=True)
    (folder / CACHE).mkdir(parents=True)
    with zipfile.ZipFile(folder / MODELS / "inception_dec_2015.zip", "w") as archive:
        archive.write(graphs / "inception.pb", "tensorflow_inception_graph.pb")
    names = ",".join(f"pool_3.0.0.0.{n}" for n in range(12))
    for number, collection in enumerate(COLLECTIONS):
        numbers = np.random.default_rng(number).normal(size=(3, 12))
        vectors = "".join(f"p{n},{','.join(map(str, row))}\n" for n, row in enumerate(numbers))
        images = "".join(f"p{n},/pictures/p{n}.jpg\n" for n in range(3))
        for kind, text in (("images", f"rowName,location\n{images}"), ("embedding", f"rowName,{names}\n{vectors}")):
            file = folder / CACHE / f"dataset_creator_{kind}_{collection}.csv.gz"
            file.write_bytes(gzip.compress(text.encode()))
    for name, content in PICTURES.items():
        (folder / f"{name}.jpg").write_bytes(content)
    (folder / "page.html").write_text("<p>no picture")
    with site_of(folder) as address:
        yield address


@pytest.fixture(scope="module")
def client(tmp_path_factory, site):
    """A server with the plugin loaded from a patched copy."""
    copy = tmp_path_factory.mktemp("plugin") / "deepteach"
    with server_with("deepteach", CHECKOUT, copy, UPSTREAM, site, PATCH) as client:
        yield client


def post(client, route, body, code=200):
    answer = client.post(f"/v1/plugins/deepteach/routes/{route}", content=body, timeout=120)
    assert answer.status_code == code, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def collection(client):
    """A collection made of uploaded pictures, as the page makes one; its name."""
    images = [
        [f"{name}.jpg", "data:image/jpeg;base64," + base64.b64encode(content).decode()]
        for name, content in PICTURES.items()
    ]
    made = post(client, "createDataset", json.dumps({"dataset": "colours", "images": images, "limit": "100"}))
    return made["name"]


def similar(client, collection, *, deploy=False):
    ask = {"a": ["red0", "red1"], "b": ["blue0"]}
    body = {"dataset": collection, "prefix": "http://h/img", "deploy": deploy, "numBags": 10, "numRndFeats": 0.5}
    return post(client, "similar", json.dumps({**body, "input": json.dumps(ask)}))


def test_page_and_collections(client):
    assert "html" in client.get("/v1/plugins/deepteach/routes/static/index.html").text.lower()
    query = quote("select count(*) from pets", safe="*()")
    answer = client.get(f"/v1/query?q={query}&format=table&rowNames=false&headers=false")
    assert answer.json() == [[3]]
    assert post(client, "nowhere", "", 400) == "Unknown route: POST /nowhere"
    near = client.query("select nearest_pets({coords: 'p0'})[neighbors] as *")
    assert near[1][1] == "p0"


def test_pictures_are_embedded(client, collection):
    assert client.query(f"select count(*) as n from embedded_images_{collection}")[1][1] == 16
    near = client.query(f"select nearest_{collection}({{coords: 'red0'}})[neighbors] as *")[1][1:]
    assert {name[:3] for name in near[:8]} == {"red"}
    page = client.get(f"/v1/plugins/deepteach/routes/static/{collection}/red0.jpg")
    assert page.content == PICTURES["red0"]


def test_similar_pictures(client, collection):
    found = similar(client, collection)
    assert [name for name, _ in found["a"]["prev"]] in (["red0", "red1"], ["red1", "red0"])
    assert {name[:3] for name, _ in found["a"]["explore"][:4]} == {"red"}
    assert {name[:4] for name, _ in found["b"]["explore"][:4]} == {"blue"}
    assert all(0 <= score <= 1 for name, score in found["a"]["explore"] + found["b"]["explore"] + found["sample"])
    assert found["deploy_id"] == ""
    left = client.get("/v1/functions").json()
    assert not [name for name in left if name.startswith("scorer_")]


def test_training_and_prediction(client, collection, site):
    deployed = similar(client, collection, deploy=True)["deploy_id"]
    assert len(deployed) == 32

    def predict(name, same="true", code=200):
        given = {"deploy_id": deployed, "same_deploy": same, "image_url": f"{site}/{name}"}
        return post(client, "prediction", urlencode(given), code)

    red, blue = predict("red5.jpg"), predict("blue5.jpg")
    assert red["prob"] > blue["prob"]
    assert red["score"] > blue["score"]
    examples = predict("red6.jpg", same="false")["example_image"]
    assert {name[:3] for name, *_ in examples["A"]} == {"red"}
    assert {name[:4] for name, *_ in examples["B"]} == {"blue"}
    assert examples["A"][0][1:] == [collection, "http://h/img"]
    assert "only supports JPEG images" in predict("page.html", code=400)
    assert "Error opening image" in predict("none.jpg", code=400)


def test_persisting(client, collection):
    assert post(client, "persistEmbedding", json.dumps({"name": collection})) == "Persisted!"


def test_a_helper_that_returns_too_little(client, collection):
    body = {"dataset": collection, "prefix": "x", "input": json.dumps({"a": [], "b": ["blue0"]})}
    answer = post(client, "similar", json.dumps(body), 400)
    assert answer["exception"]["type"] == "ValueError"
    assert "not enough values to unpack (expected 7, got 2)" in answer["exception"]["message"]
