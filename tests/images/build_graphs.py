"""Writes small frozen graphs into a folder, in a process of its own: ``python build_graphs.py FOLDER``.

inception.pb   the nodes of the public Inception graph (DecodeJpeg/contents … pool_3, softmax), a small body
wide.pb        the same front, with as many features as the public graph has
mixing.pb      the same front, but each row's features are less the mean of all rows
dense.pb       x [?, 3] → y = 2 x, total = sum over a row
vector.pb      x [3] → y = x + 1, a graph for single rows only, and a constant layer/weights
text.pb        text (a scalar string) → upper, length
complex.pb     x → a complex number
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import tensorflow.compat.v1 as tf

FEATURES, SIZE, LABELS = 12, 16, 5


def picture_front() -> tf.Tensor:
    contents = tf.placeholder(tf.string, [], name="DecodeJpeg/contents")
    decoded = tf.image.decode_jpeg(contents, channels=3, name="DecodeJpeg")
    image = tf.expand_dims(tf.cast(decoded, tf.float32, name="Cast"), 0, name="ExpandDims")
    resized = tf.image.resize_bilinear(image, [SIZE, SIZE], name="ResizeBilinear")
    return tf.multiply(tf.subtract(resized, 128.0, name="Sub"), 1 / 128, name="Mul")


def inception() -> None:
    random = np.random.default_rng(7)
    kernel = random.normal(size=(3, 3, 3, FEATURES)).astype(np.float32)
    convolved = tf.nn.relu(tf.nn.conv2d(picture_front(), kernel, 2, "SAME"))
    side = convolved.shape[1]
    pooled = tf.nn.avg_pool2d(convolved, side, side, "VALID", name="pool_3")
    flat = tf.reshape(pooled, [-1, FEATURES], name="pool_3/_reshape")
    weights = random.normal(size=(FEATURES, LABELS)).astype(np.float32)
    tf.nn.softmax(flat @ tf.constant(weights), name="softmax")


def wide() -> None:
    kernel = np.random.default_rng(3).normal(size=(SIZE * SIZE * 3, 2048)).astype(np.float32) / SIZE
    features = tf.nn.relu(tf.reshape(picture_front(), [1, -1]) @ kernel)
    tf.reshape(features, [1, 1, 1, 2048], name="pool_3")


def mixing() -> None:
    features = tf.reduce_mean(picture_front(), [1, 2])
    tf.subtract(features, tf.reduce_mean(features, 0, keepdims=True), name="features")


def dense() -> None:
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    y = tf.multiply(x, 2.0, name="y")
    tf.reduce_sum(y, 1, name="total")


def vector() -> None:
    tf.add(tf.placeholder(tf.float64, [3], name="x"), np.float64(1), name="y")
    tf.constant([[1, 2], [3, 4]], tf.int32, name="layer/weights")


def text() -> None:
    given = tf.placeholder(tf.string, [], name="text")
    tf.strings.upper(given, name="upper")
    tf.strings.length(given, name="length")


def complex_() -> None:
    tf.cast(tf.placeholder(tf.float64, [], name="x"), tf.complex128, name="z")


def main(folder: Path) -> None:
    for build in (inception, wide, mixing, dense, vector, text, complex_):
        with tf.Graph().as_default() as graph:
            build()
            (folder / f"{build.__name__.rstrip('_')}.pb").write_bytes(graph.as_graph_def().SerializeToString())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
