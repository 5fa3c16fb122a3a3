"""How a graph is run over many rows.

    front   where the one input is the bytes of a picture, *decode, resize, scale* runs row by row on several
            threads; the rest of the graph, which holds the work, gets a batch. A single row goes through the
            whole in one run
    body    the graph, or what the front leaves of it; rows are joined along the first dimension where the graph
            leaves that free, else they run one by one

That joined rows give what single rows give is checked on the first batch: a graph may mix its rows.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np

from runtime.models.graphs import (
    GraphError,
    NodeSpec,
    Options,
    Runner,
    decodes,
    front_end,
    node_specs,
    prune,
    with_entry,
)
from runtime.models.images import BadImage, check_image

Row = dict[str, Any]  # input name → bytes or array, one row

_FRONT_THREADS = 2
# Part of the range of values. Batches of different sizes differ by rounding, in bfloat16 by up to a hundredth.
_ALIKE = 0.05


class Plan:
    """Gets ``outputs`` from ``inputs`` in one graph. ``prepare`` is thread-safe, ``run`` is for one thread."""

    def __init__(self, definition: Any, inputs: Sequence[str], outputs: Sequence[str], options: Options) -> None:
        specs = node_specs(definition, [*inputs, *outputs])
        self.inputs = {name: specs[name] for name in inputs}
        self._outputs = list(outputs)
        self._pixels = options.pixels
        pruned = prune(definition, self.inputs, outputs)
        self._pictures = {name for name in inputs if decodes(pruned, name)}
        self._cut: str | None = None  # the node between front and body
        self._graph, self._joined = self._split(pruned, options) or self._whole(pruned, options)
        self._checked = False
        self._ways: set[bool] = set()  # whether one row has been run, and several: each is optimized at first use
        self.outputs = {name: self._row_spec(name) for name in outputs}

    def _split(self, pruned: Any, options: Options) -> tuple[Runner, bool] | None:
        """A graph that can be entered between front and body, where there is a front and the body takes batches."""
        cut = front_end(pruned, next(iter(self.inputs))) if len(self.inputs) == 1 else None
        if cut is None or cut in self._outputs:
            return None
        spec = node_specs(pruned, [cut])[cut]
        if not spec.shape or spec.shape[0] != 1 or -1 in spec.shape:
            return None
        graph = Runner(with_entry(pruned, cut, replace(spec, shape=(-1, *spec.shape[1:]))), options)
        if not all(graph.spec(name).leading_free for name in self._outputs):
            return None
        self._cut = cut
        return graph, True

    def _whole(self, pruned: Any, options: Options) -> tuple[Runner, bool]:
        graph = Runner(pruned, options)
        nodes = [*self.inputs.values(), *(graph.spec(name) for name in self._outputs)]
        return graph, bool(self.inputs) and all(node.leading_free for node in nodes)

    def _row_spec(self, name: str) -> NodeSpec:
        spec = self._graph.spec(name)
        return replace(spec, shape=(1, *spec.shape[1:])) if self._joined and spec.shape else spec

    def prepare_all(self, rows: Sequence[Row]) -> list[Row | GraphError]:
        """What ``run`` needs of rows, computed on several threads; of one that cannot be prepared its error."""
        if len(rows) == 1:
            return [self._checked_row(rows[0])]
        with ThreadPoolExecutor(_FRONT_THREADS, "front") as pool:
            return list(pool.map(self._fronted, rows))

    def _checked_row(self, row: Row) -> Row | GraphError:
        try:
            return {name: self._value(name, row.get(name)) for name in self.inputs}
        except GraphError as error:
            return error

    def _fronted(self, row: Row) -> Row | GraphError:
        """A row as the body takes it."""
        values = self._checked_row(row)
        if self._cut is None or isinstance(values, GraphError):
            return values
        try:
            return self._graph.run(values, [self._cut])
        except GraphError as error:
            return error

    def _value(self, name: str, value: Any) -> Any:
        if value is None:
            raise GraphError(f"the value of '{name}' is null")
        textual = self.inputs[name].dtype == "string"
        if textual != isinstance(value, bytes):
            raise GraphError(f"the value of '{name}' must be {'a blob or a string' if textual else 'numbers'}")
        if name in self._pictures:
            self._check_picture(value)
        return value if textual else self._number(name, value)

    def _check_picture(self, value: bytes) -> None:
        try:
            check_image(value, self._pixels)
        except BadImage as error:
            raise GraphError(str(error)) from None

    def _number(self, name: str, value: np.ndarray) -> np.ndarray:
        """The array in the node's type, and in its shape where it is known: a free first dimension is 1 for one row."""
        spec = self.inputs[name]
        array = value.astype(spec.dtype)
        shape = (1, *spec.shape[1:]) if spec.leading_free and spec.shape else spec.shape
        fits = shape is not None and -1 not in shape and math.prod(shape) == array.size
        return array.reshape(shape) if fits else array

    def run(self, prepared: Sequence[Row]) -> dict[str, list[np.ndarray]]:
        """Prepared rows to outputs, each a list with a tensor per row."""
        outputs = self._run(prepared)
        if (single := len(prepared) == 1) not in self._ways:
            self._ways.add(single)
            give_back()
        return outputs

    def _run(self, prepared: Sequence[Row]) -> dict[str, list[np.ndarray]]:
        whole = self._cut is not None and len(prepared) == 1
        if not (self._joined and (whole or _joinable(prepared))):
            singles = [self._graph.run(row, self._outputs) for row in prepared]
            return {name: [single[name] for single in singles] for name in self._outputs}
        results = self._graph.run(_join(prepared), self._outputs)
        if len(prepared) > 1 and not self._checked:
            self._checked = True
            self._joined = self._alike(prepared[0], results)
            if not self._joined:
                return self._run(prepared)
        return {name: list(value[:, np.newaxis]) for name, value in results.items()}

    def _alike(self, row: Row, results: Mapping[str, np.ndarray]) -> bool:
        alone = self._graph.run(row, self._outputs)
        return all(_close(alone[name], value[:1]) for name, value in results.items())


def give_back() -> None:
    """Hand freed memory to the system: loading and optimizing a graph leaves several times its size."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, other libraries give back by themselves
    if trim is not None:
        trim(0)


def _join(rows: Sequence[Row]) -> Row:
    return dict(rows[0]) if len(rows) == 1 else {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def _joinable(rows: Sequence[Row]) -> bool:
    """Do all rows have one entry in the first dimension, and the same others?"""
    first = {name: value.shape for name, value in rows[0].items() if isinstance(value, np.ndarray)}
    return len(first) == len(rows[0]) and all(
        shape[:1] == (1,) and all(row[name].shape == shape for row in rows) for name, shape in first.items()
    )


def _close(alone: np.ndarray, joined: np.ndarray) -> bool:
    if alone.dtype.kind not in "fiub":
        return bool((alone == joined).all())
    spread = float(np.abs(alone.astype(float)).max(initial=0.0))
    return bool(np.allclose(alone, joined, rtol=0, atol=_ALIKE * spread + 1e-6, equal_nan=True))
