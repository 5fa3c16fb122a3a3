"""The reference plugin over REST: teaching, questions, the map, files, links. A small network stands in for it."""

import base64
import io
import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT, RunningServer
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROUTES = "/v1/plugins/image_classifier/routes"


def coloured(number, channel):
    """A noisy picture, mostly of one colour."""
    pixels = np.random.default_rng(number).integers(0, 70, (60, 80, 3))
    pixels[..., channel] += 150
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def text(picture):
    return base64.b64encode(picture).decode()


class Plugin:
    """Calls of the plugin's routes."""

    def __init__(self, client):
        self.client = client

    def get(self, route, code=200, **params):
        return self.checked(self.client.get(f"{ROUTES}/{route}", params=params), code)

    def post(self, route, content=b"", code=200, **params):
        return self.checked(self.client.post(f"{ROUTES}/{route}", content=content, params=params, timeout=60), code)

    def checked(self, answer, code):
        assert answer.status_code == code, answer.text
        return answer.json()

    def until(self, done):
        """The first answer that is done."""
        return until(done, "it does not come about", 150)  # trainings, in TensorFlow

    def wait(self, job):
        def over():
            found = self.get("train", id=job["id"])
            return found if found["state"] != "working" else None

        found = self.until(over)
        assert found["state"] == "ready", found
        return found

    def model(self, id):
        (about,) = [each for each in self.get("models")["models"] if each["id"] == id]
        return about

    def teach(self, title, heap=()):
        classes = {
            label: [text(coloured(n, channel)) for n in range(5)] for label, channel in (("red", 0), ("blue", 2))
        }
        job = self.post(
            "train", json.dumps({"title": title, "classes": classes, "heap": [text(each) for each in heap]})
        )
        self.wait(job)
        return job["id"]


@pytest.fixture(scope="module")
def data(tmp_path_factory, graphs):
    data = tmp_path_factory.mktemp("data")
    models = data / "models" / "image_classifier"
    models.mkdir(parents=True)
    shutil.copy(graphs / "inception.pb", models / "inception_random.pb")
    return data


def started(data):
    return RunningServer(
        data,
        "--plugin-directory",
        str(ROOT / "plugins" / "image_classifier"),
        environment={"INCEPTION_WEIGHTS": str(data / "none.h5")},
    )


@pytest.fixture(scope="module")
def running(data):
    server = started(data)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def plugin(running):
    with running.client() as client:
        plugin = Plugin(client)
        plugin.until(lambda: client.get(f"{ROUTES}/state").status_code == 200)
        plugin.until(lambda: plugin.get("state")["state"] == "ready")
        plugin.wait({"id": "digits"})
        yield plugin


@pytest.fixture(scope="module")
def taught(plugin):
    """A classifier of red and blue pictures, and a heap of further ones: even rows are red."""
    return plugin.teach("Fàrben ☂", [coloured(50 + n, 2 * (n % 2)) for n in range(12)])


def truth(row):
    return "red" if (int(row) - 10) % 2 == 0 else "blue"


def test_digits(plugin):
    about = plugin.model("digits")
    assert about["accuracy"] > 0.93
    assert about["labels"] == [str(number) for number in range(10)]
    assert about["pictures"] == 1782
    assert sum(count for *_, count in about["confusion"]) == 1782
    samples = plugin.get("samples")
    assert len(samples) == 15
    assert {len(sample) for sample in samples} == {64}
    levels = np.array(samples[0]).reshape(8, 8)
    buffer = io.BytesIO()
    Image.fromarray(np.kron(levels * 255 / 16, np.ones((9, 9))).astype(np.uint8)).save(buffer, "PNG")
    answer = plugin.post("predict", buffer.getvalue())
    assert answer["labels"][0]["label"] == "0"
    assert sum(label["score"] for label in answer["labels"]) == pytest.approx(1)


