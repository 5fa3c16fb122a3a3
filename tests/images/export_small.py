"""Exports a small network as the plugin exports Inception, its weights served on loopback: ``python … FOLDER``.

Run as a process of its own; prints one JSON object: what each export left behind, and what Keras says of the picture
in ``FOLDER/picture.jpg``.
"""

import functools
import hashlib
import http.server
import json
import sys
import threading
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "plugins" / "image_classifier"))
import network

SIZE, LABELS = 16, 3


def build():
    import keras

    return keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            keras.layers.Conv2D(6, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(name="features"),
            keras.layers.Dense(LABELS, activation="softmax"),
        ]
    )


def serve(folder):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    handler.log_message = lambda *_: None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def expected(weights, picture):
    """What the network itself gives for the picture, prepared by hand."""
    import keras
    import tensorflow as tf

    model = build()
    model.load_weights(weights)
    decoded = tf.cast(tf.io.decode_jpeg(picture.read_bytes(), channels=3), tf.float32)
    resized = tf.compat.v1.image.resize_bilinear(decoded[tf.newaxis], [SIZE, SIZE])
    both = keras.Model(model.inputs, [model.get_layer("features").output, model.outputs[0]])
    return [np.asarray(value)[0].tolist() for value in both((resized - 127.5) / 127.5, training=False)]


def main(folder):
    import keras

    network.tell = lambda **_: None
    served = folder / "served"
    served.mkdir()
    keras.utils.set_random_seed(5)
    build().save_weights(served / "small.weights.h5")
    (served / "labels.json").write_text(json.dumps({str(n): [f"n{n}", f"label_{n}"] for n in range(LABELS)}))
    site = serve(served)
    md5 = hashlib.md5((served / "small.weights.h5").read_bytes()).hexdigest()
    network.build = lambda: (build(), "features")
    url, labels = f"{site}/small.weights.h5", (f"{site}/labels.json", "")
    weights = {
        "good": (url, f"md5:{md5}"),
        "absent": (str(served / "absent.h5"), ""),
        "wrong": (url, "md5:" + "0" * 32),
        "local": (str(served / "small.weights.h5"), "sha256:" + "0" * 64),
        "gone": (f"{site}/none.h5", ""),
        "again": (url, f"md5:{md5}"),
    }
    results = {}
    for name, wanted in weights.items():
        target = folder / ("good" if name == "again" else name)
        target.mkdir(exist_ok=True)
        description = network.export(target, wanted, ("http://127.0.0.1:9/x", "") if name == "gone" else labels)
        left = sorted(path.name for path in target.iterdir())
        results[name] = {"file": str(description), **json.loads(description.read_text()), "left": left}
    results["expected"] = expected(served / "small.weights.h5", folder / "picture.jpg")
    sys.stdout.write(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
