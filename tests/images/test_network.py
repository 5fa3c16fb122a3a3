"""The reference plugin's exporter: weights by hash, their absence, the frozen graphs."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from server.learning.model_worker import Model
from tests.images.conftest import PICTURE_INPUT, picture

pytestmark = pytest.mark.timeout(180)  # one export in a process of its own, on a busy machine


PLUGIN = Path(__file__).parents[2] / "plugins" / "image_classifier"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    (folder / "picture.jpg").write_bytes(picture(4))
    return folder


@pytest.fixture(scope="module")
def exports(folder):
    script = Path(__file__).with_name("export_small.py")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run([sys.executable, script, folder], capture_output=True, env=environment, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_weights_are_fetched_checked_and_kept(exports):
    good = exports["good"]
    assert good["weights"] == "custom"
    assert good["labels"] == ["label 0", "label 1", "label 2"]
    stem = Path(good["file"]).stem
    assert good["left"] == [f"{stem}.json", f"{stem}.pb", "labels.json", "small.weights.h5"]
    assert exports["again"] == good


@pytest.mark.parametrize("case", ["wrong", "local"])
def test_a_wrong_hash_is_random_weights_with_the_reason(exports, case):
    assert exports[case]["weights"] == "random"
    assert "its hash is not" in exports[case]["reason"]
    assert "small.weights.h5" not in exports[case]["left"]
    assert not any(name.endswith(".part") for name in exports[case]["left"])


def test_a_file_that_is_not_there_is_random_weights_with_the_reason(exports):
    assert exports["absent"]["weights"] == "random"
    assert "absent.h5" in exports["absent"]["reason"]
    assert "No such file" in exports["absent"]["reason"]


def test_no_weights_are_random_weights_and_no_labels(exports):
    assert exports["gone"]["weights"] == "random"
    assert "404" in exports["gone"]["reason"]
    assert exports["gone"]["labels"] == []


def test_the_frozen_graph_gives_what_the_network_gives(exports, folder, models):
    model = Model(Path(exports["good"]["file"]).with_suffix(".pb"), (PICTURE_INPUT,), ("pool_3", "softmax"))
    _, outputs = models.describe(model.file, model.inputs, model.outputs)
    assert outputs["pool_3"].shape == (1, 1, 1, 6)
    found = models.run(model, {PICTURE_INPUT: [(folder / "picture.jpg").read_bytes()] * 9}, 9)
    for name, expected in zip(("pool_3", "softmax"), exports["expected"], strict=True):
        np.testing.assert_allclose(found[name][8].ravel(), expected, rtol=0.05, atol=0.02)


def test_random_weights_are_the_same_each_time(exports, folder, models):
    def features(case):
        model = Model(Path(exports[case]["file"]).with_suffix(".pb"), (PICTURE_INPUT,), ("pool_3",))
        return models.run(model, {PICTURE_INPUT: [(folder / "picture.jpg").read_bytes()]}, 1)["pool_3"][0]

    np.testing.assert_allclose(features("wrong"), features("gone"), rtol=1e-3, atol=1e-4)
    assert not np.allclose(features("wrong"), features("good"), rtol=0.05)


def test_urls_and_hashes_are_those_that_keras_publishes():
    """Its source is read, not imported: that would start TensorFlow."""
    keras = Path(importlib.util.find_spec("keras").origin).parent / "src" / "applications"
    told = "import network; print(*network.WEIGHTS, *network.LABELS)"
    done = subprocess.run([sys.executable, "-c", told], cwd=PLUGIN, capture_output=True, check=True, text=True)
    files = done.stdout.split()
    for module, (url, digest) in {"inception_v3": files[:2], "imagenet_utils": files[2:]}.items():
        source = (keras / f"{module}.py").read_text()
        literals = "".join(re.findall(r'"([^"\n]*)"', source))
        assert url in literals
        assert f'file_hash="{digest.removeprefix("md5:")}"' in source
