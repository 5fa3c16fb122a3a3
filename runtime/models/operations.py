"""Single TensorFlow operations as graphs, so that they are run like any other.

Only operations that compute: none that keep state, call functions, or reach files, devices or the network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.models.graphs import GraphError, plain_message

_REACHES_OUT = re.compile(r"file|memory_region|debug_urls|address|vocab_path")
_REFUSED = re.compile(
    r"Abort|PyFunc|ReadFile|MatchingFiles|ImmutableConst|Debug|TPU|Xla|Placeholder|FakeParam|Snapshot"
)
_RESOURCE, _VARIANT = 20, 21
_FIRST_CHOICES = {  # for what is given as such: the first of these types that an operation takes
    "int64": ("int64", "float64", "int32", "float32"),
    "float64": ("float64", "float32", "int64"),
    "string": ("string",),
}


def definition_of(name: str) -> Any:
    """The ``OpDef`` of an operation; ``GraphError`` for one that does not exist or is not allowed."""
    import tensorflow  # noqa: F401 - registers the operations
    from tensorflow.python.framework import op_def_registry

    definition = op_def_registry.get(name)
    if definition is None:
        raise GraphError(f"TensorFlow has no operation '{name}'")
    arguments = [*definition.input_arg, *definition.output_arg]
    if (
        definition.is_stateful
        or _REFUSED.match(name)
        or any(one.is_ref or one.type in (_RESOURCE, _VARIANT) for one in arguments)
        or any(attr.type == "func" for attr in definition.attr)
        or any(_REACHES_OUT.search(one.name) for one in (*definition.input_arg, *definition.attr))
    ):
        raise GraphError(f"the operation '{name}' does more than compute: it is not allowed")
    return definition


def save_operation(
    path: str, name: str, attrs: Mapping[str, Any], given: Sequence[Mapping[str, Any]], default: str
) -> tuple[list[str], list[str]]:
    """Write a graph of one operation to ``path``; the names of its inputs and outputs.

    ``given`` has ``dtype`` and ``shape`` (None: unknown) of each input; ``default`` is the type of inputs whose type
    nothing else says (empty: what they are given as).
    """
    import tensorflow as tf

    definition = definition_of(name)
    values = {attr.name: attr_value(definition, attr.name, attrs[attr.name]) for attr in _named(definition, attrs)}
    graph = tf.Graph()
    try:
        with graph.as_default():
            names = [f"input_{number}" for number in range(len(given))]
            types = input_types(definition, values, given, default)
            placeholders = [
                tf.compat.v1.placeholder(dtype, spec["shape"], one)
                for one, dtype, spec in zip(names, types, given, strict=True)
            ]
            outputs = _outputs(_applied(definition, placeholders, values))
    except (ValueError, TypeError, tf.errors.OpError) as error:
        raise GraphError(plain_message(error)) from None
    Path(path).write_bytes(graph.as_graph_def().SerializeToString())
    return names, outputs


def _named(definition: Any, attrs: Mapping[str, Any]) -> list[Any]:
    known = {attr.name: attr for attr in definition.attr}
    unknown = set(attrs) - set(known)
    if unknown:
        listed = ", ".join(known) or "none"
        raise GraphError(f"the operation '{definition.name}' has no attribute '{unknown.pop()}'; it has {listed}")
    return [known[name] for name in attrs]


def attr_value(definition: Any, name: str, value: Any) -> Any:
    """A value for an attribute: TensorFlow's JSON of it (``{"type": "DT_DOUBLE"}``), or the bare value."""
    from google.protobuf.json_format import ParseDict, ParseError
    from tensorflow.core.framework import attr_value_pb2

    kind = next(attr.type for attr in definition.attr if attr.name == name)
    member = {"string": "s", "int": "i", "float": "f", "bool": "b"}.get(kind, kind)
    if kind == "string" and isinstance(value, str):
        return attr_value_pb2.AttrValue(s=value.encode())
    if kind == "bool" and isinstance(value, int):
        value = bool(value)
    try:
        given = value if isinstance(value, dict) else {member: value}
        return ParseDict(given, attr_value_pb2.AttrValue())
    except (ParseError, TypeError) as error:
        raise GraphError(f"bad value of the attribute '{name}': {error}") from None


