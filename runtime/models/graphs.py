"""Frozen TensorFlow graphs: reading, pruning and running them. All tensors are a node's first output."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Shape = tuple[int, ...] | None  # -1: a dimension that is not known; None: not even the rank is

DECODERS = frozenset(["DecodeJpeg", "DecodePng", "DecodeImage", "DecodeBmp", "DecodeGif", "DecodeAndCropJpeg"])
_FRONT_OPS = DECODERS | {
    *("Cast", "ExpandDims", "Squeeze", "Identity", "Sub", "Mul", "Add", "AddV2", "Div", "RealDiv"),
    *("ResizeBilinear", "ResizeBicubic", "ResizeNearestNeighbor", "ResizeArea"),
}
_NODE_NOTE = re.compile(r"\{\{.*?\}\}\s*|\[\[.*", re.DOTALL)


class GraphError(Exception):
    """Raised for a file that is no frozen graph, an unknown node, and rows that a graph cannot run."""


@dataclass(frozen=True)
class NodeSpec:
    """``dtype`` is TensorFlow's name: ``string``, ``float32``, …"""

    dtype: str
    shape: Shape

    @property
    def leading_free(self) -> bool:
        """Is there a first dimension of any size, and are the others known?"""
        return bool(self.shape) and self.shape[0] == -1 and -1 not in self.shape[1:]  # type: ignore[index]


@dataclass(frozen=True)
class Options:
    """``bf16``: let Grappler compute in bfloat16. ``pixels``: most pixels that a picture may have."""

    bf16: bool
    pixels: int


def cpu_has_bf16() -> bool:
    """Does the processor multiply bfloat16 itself? Without that, bfloat16 is slower than float32."""
    flags = Path("/proc/cpuinfo")
    return flags.exists() and re.search(r"\b(avx512_bf16|amx_bf16)\b", flags.read_text()) is not None


def load_definition(path: str) -> Any:
    """The ``GraphDef`` of a frozen ``.pb`` file."""
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    definition = tf.compat.v1.GraphDef()
    try:
        definition.ParseFromString(Path(path).read_bytes())
    except (DecodeError, RuntimeWarning):
        raise GraphError("the file is not a frozen TensorFlow graph") from None
    if not definition.node:
        raise GraphError("the file is not a frozen TensorFlow graph")
    return definition


def check_devices(pattern: str) -> None:
    """``GraphError`` when no device of this machine matches the regular expression."""
    import tensorflow as tf

    names = [device.name for device in tf.config.list_logical_devices()]
    if not any(re.search(pattern, name) for name in names):
        raise GraphError(f"no device matches '{pattern}': there are {', '.join(names)}")


def sinks(definition: Any) -> list[str]:
    """The nodes that no other node reads: what a graph is for."""
    read = {_producer(name) for node in definition.node for name in node.input}
    return [node.name for node in definition.node if node.name not in read and node.op not in ("NoOp", "Placeholder")]


def prune(definition: Any, inputs: Mapping[str, NodeSpec], outputs: Sequence[str]) -> Any:
    """The part of a graph that leads from ``inputs`` (made placeholders of these specs) to ``outputs``."""
    import tensorflow as tf

    fed = tf.compat.v1.GraphDef()
    fed.versions.CopyFrom(definition.versions)
    fed.library.CopyFrom(definition.library)
    for node in definition.node:
        fed.node.append(_placeholder(node.name, inputs[node.name]) if node.name in inputs else node)
    return tf.compat.v1.graph_util.extract_sub_graph(fed, [*outputs, *inputs])


def _placeholder(name: str, spec: NodeSpec) -> Any:
    import tensorflow as tf

    node = tf.compat.v1.NodeDef(name=name, op="Placeholder")
    node.attr["dtype"].type = tf.as_dtype(spec.dtype).as_datatype_enum
    node.attr["shape"].shape.CopyFrom(_tensor_shape(spec.shape).as_proto())
    return node


def _tensor_shape(shape: Shape) -> Any:
    import tensorflow as tf

    return tf.TensorShape(None if shape is None else [None if size < 0 else size for size in shape])


def _producer(tensor: str) -> str:
    return tensor.lstrip("^").split(":")[0]


def decodes(definition: Any, name: str) -> bool:
    """Is the input read as the bytes of a picture?"""
    return any(node.op in DECODERS and name in map(_producer, node.input) for node in definition.node)


def front_end(definition: Any, name: str) -> str | None:
    """The last node of the chain *decode, resize, scale* that begins at input ``name``; None without a decoder."""
    consumers: dict[str, list[Any]] = {}
    for node in definition.node:
        for read in {_producer(tensor) for tensor in node.input}:
            consumers.setdefault(read, []).append(node)
    at, seen = name, set()
    while len(consumers.get(at, ())) == 1 and consumers[at][0].op in _FRONT_OPS:
        node = consumers[at][0]
        if not _others_fixed(definition, node, at):
            break
        at = node.name
        seen.add(node.op)
    return at if seen & DECODERS else None


