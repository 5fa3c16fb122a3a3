"""Function type ``tensorflow.graph``: a frozen TensorFlow graph, fed by and read through SQL (entity-types.md §4.4).

The graph runs in the model worker; here are its file, its inputs and its outputs.
"""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, BinaryIO

from pydantic import Field

from server.declarations import BoundFunction, Creation, EntityType, Params, Services, SqlText
from server.errors import MldbError
from server.learning.graph_files import NAME, graph_folder, hold, release
from server.learning.model_worker import Model, Node
from server.learning.tensorflow_names import SelectList, node_path, read_select_list
from server.learning.tensorflow_values import (
    Feed,
    empty_values,
    feed_of,
    output_column,
    output_values,
)
from server.values.atoms import NEVER
from server.values.batches import Column, RowBatch, RowType, Timestamps, columns_by_path, newest
from server.values.kinds import Kind
from server.values.paths import Path

_BLOCK = 1 << 20


class TensorflowGraphParams(Params):
    modelFileUrl: str = Field(description="Frozen graph (`.pb`); may be a member of an archive")
    inputs: SqlText = Field(
        description='SELECT list whose names are nodes of the graph: `content AS "DecodeJpeg/contents"`'
    )
    outputs: SqlText = Field(description="SELECT list over the nodes of the graph: `pool_3`; `*` is what no node reads")
    devices: str = Field("", description="Regular expression that the devices to run on must match")


@dataclass(frozen=True)
class Graph:
    """A model and its nodes, as they are kept over a restart."""

    model: Model
    inputs: dict[str, Node]
    outputs: dict[str, Node]
    modified: float  # seconds since 1970: when the graph's file was, as far as its source tells

    def plain(self) -> dict[str, Any]:
        return {
            NAME: self.model.file.name,
            "modified": None if math.isinf(self.modified) else self.modified,
            "inputs": {name: node.plain() for name, node in self.inputs.items()},
            "outputs": {name: node.plain() for name, node in self.outputs.items()},
        }


class TensorflowGraph:
    """The function entity. ``bind`` fits it to one input shape."""

    def __init__(self, services: Services, graph: Graph, inputs: SelectList, outputs: SelectList) -> None:
        self._services = services
        self._graph = graph
        self._inputs = inputs
        self._outputs = outputs
        self._given = RowType(tuple(_node_column(name, node) for name, node in graph.outputs.items()))
        self.input = RowType(tuple(Column(path, Kind.ANY) for path in inputs.variables), inputs.wildcard)
        self._read = None if _direct(outputs) else services.engine.expression(outputs.text, self._given)
        self.output = self._read.output if self._read else RowType(_renamed(self._given, outputs))

    def bind(self, given: RowType) -> BoundFunction:
        """``MldbError`` from the SQL engine when ``inputs`` cannot be had from rows of this type."""
        feed = None if self._inputs.renames else self._services.engine.expression(self._inputs.text, given)
        return _BoundGraph(self, feed)

    def status(self) -> dict[str, Any]:
        """The graph's nodes: what is fed, what is read."""
        plain = self._graph.plain()
        return {"inputs": plain["inputs"], "outputs": plain["outputs"]}

    def details(self) -> dict[str, Any]:
        return self.status()

    def persist(self) -> dict[str, Any]:
        return self._graph.plain()

    @property
    def direct(self) -> bool:
        """Whether the outputs are nodes as they are, with nothing to compute."""
        return self._read is None

    def drop(self) -> None:
        release(self._graph.model.file)

    def constant(self, node: str) -> tuple[Kind, tuple[int, ...], list[Any]]:
        """Kind, shape and flat values of a node that nothing is fed for."""
        file = self._graph.model.file
        spec = self._services.models.describe(file, (), [node])[1][node]
        value = self._services.models.run(Model(file, (), (node,)), {}, 1)[node][0]
        kind = output_column((node,), spec.dtype, value.shape).kind
        return kind, value.shape, value.reshape(-1).tolist()

    def feeds(self, batch: RowBatch) -> tuple[dict[str, Feed], Timestamps]:
        """What the nodes are fed with, and the newest timestamp of it."""
        columns = dict(self._sources())
        found = {
            name: feed_of(batch, columns[name], name, node.dtype == "string")
            for name, node in self._graph.inputs.items()
        }
        return {name: feed for name, (feed, _) in found.items()}, newest(
            [self._graph.modified, *(stamps for _, stamps in found.values())]
        )

    def _sources(self) -> list[tuple[str, Path]]:
        """For each node the column that holds its value: as given, or as the ``inputs`` expression has named it."""
        if self._inputs.renames:
            return [(".".join(name), path) for path, name in self._inputs.renames]
        return [(name, node_path(name)) for name in self._graph.inputs]

    def run(self, feeds: dict[str, Feed], stamps: Timestamps, length: int) -> RowBatch:
        """The nodes' values for a batch, then what ``outputs`` makes of them."""
        columns = self._given.columns
        if length:
            results = self._services.models.run(self._graph.model, feeds, length)
            values = [
                output_values(column, results[name]) for column, name in zip(columns, self._graph.outputs, strict=True)
            ]
        else:
            values = [empty_values(column) for column in columns]
        batch = RowBatch(self._given, length, values, [stamps] * len(values))
        return self._read.apply(batch) if self._read else _rename(batch, self._outputs)