def input_types(
    definition: Any, values: Mapping[str, Any], given: Sequence[Mapping[str, Any]], default: str
) -> list[Any]:
    """The type of each input: what the operation or an attribute says, else the best for what is given."""
    import tensorflow as tf

    arguments = _expanded(definition, values, len(given))
    chosen: dict[str, Any] = {}
    types = []
    for argument, spec in zip(arguments, given, strict=True):
        attr = argument.type_attr
        if argument.type:
            types.append(tf.as_dtype(argument.type))
        elif attr in values:
            types.append(tf.as_dtype(values[attr].type))
        else:
            mixed = {one["dtype"] for other, one in zip(arguments, given, strict=True) if other.type_attr == attr}
            wanted = default or (spec["dtype"] if len(mixed) == 1 else "float64")
            chosen.setdefault(attr, _allowed(definition, attr, wanted))
            types.append(chosen[attr])
    return types


def _expanded(definition: Any, values: Mapping[str, Any], count: int) -> list[Any]:
    """The argument that each input belongs to: one argument may take a list of inputs."""
    arguments: list[Any] = []
    for argument in definition.input_arg:
        if argument.number_attr:
            fixed = values.get(argument.number_attr)
            others = len(definition.input_arg) - 1
            arguments += [argument] * (fixed.i if fixed is not None else max(count - others, 0))
        else:
            arguments.append(argument)
    if len(arguments) != count:
        raise GraphError(f"the operation '{definition.name}' takes {len(arguments)} inputs, got {count}")
    return arguments


def _allowed(definition: Any, attr: str, wanted: str) -> Any:
    import tensorflow as tf

    allowed = next((one.allowed_values.list.type for one in definition.attr if one.name == attr), ())
    names = [tf.as_dtype(type_).name for type_ in allowed]
    choices = _FIRST_CHOICES.get(wanted, (wanted,))
    return tf.as_dtype(next((choice for choice in choices if not names or choice in names), wanted))


def _applied(definition: Any, placeholders: Sequence[Any], values: Mapping[str, Any]) -> Sequence[Any]:
    """The outputs of the operation over its inputs."""
    import tensorflow as tf

    arguments: dict[str, Any] = {}
    places = iter(placeholders)
    for argument in definition.input_arg:
        if argument.number_attr:
            fixed = values.get(argument.number_attr)
            count = fixed.i if fixed is not None else len(placeholders) - len(definition.input_arg) + 1
            arguments[argument.name] = [next(places) for _ in range(count)]
        else:
            arguments[argument.name] = next(places)
    function = getattr(tf.raw_ops, definition.name)
    found = function(**arguments, **{name: _python(value) for name, value in values.items()
                                     if name not in _inferred(definition)})  # fmt: skip
    return [found] if isinstance(found, tf.Tensor) else tf.nest.flatten(found)


def _inferred(definition: Any) -> set[str]:
    """Attributes that the inputs tell."""
    arguments = definition.input_arg
    return {name for one in arguments for name in (one.type_attr, one.number_attr, one.type_list_attr) if name}


def _python(value: Any) -> Any:
    """An ``AttrValue`` as functions of operations take it."""
    import tensorflow as tf

    kind = value.WhichOneof("value")
    if kind == "list":
        lists = value.list
        return list(lists.s or lists.i or lists.f or lists.b) or [tf.as_dtype(one) for one in lists.type]
    if kind == "type":
        return tf.as_dtype(value.type)
    return tf.TensorShape(value.shape) if kind == "shape" else getattr(value, kind)


def _outputs(found: Sequence[Any]) -> list[str]:
    """A node for each output: ``output``, or ``output_0``, ``output_1``, … where there are several."""
    import tensorflow as tf

    names = ["output"] if len(found) == 1 else [f"output_{number}" for number in range(len(found))]
    for name, tensor in zip(names, found, strict=True):
        tf.identity(tensor, name=name)
    return names