def _others_fixed(definition: Any, node: Any, at: str) -> bool:
    ops = {other.name: other.op for other in definition.node}
    return all(_producer(tensor) == at or ops.get(_producer(tensor)) == "Const" for tensor in node.input)


def with_entry(definition: Any, name: str, spec: NodeSpec) -> Any:
    """A graph in which ``name`` may also be fed, in the shape of ``spec``; else it has its own value."""
    import tensorflow as tf

    opened = tf.compat.v1.GraphDef()
    opened.CopyFrom(definition)
    inner = next(node for node in opened.node if node.name == name)
    entry = opened.node.add(name=name, op="PlaceholderWithDefault", input=[f"{name}/computed"])
    entry.attr["dtype"].type = tf.as_dtype(spec.dtype).as_datatype_enum
    entry.attr["shape"].shape.CopyFrom(_tensor_shape(spec.shape).as_proto())
    inner.name = f"{name}/computed"
    return opened


class Runner:
    """A session over one graph. Safe to call from several threads."""

    def __init__(self, definition: Any, options: Options) -> None:
        import tensorflow as tf

        self._graph = tf.Graph()
        try:
            with self._graph.as_default():
                tf.import_graph_def(definition, name="")
        except ValueError as error:
            raise GraphError(plain_message(error)) from None
        self._session = tf.compat.v1.Session(graph=self._graph, config=_config(options))
        self._tensors: dict[str, Any] = {}  # looking one up takes as long as the rest of a small run

    def spec(self, name: str) -> NodeSpec:
        return _tensor_spec(self._tensor(name))

    def _tensor(self, name: str) -> Any:
        found = self._tensors.get(name)
        if found is None:
            found = self._tensors[name] = self._graph.get_tensor_by_name(f"{name}:0")
        return found

    def run(self, feed: Mapping[str, Any], outputs: Sequence[str]) -> dict[str, np.ndarray]:
        """Values of nodes by name; ``GraphError`` with TensorFlow's message when the graph cannot run."""
        import tensorflow as tf

        try:
            fetched = [self._tensor(name) for name in outputs]
            values = self._session.run(fetched, {self._tensor(name): value for name, value in feed.items()})
        except (tf.errors.OpError, ValueError, TypeError) as error:
            raise GraphError(plain_message(error)) from None
        return {name: _numpy(value) for name, value in zip(outputs, values, strict=True)}

    def close(self) -> None:
        self._session.close()


def node_specs(definition: Any, names: Sequence[str]) -> dict[str, NodeSpec]:
    """What is known of these nodes; ``GraphError`` names the first that does not exist or gives nothing."""
    import tensorflow as tf

    graph = tf.Graph()
    try:
        with graph.as_default():
            tf.import_graph_def(definition, name="")
        return {name: _tensor_spec(graph.get_tensor_by_name(f"{name}:0")) for name in names}
    except KeyError as error:
        raise GraphError(_missing(definition, names) or str(error.args[0])) from None
    except ValueError as error:
        raise GraphError(plain_message(error)) from None


def _missing(definition: Any, names: Sequence[str]) -> str | None:
    there = {node.name for node in definition.node}
    return next((f"the graph has no node '{name}'" for name in names if name not in there), None)


def _tensor_spec(tensor: Any) -> NodeSpec:
    shape = tensor.shape
    known = None if shape.rank is None else tuple(-1 if size is None else int(size) for size in shape.as_list())
    return NodeSpec(tensor.dtype.base_dtype.name, known)


def _config(options: Options) -> Any:
    import tensorflow as tf
    from tensorflow.core.protobuf import rewriter_config_pb2

    config = tf.compat.v1.ConfigProto()
    if options.bf16:
        rewrite = config.graph_options.rewrite_options
        rewrite.auto_mixed_precision_onednn_bfloat16 = rewriter_config_pb2.RewriterConfig.ON
    return config


def _numpy(value: Any) -> np.ndarray:
    array = np.asarray(value, object) if isinstance(value, bytes) else np.asarray(value)
    narrow = array.dtype.kind == "V" or array.dtype.name in ("bfloat16", "float16")
    return array.astype(np.float32) if narrow else array


def plain_message(error: Exception) -> str:
    """TensorFlow's own sentence, without its notes on which node of which graph."""
    text = getattr(error, "message", None) or str(error)
    lines = [line.strip() for line in _NODE_NOTE.sub("", text).split("\n") if line.strip()]
    return lines[-1] if lines else type(error).__name__