def test_the_model_asks_about_what_it_is_least_sure_of_and_learns(plugin, taught):
    about = plugin.model(taught)
    assert (about["labels"], about["pictures"], about["history"]) == (["blue", "red"], 10, [[10, about["accuracy"]]])
    asked = plugin.get("questions", model=taught)
    assert asked["left"] == 12
    assert len(set(asked["rows"])) == 6
    doubts = []
    for row in map(str, range(10, 22)):
        picture = plugin.client.get(f"{ROUTES}/picture", params={"model": taught, "row": row})
        assert picture.headers["content-type"] == "image/jpeg"
        assert picture.content == coloured(40 + int(row), 2 * (int(row) % 2))
        shares = [label["score"] for label in plugin.post("predict", picture.content, model=taught)["labels"]]
        doubts.append((-sum(share * np.log(share + 1e-9) for share in shares), row))
    most = [row for _, row in sorted(doubts, reverse=True)[:6]]
    assert set(most) == set(asked["rows"])
    plugin.wait(plugin.post("answers", json.dumps({row: truth(row) for row in asked["rows"]}), model=taught))
    about = plugin.model(taught)
    assert about["pictures"] == 16
    assert about["labels"] == ["blue", "red"]
    assert [count for count, _ in about["history"]] == [10, 16]
    assert about["accuracy"] > 0.8
    more = plugin.get("questions", model=taught)
    assert more["left"] == 6
    assert not set(more["rows"]) & set(asked["rows"])
    for wrong in ({asked["rows"][0]: "red"}, {more["rows"][0]: "green"}, {"x' OR 1=1": "red"}, {}):
        error = plugin.post("answers", json.dumps(wrong), 400, model=taught)["error"]
        assert error == "an answer is one of the classifier's labels for a picture that has none"
    plugin.wait(plugin.post("answers", json.dumps({row: truth(row) for row in more["rows"]}), model=taught))
    assert plugin.get("questions", model=taught) == {"rows": [], "left": 0}


def test_the_map(plugin, taught):
    assert "_map' doesn't exist" in plugin.get("map", 404, model=taught)["error"]
    plugin.wait(plugin.post("map", model=taught))
    positions = plugin.get("map", model=taught)
    assert len(positions) == 22
    where = {label: np.array([[p["x"], p["y"]] for p in positions if p["label"] == label]) for label in ("red", "blue")}
    apart = np.linalg.norm(where["red"].mean(0) - where["blue"].mean(0))
    assert apart > np.mean([np.linalg.norm(points - points.mean(0), axis=1).mean() for points in where.values()])
    assert plugin.get("picture", 404, model=taught, row="' OR '1")["error"] == "there is no such picture"


def test_a_model_as_a_file_and_back(plugin, taught):
    answer = plugin.client.get(f"{ROUTES}/download", params={"model": taught})
    assert answer.headers["content-disposition"].endswith("filename*=UTF-8''F%C3%A0rben%20%E2%98%82.json")
    assert answer.headers["content-type"] == "application/json"
    loaded = plugin.post("load", answer.content)
    about = plugin.model(taught)
    for name in ("title", "labels", "accuracy", "confusion", "pictures", "network"):
        assert loaded[name] == about[name], name
    assert loaded["id"] != taught
    picture = coloured(99, 2)
    answers = [plugin.post("predict", picture, model=id)["labels"] for id in (taught, loaded["id"])]
    assert answers[0] == answers[1]
    digits = plugin.client.get(f"{ROUTES}/download").content
    again = plugin.post("load", digits)
    assert plugin.post("predict", picture, model=again["id"])["labels"] == plugin.post("predict", picture)["labels"]


