"""Images through a network, in SQL and in the reference plugin, against a loop over a frozen graph in TensorFlow."""

from __future__ import annotations

import base64
import io
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.processes import Client, mldb
from benchmarks.runner import Comparison, Contender, compare

IMAGES = 256
BATCH = 32
FRONT_THREADS = 2
SIZE = 299
PLUGINS = Path(__file__).parent.parent / "plugins"
CONTENTS, CUT, FEATURES = "DecodeJpeg/contents", "scaled", "pool_3"


def image_features() -> Iterator[Comparison]:
    """``SELECT inception({url}) FROM images``, and one image at a time over REST."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        graph = export_graph(folder / "inception.pb")
        files = write_images(folder)
        raw = Raw(graph)
        client = stack.enter_context(mldb(folder / "data", "--file-root", str(folder)))
        prepare(client, graph, files)
        check(client, raw, files[0])
        ours = "SELECT inception({url}) AS * FROM images"
        yield compare(
            f"{IMAGES} JPEGs of 640 × 480, `{ours}`",
            "s",
            [
                Contender("MLDB, Arrow answer", lambda: _seconds(lambda: client.arrow(ours))),
                Contender(f"TensorFlow, batches of {BATCH}", lambda: _seconds(lambda: raw.all(files))),
            ],
            goal="at most 1 / 0.85 = 1.18 times",
        )
        call = one_call(graph)
        one = "/v1/functions/inception/application?outputFormat=json&input=" + f'{{"url":"file://{files[0]}"}}'
        yield compare(
            "One JPEG",
            "ms",
            [
                Contender("MLDB function application", lambda: _each(lambda: client.request("GET", one))),
                Contender("TensorFlow, one call", lambda: _each(lambda: call(files[0]))),
            ],
        )
        with plugin(folder / "site") as (route, network):
            same = one_call(network)
            yield compare(
                "One JPEG, the reference plugin",
                "ms",
                [
                    Contender("MLDB, `POST …/predict`", lambda: _each(lambda: route(files[0]))),
                    Contender("TensorFlow, one call", lambda: _each(lambda: same(files[0]))),
                ],
                goal="at most 5 ms more",
            )


@contextmanager
def plugin(data: Path) -> Iterator[tuple[Callable[[Path], bytes], Path]]:
    """The reference plugin with a classifier of its own: a call of its predict route, and its frozen graph."""
    routes = "/v1/plugins/image_classifier/routes"
    with mldb(data, "--plugin-directory", str(PLUGINS)) as client:
        _wait(lambda: client.json("GET", f"{routes}/state")["state"], "ready")
        shades = [_jpeg(np.full((480, 640, 3), 30 * shade, np.uint8)) for shade in range(8)]
        pictures = [base64.b64encode(shade).decode() for shade in shades]
        classes = {"dark": pictures[:4], "bright": pictures[4:]}
        id = client.json("POST", f"{routes}/train", {"title": "shades", "classes": classes})["id"]
        _wait(lambda: client.json("GET", f"{routes}/train?id={id}")["state"], "ready")
        (network,) = (data / "models" / "image_classifier").glob("*.pb")
        yield lambda file: client.send("POST", f"{routes}/predict?model={id}", file.read_bytes()), network


def _wait(ask: Callable[[], str], wanted: str) -> None:
    while (state := ask()) != wanted:
        if state == "failed":
            raise RuntimeError("the reference plugin has failed: its log says why")
        time.sleep(0.2)


def export_graph(file: Path) -> Path:
    """Inception-v3 with seeded random weights as a frozen graph that takes the bytes of a JPEG."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    tf.keras.utils.set_random_seed(7)
    network = tf.keras.applications.InceptionV3(weights=None, include_top=False, pooling="avg")

    @tf.function(input_signature=[tf.TensorSpec([None, SIZE, SIZE, 3], tf.float32)])
    def features(scaled: Any) -> Any:
        return network(scaled, training=False)

    frozen = convert_variables_to_constants_v2(features.get_concrete_function())
    body = frozen.graph.as_graph_def()
    entry, result = frozen.inputs[0].name, frozen.outputs[0].name
    with tf.Graph().as_default() as graph:
        contents = tf.compat.v1.placeholder(tf.string, [], name=CONTENTS)
        image = tf.expand_dims(tf.cast(tf.image.decode_jpeg(contents, channels=3), tf.float32), 0)
        resized = tf.compat.v1.image.resize_bilinear(image, [SIZE, SIZE])
        scaled = tf.multiply(tf.subtract(resized, 127.5), 1 / 127.5, name=CUT)
        (pooled,) = tf.import_graph_def(body, input_map={entry: scaled}, return_elements=[result], name="network")
        tf.identity(pooled, name=FEATURES)
        file.write_bytes(graph.as_graph_def().SerializeToString())
    return file


