"""Single TensorFlow operations: the function type ``tensorflow.op``, and what ``tf_<Op>(…)`` in SQL calls (§4.4).

An operation is a small graph that the model worker makes and runs; it is made anew for each kind and shape of input.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from pydantic import Field

from server.declarations import BoundFunction, Creation, EntityType, Function, Params, Services, SqlText
from server.errors import MldbError
from server.learning.graph_files import operation_folder
from server.learning.model_worker import Model, Node
from server.learning.tensorflow_values import empty_values, feed_of, output_column, output_values
from server.values.batches import ANY_ROW, Column, RowBatch, RowType, newest
from server.values.kinds import Kind

_DTYPES = {Kind.BLOB: "string", Kind.STRING: "string", Kind.INTEGER: "int64", Kind.BOOLEAN: "int64"}
_INFER = "DT_INVALID"


class TensorflowOpParams(Params):
    op: str = Field(description="Name of the operation, such as MatrixInverse")
    attr: dict[str, Any] = Field({}, description='Its attributes: `{"T": {"type": "DT_DOUBLE"}}`, or bare values')
    inputs: SqlText = Field(
        "*", description="SELECT list over the function's input: the operation's inputs in their order"
    )
    inputType: str = Field(
        _INFER, pattern="^DT_[A-Z0-9_]+$", description="Type of inputs where nothing else says it; DT_INVALID infers it"
    )
    devices: str = Field("", description="Regular expression that the devices to run on must match")


@dataclass(frozen=True)
class Operation:
    """An operation as a function: the columns of its input in their order are the operation's inputs."""

    services: Services
    name: str
    attrs: Mapping[str, Any]
    default: str = ""  # TensorFlow's name of the type of inputs that nothing else says
    devices: str = ""
    owner: str = ""  # whose graphs these are: equal ones of others are files of their own
    made: dict[str, tuple[dict[str, Node], dict[str, Node]]] = field(default_factory=dict)
    input = output = ANY_ROW

    def bind(self, given: RowType) -> BoundFunction:
        """``MldbError`` when TensorFlow refuses the operation for inputs of these kinds and shapes."""
        if given.open:
            raise MldbError(f"The inputs of tf_{self.name} must be columns that are known when the query is bound")
        nodes = [Node(dtype_of(column), column.shape or ()) for column in given.columns]
        file = self._file(nodes)
        known = self.made.get(file.name) if file.is_file() else None
        if known is None:
            file.parent.mkdir(parents=True, exist_ok=True)
            known = self.services.models.operation(
                file, self.name, self.attrs, nodes, self.default, self.devices
            )  # fmt: skip
            self.made[file.name] = known
        inputs, outputs = known
        return _BoundOperation(self, Model(file, tuple(inputs), tuple(outputs)), given, inputs, outputs)

    def _file(self, given: list[Node]) -> FilePath:
        what = [self.name, self.attrs, self.default, [node.plain() for node in given], self.owner]
        digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
        return operation_folder(self.services.settings) / f"op-{digest}.pb"

    def forget(self) -> None:
        """Remove its graphs."""
        for name in self.made:
            (operation_folder(self.services.settings) / name).unlink(missing_ok=True)


@dataclass(frozen=True)
class _BoundOperation:
    operation: Operation
    model: Model
    given: RowType
    inputs: dict[str, Node]
    outputs: dict[str, Node]

    @property
    def output(self) -> RowType:
        return RowType(
            tuple(output_column((name,), node.dtype, node.shape) for name, node in self.outputs.items())
        )  # fmt: skip

    def apply(self, batch: RowBatch) -> RowBatch:
        columns = self.output.columns
        if not batch.length:
            return RowBatch(self.output, 0, [empty_values(column) for column in columns])
        found = {
            name: feed_of(batch, column.path, f"input {number}", node.dtype == "string")
            for number, ((name, node), column) in enumerate(zip(self.inputs.items(), self.given.columns, strict=True))
        }
        feeds = {name: feed for name, (feed, _) in found.items()}
        results = self.operation.services.models.run(self.model, feeds, batch.length)
        values = [output_values(column, results[column.path[0]]) for column in columns]
        stamps = newest([stamps for _, stamps in found.values()])
        return RowBatch(self.output, batch.length, values, [stamps] * len(values))


def dtype_of(column: Column) -> str:
    """TensorFlow's name for what a column holds; numbers of any kind are doubles."""
    return _DTYPES.get(column.kind, "float64")


def operations(services: Services) -> Callable[[str, Any], Function]:
    """What the SQL engine calls operations by."""
    return lambda name, attrs: Operation(services, name, attrs)


# ── the function type ──


@dataclass(frozen=True)
class SelectedOperation:
    """An operation whose inputs are selected from the function's input."""

    services: Services
    operation: Operation
    inputs: str
    input = output = ANY_ROW

    def drop(self) -> None:
        self.operation.forget()

    def bind(self, given: RowType) -> BoundFunction:
        select = self.services.engine.expression(self.inputs, given)
        return _Selected(select, self.operation.bind(select.output))


@dataclass(frozen=True)
class _Selected:
    select: BoundFunction
    bound: BoundFunction

    @property
    def output(self) -> RowType:
        return self.bound.output

    def apply(self, batch: RowBatch) -> RowBatch:
        return self.bound.apply(self.select.apply(batch))


def _create(creation: Creation) -> SelectedOperation:
    params: TensorflowOpParams = creation.params
    default = "" if params.inputType == _INFER else params.inputType.removeprefix("DT_").lower()
    names = {"double": "float64", "float": "float32", "half": "float16"}
    operation = Operation(
        creation.services, params.op, params.attr, names.get(default, default), params.devices, secrets.token_hex(8)
    )  # fmt: skip
    return SelectedOperation(creation.services, operation, params.inputs)


TYPES = [
    EntityType(
        "function",
        "tensorflow.op",
        TensorflowOpParams,
        "Applies one TensorFlow operation",
        _create,
        "Gives `output`, or `output_0`, `output_1`, … where the operation has several. Operations that keep state or "
        "reach files are refused. In SQL `tf_<Op>(inputs…, {attributes})` does the same.",
    )
]