def test_what_is_no_model_is_refused_and_leaves_nothing(plugin, taught, data):
    good = plugin.client.get(f"{ROUTES}/download", params={"model": taught}).content
    told = json.loads(good)
    before = sorted(path.name for path in (data / "models" / "image_classifier").iterdir())
    functions = plugin.client.get("/v1/functions").json()
    bad = {
        "empty": b"",
        "no JSON": b"\xff",
        "cut": good[: len(good) // 2],
        "no model": json.dumps({**told, "model": None}).encode(),
        "no base64": json.dumps({**told, "model": "ü"}).encode(),
        "another model": json.dumps({**told, "model": text(b"nonsense" * 100)}).encode(),
        "a list": b"[]",
        "wrong types": json.dumps({**told, "confusion": [1]}).encode(),
        "no text": json.dumps({**told, "labels": 7}).encode(),
        "endless": json.dumps({**told, "pictures": float("inf")}).encode(),
        "no number": json.dumps({**told, "accuracy": float("nan")}).encode(),
        "too much": json.dumps({**told, "confusion": [["a", "b", 1e300]]}).encode(),
        "too deep": b"[" * 100_000,
    }
    for name, content in bad.items():
        error = plugin.post("load", content, 400)["error"]
        assert error.startswith("this is no classifier that was downloaded here"), name
    assert sorted(path.name for path in (data / "models" / "image_classifier").iterdir()) == before
    assert plugin.client.get("/v1/functions").json() == functions


def test_a_link_shows_one_prediction_again(plugin, taught, data):
    picture = coloured(123, 0)
    name = plugin.post("share", picture, model=taught)["name"]
    assert len(name) >= 22  # 128 bits
    found = plugin.get("shared", name=name)
    assert base64.b64decode(found["picture"].partition(",")[2]) == picture
    assert found["labels"] == plugin.post("predict", picture, model=taught)["labels"]
    assert found["labels"][0]["label"] == "red"
    for wrong in ("", ".", "..", "../digits.cls", "../digits.classifier.json", name[:-1], "/etc/passwd"):
        assert "no longer there" in plugin.get("shared", 404, name=wrong)["error"]
    assert plugin.post("share", b"text", 400)["error"] == "the picture cannot be read: it is in no known format"
    folder = data / "models" / "image_classifier" / "shared"
    for number in range(205):
        (folder / f"later{number}").write_text("{}")
    last = plugin.post("share", picture, model=taught)["name"]
    assert len(list(folder.iterdir())) == 200
    assert plugin.get("shared", name=last)["labels"] == found["labels"]
    assert "no longer there" in plugin.get("shared", 404, name=name)["error"]


def test_refusals(plugin, taught):
    few = {"a": [text(coloured(1, 0))] * 4, "b": [text(coloured(2, 2))] * 3}
    error = plugin.post("train", json.dumps({"title": "few", "classes": few}), 400)["error"]
    assert error == "at least two classes are needed, with at least 4 pictures each"
    heap = ["x"] * 4995
    classes = {"a": ["x"] * 4, "b": ["x"] * 4}
    error = plugin.post("train", json.dumps({"title": "many", "classes": classes, "heap": heap}), 400)["error"]
    assert error == "at most 5000 pictures can be trained on here"
    assert plugin.post("predict", b"x", 404, model="none")["error"] == "there is no classifier 'none', or not yet"
    assert "no such route" in plugin.get("nowhere", 404)["error"]
    assert "no ImageNet labels" in plugin.post("predict", coloured(1, 1), 503, model="imagenet")["error"]
    assert plugin.post("predict", b"", 400)["error"] == "send a picture in the body, or give its url"
    assert "could not be fetched" in plugin.get("predict", 400, url="http://127.0.0.1:9/x.jpg")["error"]
    assert plugin.get("train", 404, id="x")["error"] == "there is no such training: has it failed before?"


def test_bodies_that_are_something_else(plugin, taught):
    for body in (b"", b"\xff", b"{", b"[" * 100_000):
        for route in ("train", "answers"):
            assert plugin.post(route, body, 400, model=taught)["error"].startswith("the body is no JSON: ")
    for body in ([], 7, None):
        assert plugin.post("answers", json.dumps(body), 400, model=taught)["error"] == "the body is a JSON object"
    for body in ({}, {"title": 7, "classes": {}}, {"title": "t", "classes": []}, {"title": "t", "classes": {"a": 1}},
                 {"title": "t", "classes": {"a": [1]}}, {"title": "t", "classes": {}, "heap": 3}):  # fmt: skip
        error = plugin.post("train", json.dumps(body), 400)["error"]
        assert (
            error == "send a title and classes, {label: [base64 pictures]}, and maybe a heap, a list of such pictures"
        )
    for label in ([], {}, 7, None):
        error = plugin.post("answers", json.dumps({"10": label}), 400, model=taught)["error"]
        assert error == "an answer is one of the classifier's labels for a picture that has none"


def test_of_answers_at_the_same_time_only_one_is_taken(plugin):
    asked = plugin.teach("at once", [coloured(70 + n, 2 * (n % 2)) for n in range(8)])
    answers = [json.dumps({str(row): "red"}) for row in range(10, 18)]

    def send(content):
        return plugin.client.post(f"{ROUTES}/answers", content=content, params={"model": asked}, timeout=60)

    with ThreadPoolExecutor(len(answers)) as pool:
        codes = sorted(answer.status_code for answer in pool.map(send, answers))
    assert codes == [200] + [409] * 7
    plugin.wait({"id": asked})
    assert plugin.get("questions", model=asked)["left"] == 7


def test_procedures_of_others_are_neither_shown_nor_forgotten(plugin):
    failing = {"type": "transform", "params": {"inputData": "SELECT * FROM nowhere", "runOnCreation": False}}
    plugin.checked(plugin.client.put("/v1/procedures/others", json=failing), 201)
    plugin.checked(plugin.client.post("/v1/procedures/others/runs", json={}), 404)
    for id in ("others", "x/../others", "digits/../others"):
        assert "there is no such training" in plugin.get("train", 404, id=id)["error"]
    assert plugin.client.get("/v1/procedures/others").status_code == 200


def test_a_training_that_fails_says_so_and_leaves_nothing(plugin):
    broken = {"a": [text(coloured(1, 0))] * 4, "b": [text(b"no picture")] * 4}
    job = plugin.post("train", json.dumps({"title": "broken", "classes": broken}))
    found = job  # which may have failed before the answer came
    while found["state"] == "working":
        found = plugin.get("train", id=job["id"])
    assert (found["state"], found["step"]) == ("failed", "features")
    assert "Unable to run model" in found["error"]
    assert not [name for name in plugin.client.get("/v1/datasets").json() if name.startswith(job["id"])]


def test_what_is_forgotten_leaves_nothing_and_the_rest_survives_a_restart_elsewhere(plugin, taught, data, running):
    other = plugin.teach("other")
    assert plugin.checked(plugin.client.delete(f"{ROUTES}/models", params={"model": other}), 200)
    assert "there is no classifier" in plugin.post("predict", coloured(1, 0), 404, model=other)["error"]
    for kind in ("datasets", "functions"):
        assert not [name for name in plugin.client.get(f"/v1/{kind}").json() if name.startswith(other)]
    assert not list((data / "models" / "image_classifier").glob(f"{other}*"))
    before = plugin.get("models")
    expected = plugin.post("predict", coloured(7, 2), model=taught)["labels"]
    features = "inception_image({content: base64_decode(image)}) AS *"  # as versions did that passed pictures as texts
    older = {"expression": f"{taught}_scorer({{features: {{{features}}}}})[scores] AS scores"}
    answer = plugin.client.put(f"/v1/functions/{taught}", json={"type": "sql.expression", "params": older})
    assert plugin.checked(answer, 201)
    running.kill()
    again = started(data.rename(data.parent / "moved"))
    try:
        with again.client() as client:
            plugin = Plugin(client)
            plugin.until(lambda: client.get(f"{ROUTES}/state").status_code == 200)
            plugin.until(lambda: plugin.get("state")["state"] == "ready")
            assert plugin.get("models") == before
            assert plugin.post("predict", coloured(7, 2), model=taught)["labels"] == expected
            assert len(plugin.get("map", model=taught)) == 22
    finally:
        again.stop()