def write_images(folder: Path) -> list[Path]:
    """Smooth noise: as large and as slow to decode as photographs."""
    from PIL import Image

    random = np.random.default_rng(7)
    files = []
    for number in range(IMAGES):
        small = random.integers(0, 255, (12, 16, 3), dtype=np.uint8)
        files.append(folder / f"{number}.jpg")
        files[-1].write_bytes(_jpeg(np.asarray(Image.fromarray(small).resize((640, 480), Image.Resampling.BICUBIC))))
    return files


def _jpeg(pixels: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


class Raw:
    """What one would write by hand: decode on two threads, run the network on batches, bfloat16 where it pays."""

    def __init__(self, file: Path) -> None:
        import tensorflow as tf

        definition = tf.compat.v1.GraphDef.FromString(file.read_bytes())
        self._front = _session(definition)
        self._body = _session(self._body_of(definition))

    @staticmethod
    def _body_of(definition: Any) -> Any:
        """The graph from the scaled image on, with a free batch dimension."""
        import tensorflow as tf

        shape = tf.TensorShape([None, SIZE, SIZE, 3]).as_proto()
        fed = tf.compat.v1.GraphDef(versions=definition.versions, library=definition.library)
        for node in definition.node:
            if node.name != CUT:
                fed.node.append(node)
                continue
            placeholder = fed.node.add(name=CUT, op="Placeholder")
            placeholder.attr["dtype"].type = tf.float32.as_datatype_enum
            placeholder.attr["shape"].shape.CopyFrom(shape)
        return tf.compat.v1.graph_util.extract_sub_graph(fed, [FEATURES])

    def all(self, files: Sequence[Path]) -> np.ndarray:
        with ThreadPoolExecutor(FRONT_THREADS) as pool:
            scaled = pool.map(self._scaled, files)
            results = []
            for batch in _batches(scaled):
                results.append(self._body.run(f"{FEATURES}:0", {f"{CUT}:0": np.concatenate(batch)}))
        return np.concatenate(results)

    def _scaled(self, file: Path) -> np.ndarray:
        return self._front.run(f"{CUT}:0", {f"{CONTENTS}:0": file.read_bytes()})


def one_call(file: Path) -> Callable[[Path], np.ndarray]:
    """The features of a picture, by one run of the whole graph."""
    import tensorflow as tf

    session = _session(tf.compat.v1.GraphDef.FromString(file.read_bytes()))
    return lambda picture: session.run(f"{FEATURES}:0", {f"{CONTENTS}:0": picture.read_bytes()})


def _session(definition: Any) -> Any:
    import tensorflow as tf

    from runtime.models.graphs import cpu_has_bf16

    config = tf.compat.v1.ConfigProto()
    if cpu_has_bf16():
        config.graph_options.rewrite_options.auto_mixed_precision_onednn_bfloat16 = 1
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(definition, name="")
    return tf.compat.v1.Session(graph=graph, config=config)


def _batches(items: Iterator[np.ndarray]) -> Iterator[list[np.ndarray]]:
    batch: list[np.ndarray] = []
    for item in items:
        batch.append(item)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def prepare(client: Client, graph: Path, files: Sequence[Path]) -> None:
    parameters = {
        "modelFileUrl": f"file://{graph}",
        "inputs": f'fetcher(url)[content] AS "{CONTENTS}"',
        "outputs": FEATURES,
    }
    client.request("PUT", "/v1/functions/inception", {"type": "tensorflow.graph", "params": parameters})
    client.request("PUT", "/v1/datasets/images", {"type": "tabular"})
    rows = [[file.stem, [["url", f"file://{file}", 0]]] for file in files]
    client.request("POST", "/v1/datasets/images/multirows", rows)
    client.request("POST", "/v1/datasets/images/commit")


def check(client: Client, raw: Raw, file: Path) -> None:
    """The same features, but for the rounding of bfloat16."""
    path = f'/v1/functions/inception/application?outputFormat=json&input={{"url":"file://{file}"}}'
    ours = np.asarray(client.json("GET", path)[FEATURES]).reshape(-1)
    theirs = raw.all([file]).reshape(-1)
    if not np.allclose(ours, theirs, atol=0.02 * np.abs(theirs).max()):
        raise RuntimeError("the features differ")


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _each(call: Callable[[], object], times: int = 20) -> float:
    return _seconds(lambda: [call() for _ in range(times)]) * 1000 / times
