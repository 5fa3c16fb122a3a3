"""Makes the functions of Inception-v3, in the background: the server need not wait for weights and TensorFlow.

``status`` is what the page shows of it. The settings are the plugin's ``args``, or the environment (MLDB keeps its own
variables, those that begin with ``MLDB_``, from plugins):

    weights   INCEPTION_WEIGHTS   URL or file with Inception-v3 weights in Keras' format
    hash      INCEPTION_HASH      ``md5:…`` or ``sha256:…`` that the file must have
    labels    INCEPTION_LABELS    URL or file of the class index, as Keras publishes it
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mldb import mldb

# The data root holds the plugin's folder in plugins/ and the models beside that.
FOLDER = Path(mldb.plugin.get_plugin_dir()).parent.parent / "models" / "image_classifier"
# The folder as an address: it holds after the data root was moved, or restored elsewhere.
ADDRESS = "file:///mldb_data/models/image_classifier"
SETTINGS = ("weights", "hash", "labels")
REMEDY = (
    "Give the plugin Inception-v3 weights: set INCEPTION_WEIGHTS to a file or URL of "
    "inception_v3_weights_tf_dim_ordering_tf_kernels.h5 (and INCEPTION_LABELS to imagenet_class_index.json), "
    "or let this machine reach storage.googleapis.com, and start MLDB again."
)
# ``state`` is working, ready or failed, ``part`` how much of ``step`` is done; ``weights`` are imagenet, custom or
# random; ``network`` says which it is exactly, by a file's name.
status: dict[str, Any] = dict.fromkeys(("error", "weights", "network", "reason", "remedy"), "")
status |= {"state": "working", "step": "weights", "part": 0.0}
labels: list[str] = []  # ImageNet's, when the weights know them


def prepare() -> None:
    """For a thread of its own: what fails is told by ``status``."""
    try:
        for message in export():
            description = message.pop("done", "")
            status.update(message)
        make_functions(Path(description))
        status.update(state="ready", step="ready")
    except Exception as error:
        status.update(state="failed", error=str(error))
        mldb.log(f"Image classifier: Inception failed at '{status['step']}': {error}")


def export() -> Iterator[dict[str, Any]]:
    """Run network.py and yield its messages."""
    given = mldb.plugin.args or {}
    sources = {name: given.get(name) or os.environ.get(f"INCEPTION_{name.upper()}", "") for name in SETTINGS}
    command = [sys.executable, str(Path(__file__).with_name("network.py")), str(FOLDER), json.dumps(sources)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:  # noqa: S603 - ours
        yield from map(json.loads, process.stdout)
    if process.returncode:
        raise RuntimeError(f"network.py ended with {process.returncode}: the log says why")


def make_functions(description: Path) -> None:
    about, graph = json.loads(description.read_text()), description.with_suffix(".pb")
    for name, source, output in (
        ("inception", "fetcher(url)[content]", "pool_3"),
        ("inception_image", "content", "pool_3"),
        ("inception_labels", "content", "softmax"),
    ):
        inputs = f'{source} AS "DecodeJpeg/contents"'
        ensure(name, "tensorflow.graph", modelFileUrl=f"{ADDRESS}/{graph.name}", inputs=inputs, outputs=output)
    random = about["weights"] == "random"
    labels[:] = [] if random else about["labels"]
    status.update(weights=about["weights"], network=graph.stem, reason=about["reason"], remedy=REMEDY if random else "")
    if random:
        mldb.log(f"Image classifier: Inception-v3 runs on RANDOM weights, as {about['reason']}. {REMEDY}")


def ensure(name: str, type: str, **params: str) -> None:
    """Make a function unless it is there just so: MLDB has kept it since it was made, and its graph may be open."""
    found = json.loads(mldb.perform("GET", f"/v1/functions/{name}")["response"])
    if found.get("state") != "ok" or found["config"].get("params") != params:
        mldb.put(f"/v1/functions/{name}", {"type": type, "params": params})
