"""Makes the frozen graph of Inception-v3, once: ``python network.py FOLDER [SOURCES]``, SOURCES being JSON.

Run as a process of its own, since TensorFlow is slow to import and hungry. It prints a line of JSON for each step,
``{"step": "weights", "part": 0.4}``, at the end ``{…, "done": "…/inception_9a0d58056eee.json"}``, and leaves in FOLDER

    inception_<hash>.pb    a JPEG → ``pool_3`` (2048 features) and ``softmax`` (a probability for each label)
    inception_<hash>.json  {"weights": "imagenet", "custom" or "random", "reason": …, "labels": […]}

Without SOURCES the weights are those of ImageNet that Keras publishes; ``{"weights": …, "hash": …, "labels": …}`` names
others: URLs or files, and ``md5:…`` or ``sha256:…``. Where the weights cannot be had they are random, from a seed.
"""

import hashlib
import json
import socket
import sys
import urllib.request
from pathlib import Path
from typing import Any

KERAS = "https://storage.googleapis.com/tensorflow/keras-applications/inception_v3/"
WEIGHTS = (KERAS + "inception_v3_weights_tf_dim_ordering_tf_kernels.h5", "md5:9a0d58056eeedaa3f26cb7ebd46da564")
LABELS = (
    "https://storage.googleapis.com/download.tensorflow.org/data/imagenet_class_index.json",
    "md5:c2c37ea517e94d9795004a39431a14cb",
)
SEED = 1
SECONDS = 20  # without a byte from a site

Source = tuple[str, str]  # the address of a file, and its hash; none when any content will do


def tell(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def obtain(source: Source, folder: Path) -> tuple[Path | None, str]:
    """The local copy, fetched once; or None, and why there is none."""
    url, hash = source
    local = folder / url.rpartition("/")[2] if "://" in url else Path(url)
    try:
        if "://" in url and not (local.exists() and matches(local, hash)):
            part = local.with_suffix(".part")
            urllib.request.urlretrieve(url, part, tell_part)  # noqa: S310 - the address is a setting
            part.replace(local)
        if not matches(local, hash):
            raise ValueError(f"its hash is not {hash}")
    except (OSError, ValueError) as error:
        if "://" in url:
            local.unlink(missing_ok=True)
        return None, f"{url} cannot be had ({str(error).strip('<>')})"
    return local, ""


def tell_part(blocks: int, size: int, total: int) -> None:
    if blocks % 100 == 0 and total > 0:
        tell(step="weights", part=min(1.0, blocks * size / total))


def matches(path: Path, hash: str) -> bool:
    return digest(path, hash.partition(":")[0] or "md5") == hash or not hash


def digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"


def export(folder: Path, weights: Source = WEIGHTS, labels: Source = LABELS) -> Path:
    """Write graph and description where they are not there yet; gives the path of the second."""
    tell(step="weights", part=0)
    file, missing = obtain(weights, folder)
    index, unknown = obtain(labels, folder)
    hash = digest(file, "md5") if file else "md5:random"
    kind = "random" if not file else "imagenet" if hash == WEIGHTS[1] else "custom"
    description = folder / f"inception_{hash[4:16]}.json"
    graph = description.with_suffix(".pb")
    if not graph.exists():
        part = graph.with_suffix(".part")
        part.write_bytes(freeze(file).SerializeToString())
        part.replace(graph)
    classes = json.loads(index.read_text()) if index else {}  # {"0": ["n01440764", "tench"], …}
    names = [classes[str(number)][1].replace("_", " ") for number in range(len(classes))]
    description.write_text(json.dumps({"weights": kind, "reason": missing or unknown, "labels": names}))
    return description


def build() -> tuple[Any, str]:
    """A Keras model, and the name of the layer whose features feed the last one; pictures come as -1 … 1."""
    import keras

    return keras.applications.InceptionV3(weights=None), "avg_pool"


def freeze(weights: Path | None) -> Any:
    """A GraphDef without variables, from the bytes of a picture to features and probabilities."""
    tell(step="network", part=0)
    import keras
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    tf.get_logger().setLevel("ERROR")  # the log is for people, who need not know of names that will go
    keras.utils.set_random_seed(SEED)
    model, layer = build()
    if weights:
        model.load_weights(weights)
    tell(step="graph", part=0)
    both = keras.Model(model.inputs, [model.get_layer(layer).output, model.outputs[0]])

    @tf.function(input_signature=[tf.TensorSpec([], tf.string, "contents")])
    def classify(contents: Any) -> Any:
        picture = tf.cast(tf.io.decode_jpeg(contents, channels=3), tf.float32)
        resized = tf.compat.v1.image.resize_bilinear(tf.expand_dims(picture, 0), model.input_shape[1:3])
        features, probabilities = both((resized - 127.5) * (1 / 127.5), training=False)
        pooled = tf.reshape(features, [-1, 1, 1, features.shape[-1]], name="pool_3")
        return pooled, tf.identity(probabilities, name="softmax")

    graph = convert_variables_to_constants_v2(classify.get_concrete_function()).graph.as_graph_def()
    for node in graph.node:  # the input is called as in the public graph
        node.name = "DecodeJpeg/contents" if node.name == "contents" else node.name
        node.input[:] = ["DecodeJpeg/contents" if name == "contents" else name for name in node.input]
    return graph


if __name__ == "__main__":
    socket.setdefaulttimeout(SECONDS)
    sources = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    weights = (sources["weights"], sources.get("hash", "")) if sources.get("weights") else WEIGHTS
    labels = (sources["labels"], "") if sources.get("labels") else LABELS
    tell(step="functions", done=str(export(Path(sys.argv[1]), weights, labels)))
