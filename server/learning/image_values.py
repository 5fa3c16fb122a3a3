"""The functions ``image.readpixels`` and ``image.proximatevoxels``: parts of one array (entity-types.md §4.4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from server.declarations import BoundFunction, Creation, EntityType, Params, Services, SqlText
from server.errors import MldbError
from server.learning.function_inputs import require_atom
from server.transfer.results import column_atoms
from server.values.atoms import Atom, atom_text, number_text
from server.values.batches import Column, RowBatch, RowType
from server.values.kinds import Kind

_VALUE = ("value",)
Numbers = NDArray[np.float64]


class PixelsParams(Params):
    expression: SqlText = Field(
        description="SQL expression that gives the picture: an embedding of two dimensions or more"
    )


class VoxelsParams(Params):
    expression: SqlText = Field(
        description="SQL expression that gives the volume: an embedding of three dimensions or more"
    )
    range: int = Field(ge=0, description="How far the cube reaches from its middle in each direction")


def array_of(services: Services, expression: str, dimensions: int) -> Numbers:
    """The embedding that an expression gives; ``MldbError`` when it has fewer dimensions."""
    result = services.query(f"SELECT ({expression}) AS image")
    columns = result.type.columns
    if len(columns) != 1 or columns[0].shape is None or len(columns[0].shape) < dimensions:
        raise MldbError(f"The expression '{expression}' must give an embedding of at least {dimensions} dimensions")
    rows = [row for batch in result.batches() for row in batch.rows.values[0].to_pylist()]
    if len(rows) != 1 or rows[0] is None:
        raise MldbError(f"The expression '{expression}' gives no embedding")
    return np.array(rows[0], np.float64).reshape(columns[0].shape)  # which may have a size that was not known


@dataclass(frozen=True)
class ArrayFunction:
    """Reads a part of an array at whole-numbered ``coordinates``; ``part`` gives numbers of the shape ``shape``."""

    coordinates: tuple[str, ...]
    part: Callable[[tuple[int, ...]], Numbers]
    shape: tuple[int, ...]

    @property
    def input(self) -> RowType:
        return RowType(tuple(Column((name,), Kind.INTEGER) for name in self.coordinates))

    @property
    def output(self) -> RowType:
        return RowType((Column(_VALUE, Kind.NUMBER, self.shape or None),))

    def bind(self, given: RowType) -> BoundFunction:
        for name in self.coordinates:
            require_atom(given, name, "number")
        return self

    def apply(self, batch: RowBatch) -> RowBatch:
        given = [column_atoms(batch, name) for name in self.coordinates]
        parts = [self.part(_place(self.coordinates, point)) for point in zip(*given, strict=True)]
        flat = pa.array(np.concatenate([part.reshape(-1) for part in parts]) if parts else [], pa.float64())
        values = pa.FixedSizeListArray.from_arrays(flat, math.prod(self.shape)) if self.shape else flat
        return RowBatch(self.output, batch.length, [values])


def _place(names: Sequence[str], point: Sequence[Atom]) -> tuple[int, ...]:
    for name, value in zip(names, point, strict=True):
        if not isinstance(value, int | float) or not float(value).is_integer():
            raise MldbError(f"'{name}' must be a whole number, not {'null' if value is None else atom_text(value)}")
    return tuple(int(value) for value in point)  # type: ignore[arg-type]


def read_pixel(image: Numbers, place: tuple[int, ...]) -> Numbers:
    """The element at a place: a number, or what further dimensions the picture has (its colours)."""
    _check_inside(image, place, 0)
    found: Numbers = image[place]
    return np.asarray(found)


def read_cube(volume: Numbers, reach: int, place: tuple[int, ...]) -> Numbers:
    """The cube around a place."""
    _check_inside(volume, place, reach)
    return volume[tuple(slice(at - reach, at + reach + 1) for at in place)]


def _check_inside(array: Numbers, place: tuple[int, ...], reach: int) -> None:
    if any(not reach <= at < size - reach for at, size in zip(place, array.shape, strict=False)):
        around = f" with {reach} on each side" if reach else ""
        shown = ", ".join(number_text(float(at)) for at in place)
        raise MldbError(f"({shown}){around} is not within the array of {_sizes(array)}")


def _sizes(array: Numbers) -> str:
    return " × ".join(str(size) for size in array.shape)


def _create_pixels(creation: Creation) -> ArrayFunction:
    image = array_of(creation.services, creation.params.expression, 2)
    return ArrayFunction(("x", "y"), lambda place: read_pixel(image, place), image.shape[2:])


def _create_voxels(creation: Creation) -> ArrayFunction:
    volume = array_of(creation.services, creation.params.expression, 3)
    reach: int = creation.params.range
    if 2 * reach >= min(volume.shape[:3]):
        raise MldbError(f"A cube that reaches {reach} on each side does not fit into the array of {_sizes(volume)}")
    shape = (2 * reach + 1,) * 3 + volume.shape[3:]
    return ArrayFunction(("x", "y", "z"), lambda place: read_cube(volume, reach, place), shape)


TYPES = [
    EntityType(
        "function",
        "image.readpixels",
        PixelsParams,
        "Reads single pixels of a picture",
        _create_pixels,
        "`x` and `y`, counted from 0, go in; `value` is the picture's element [x][y]. The expression is read once, "
        "when the function is made.",
    ),
    EntityType(
        "function",
        "image.proximatevoxels",
        VoxelsParams,
        "Reads the surroundings of points in a volume",
        _create_voxels,
        "`x`, `y` and `z`, counted from 0, go in; `value` is the cube around them. The expression is read once, when "
        "the function is made.",
    ),
]