class _BoundGraph:
    """``feed``: the bound ``inputs`` expression, None when they are plain columns."""

    def __init__(self, graph: TensorflowGraph, feed: BoundFunction | None) -> None:
        self._graph = graph
        self._feed = feed
        self.brief = feed is None and graph.direct

    @property
    def output(self) -> RowType:
        return self._graph.output

    def apply(self, batch: RowBatch) -> RowBatch:
        if not batch.length:
            return self._graph.run({}, newest([]), 0)
        feeds, stamps = self._graph.feeds(self._feed.apply(batch) if self._feed else batch)
        return self._graph.run(feeds, stamps, batch.length)


def _node_column(name: str, node: Node) -> Column:
    return output_column(node_path(name), node.dtype, node.shape)


def _direct(outputs: SelectList) -> bool:
    return outputs.renames is not None or outputs.text.strip() == "*"


def _renamed(given: RowType, outputs: SelectList) -> tuple[Column, ...]:
    if outputs.renames is None:
        return given.columns
    by_path = {column.path: column for column in given.columns}
    sources = ((by_path[path], name) for path, name in outputs.renames)
    return tuple(Column(name, column.kind, column.shape) for column, name in sources)


def _rename(batch: RowBatch, outputs: SelectList) -> RowBatch:
    type_ = RowType(_renamed(batch.type, outputs))
    if outputs.renames is None:
        return batch
    indexes = columns_by_path(batch.type)
    order = [indexes[path] for path, _ in outputs.renames]
    return RowBatch(type_, batch.length, [batch.values[i] for i in order], [batch.timestamp(i) for i in order])


def create(creation: Creation) -> TensorflowGraph:
    """Copy the graph into the data root and have its nodes described; after a restart both are known."""
    params: TensorflowGraphParams = creation.params
    services = creation.services
    inputs, outputs = read_select_list(params.inputs), read_select_list(params.outputs)
    names = inputs.names("inputs")
    graph = _restored(creation.stored, services, names) if creation.stored else None
    if graph is not None:
        hold(graph.model.file)
        return TensorflowGraph(services, graph, inputs, outputs)
    creation.progress.step("loading the graph")
    file = store_graph(services, params.modelFileUrl)
    try:
        wanted = None if outputs.wildcard else [".".join(path) for path in outputs.variables]
        nodes = services.models.describe(file, names, wanted, params.devices)
        modified = services.urls.stat(params.modelFileUrl).last_modified
        graph = Graph(Model(file, names, tuple(nodes[1])), *nodes, modified)
        return TensorflowGraph(services, graph, inputs, outputs)
    except BaseException:
        release(file)
        raise


def _restored(stored: dict[str, Any], services: Services, names: Sequence[str]) -> Graph | None:
    """The graph as it was before a restart, None when its file is gone."""
    file = graph_folder(services.settings) / stored[NAME]
    if not file.is_file():
        return None
    inputs = {name: Node.read(node) for name, node in stored["inputs"].items()}
    outputs = {name: Node.read(node) for name, node in stored["outputs"].items()}
    modified = NEVER if stored.get("modified") is None else float(stored["modified"])
    graph = Graph(Model(file, tuple(names), tuple(outputs)), inputs, outputs, modified)
    services.models.warm(graph.model)
    return graph


def store_graph(services: Services, url: str) -> FilePath:
    """The file's content under its own hash, held: a function keeps its model whatever becomes of the URL."""
    folder = graph_folder(services.settings)
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with services.urls.open_read(url) as source, tempfile.NamedTemporaryFile(dir=folder, delete=False) as copy:
        try:
            _copy(source, copy, digest)
            target = folder / f"{digest.hexdigest()}.pb"
            hold(target)  # before it is there: another function of the same graph may go meanwhile
            FilePath(copy.name).replace(target)
        except BaseException:
            FilePath(copy.name).unlink(missing_ok=True)
            raise
    return target


def _copy(source: BinaryIO, target: Any, digest: Any) -> None:
    size = 0
    while block := source.read(_BLOCK):
        digest.update(block)
        size += target.write(block)
    target.flush()
    if not size:
        raise MldbError("Unable to run model: the model file is empty")


TENSORFLOW_GRAPH = EntityType(
    kind="function",
    name="tensorflow.graph",
    params=TensorflowGraphParams,
    summary="Runs a frozen TensorFlow graph",
    create=create,
    doc=(
        "The nodes named by `inputs` are fed, those read by `outputs` are given: tensors as embeddings of the same "
        "shape. Rows are run in batches by a worker process of its own, in bfloat16 where the processor has it."
    ),
)

TYPES = [TENSORFLOW_GRAPH]
