"""Gets the networks ready in the background, so that the server need not wait: weights, frozen graphs, functions.

``status`` is what routes.py shows of it. The settings are the plugin's ``args``, or the environment (MLDB keeps its own
variables, those that begin with ``MLDB_``, from plugins):

    weights   INCEPTION_WEIGHTS   URL or file with Inception-v3 weights in Keras' format
    hash      INCEPTION_HASH      ``md5:…`` or ``sha256:…`` that the file must have
    labels    INCEPTION_LABELS    URL or file of the class index, as Keras publishes it
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jobs
from mldb import mldb

# The data root holds the plugin's folder in plugins/ and the models beside that.
FOLDER = Path(mldb.plugin.get_plugin_dir()).parent.parent / "models" / "image_classifier"
REMEDY = (
    "Give the plugin Inception-v3 weights: set INCEPTION_WEIGHTS to a file or URL of "
    "inception_v3_weights_tf_dim_ordering_tf_kernels.h5 (and INCEPTION_LABELS to imagenet_class_index.json), "
    "or let this machine reach storage.googleapis.com, and start MLDB again."
)
FETCH = "SELECT base64_encode(found.content) AS image, found.error AS error FROM (SELECT fetcher($url) AS found)"
FROM_URL = 'fetcher(url)[content] AS "DecodeJpeg/contents"'
FROM_CONTENT = 'content AS "DecodeJpeg/contents"'


@dataclass
class Status:
    """``weights``: imagenet, custom or random, empty while not known; ``network``: which exactly, a file's name."""

    weights: str = ""
    network: str = ""
    reason: str = ""
    remedy: str = ""


status = Status()
labels: list[str] = []  # ImageNet's, when the weights know them


def start(first: Callable[[], None]) -> None:
    """Begin with ``first``, which needs no network."""
    jobs.start(jobs.Job("network", step="digits"), _prepare, first)


def _prepare(job: jobs.Job, first: Callable[[], None]) -> None:
    ensure("image_at", "sql.query", {"query": FETCH, "output": "FIRST_ROW"})
    first()
    for message in _make_graphs():
        job.step, job.part = message.get("step", "functions"), message.get("part", 0.0)
        if "done" in message:
            _use_network(Path(message["done"]))


def _make_graphs() -> Iterator[dict[str, Any]]:
    """Run network.py and yield its messages; RuntimeError with its last words when it fails."""
    settings = {
        name: (mldb.plugin.args or {}).get(name) or os.environ.get(f"INCEPTION_{name.upper()}", "")
        for name in ("weights", "hash", "labels")
    }
    script = Path(__file__).with_name("network.py")
    with (
        (FOLDER / "network.log").open("w+") as errors,
        subprocess.Popen(  # noqa: S603 - our own script
            [mldb.get_python_executable(), str(script), str(FOLDER), json.dumps(settings)],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
        ) as process,
    ):
        for line in process.stdout:
            yield json.loads(line)
        if process.wait():
            errors.seek(0)
            raise RuntimeError(errors.read().strip().split("\n")[-1] or f"network.py ended with {process.returncode}")


def _use_network(description: Path) -> None:
    about = json.loads(description.read_text())
    graph = description.with_suffix(".pb")
    for name, inputs, outputs in (
        ("inception", FROM_URL, "pool_3"),
        ("inception_image", FROM_CONTENT, "pool_3"),
        ("inception_labels", FROM_CONTENT, "softmax"),
    ):
        ensure(name, "tensorflow.graph", {"modelFileUrl": f"file://{graph}", "inputs": inputs, "outputs": outputs})
    ensure("image_labels", "sql.expression", {"expression": "inception_labels({content: base64_decode(image)}) AS *"})
    status.weights, status.network, status.reason = about["weights"], graph.stem, about["reason"]
    if about["weights"] != "random":
        labels[:] = about["labels"]
    else:
        status.remedy = REMEDY
        mldb.log(f"Image classifier: Inception-v3 runs on RANDOM weights, as {about['reason']}. {REMEDY}")


def ensure(name: str, type: str, params: dict[str, Any]) -> None:
    """Make a function unless it is there just so: after a restart MLDB has kept it."""
    known = json.loads(mldb.perform("GET", f"/v1/functions/{name}")["response"])
    if known.get("state") != "ok" or known["config"].get("params") != params:
        mldb.put(f"/v1/functions/{name}", {"type": type, "params": params})
