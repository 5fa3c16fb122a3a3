"""A model file whose digest is right, but whose content is not: refused when a function is made of it, never later."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pytest

from server.learning.archive import Archive, ModelFile, pack, unpack
from server.learning.saved import REMEDY
from tests.effort import cases
from tests.inprocess import in_process
from tests.learning.models import TRAININGS, make_datasets

CASES = cases(60)  # of each model
REPLACEMENTS = [None, "x", "", -1, 10**6, 1.5, True, [], {}, [None], {"0": None}]


@pytest.fixture(scope="module")
def trained(server):
    with server.client() as client:
        make_datasets(client)
        yield client


def places(value: Any, before: tuple = ()) -> Iterator[tuple]:
    """The way to each part of a JSON value; of a list to its first and last."""
    if before:
        yield before
    if isinstance(value, dict):
        for name in list(value)[:30]:
            yield from places(value[name], (*before, name))
    elif isinstance(value, list):
        for at in {0, len(value) - 1} if value else ():
            yield from places(value[at], (*before, at))


def changed(body: Any, way: tuple, new: Any) -> Any:
    """A copy with another value there; without it for ``...``."""
    body = copy.deepcopy(body)
    inside = body
    for step in way[:-1]:
        inside = inside[step]
    if new is ...:
        del inside[way[-1]]
    else:
        inside[way[-1]] = new
    return body


def bodies(body: Any) -> Iterator[tuple[str, Any]]:
    for way in places(body):
        for new in [..., *REPLACEMENTS]:
            yield f"{way} = {new!r}", changed(body, way, new)


def arrays(given: np.ndarray) -> Iterator[tuple[str, np.ndarray | None]]:
    yield "removed", None
    yield "empty", given[:0]
    yield "flat", given.reshape(-1)
    yield "one more dimension", given[None]
    yield "no dimension", np.array(3.0)
    yield "one longer", np.concatenate([given, given[:1]]) if len(given) else np.zeros((1, *given.shape[1:]))
    yield "one shorter", given[:-1]
    yield "transposed", given.T
    yield "wider", np.concatenate([given, given], axis=-1)
    for type_ in (np.float64, np.int64, np.bool_, np.uint8, "U4", "M8[s]"):
        with np.errstate(invalid="ignore"):
            yield f"as {type_}", given.astype(type_)
    for number in (-7, 1e9, np.nan, np.inf):
        with np.errstate(invalid="ignore"):
            yield f"all {number}", np.full(given.shape, number).astype(given.dtype)


def damages(file: ModelFile) -> Iterator[tuple[str, Any, dict[str, np.ndarray]]]:
    known = file.archive.arrays
    for told, body in bodies(file.body):
        yield f"body {told}", body, known
    for name, given in known.items():
        for told, new in arrays(given):
            rest = {each: array for each, array in known.items() if each != name}
            yield f"{name} {told}", file.body, rest if new is None else {**rest, name: new}


@pytest.mark.parametrize("name", TRAININGS)
def test_what_is_wrong_in_a_model_is_told_at_its_creation(trained, server, name):
    training = TRAININGS[name]
    path = server.data_dir.resolve() / f"whole_{name}.model"
    answer = trained.put(f"/v1/procedures/train_{name}", json=training.config(f"whole_{name}", f"file://{path}"))
    assert answer.status_code == 201, answer.text
    config = trained.get(f"/v1/functions/{training.function(f'whole_{name}')}").json()["config"]
    damaged = path.with_name(f"damaged_{name}.model")
    url_name = next(each for each in config["params"] if each.endswith("FileUrl"))
    config["params"][url_name] = f"file://{damaged}"
    data = path.read_bytes()
    kind = kind_of(data)
    file = unpack(kind, data)
    refused = 0
    cases = list(damages(file))
    random.Random(3).shuffle(cases)
    for told, body, held in cases[:CASES]:
        damaged.write_bytes(pack(kind, body, Archive(dict(held)), file.origin))
        answer = trained.put("/v1/functions/damaged", json={**config, "id": "damaged"})
        assert answer.status_code in (201, 400), (told, answer.text)
        if answer.status_code == 400:
            refused += 1
            text = answer.json()["error"]
            assert (REMEDY in text and str(damaged) in text) or text == "Outcome 'won' not found in stats table!", told
            continue
        answer = trained.get("/v1/functions/damaged/details")
        assert answer.status_code == 200, (told, answer.text)
        if training.call:
            answer = trained.get("/v1/query", params={"q": f"SELECT damaged{training.call} AS *"})
            assert answer.status_code < 500, (told, answer.text)
        if config["type"] == "classifier":
            explain = {"type": "classifier.explain", "params": {"modelFileUrl": f"file://{damaged}"}}
            assert trained.put("/v1/functions/explain", json=explain).status_code == 201, told
            asked = "SELECT explain({features: {x: 1, y: 2, tokens: {good: 1}}, label: 1}) AS *"
            answer = trained.get("/v1/query", params={"q": asked})
            assert answer.status_code < 500, (told, answer.text)
    assert refused > len(cases[:CASES]) / 4


def kind_of(data: bytes) -> str:
    import io
    import zipfile

    with zipfile.ZipFile(io.BytesIO(data)) as members:
        return str(orjson.loads(members.read("model.json"))["kind"])


def test_the_size_of_a_model_has_a_setting(tmp_path):
    with in_process(tmp_path / "data", model_size=1) as server:
        path = tmp_path / "data" / "large.model"
        archive = Archive()
        archive.put("zeros", np.zeros(1 << 20))
        path.write_bytes(pack("tfidf", {"documents": 1, "terms": {}}, archive))
        config = {"type": "tfidf", "params": {"modelFileUrl": f"file://{path}"}}
        for told in ("bytes when unpacked", "is larger than 1048576 bytes"):
            status, answer = server.ask("PUT", "/v1/functions/f", config)
            assert status == 400
            assert told in answer["error"]
            assert "the setting is model_size" in answer["error"]
            path.write_bytes(bytes(2 << 20))
