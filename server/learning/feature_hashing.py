"""The function ``feature_hasher``: rows of any columns as vectors of one length (entity-types.md §4.3)."""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from server.declarations import Creation, EntityType, Params
from server.learning.cell_functions import RowFunction
from server.values.atoms import NEVER, atom_text
from server.values.batches import Cell, Row
from server.values.cityhash import Hashes, hash_texts
from server.values.paths import format_path

Mode = Literal["columns", "columnsAndValues"]
_WORD = 64  # bits of a hash


class HasherParams(Params):
    numBits: int = Field(default=8, ge=1, le=16, description="The vector has two to the power of so many numbers")
    mode: Mode = Field(default="columns", description="Whether only the names of columns count, or their values too")


def hashed(hashes: Hashes, bits: int) -> NDArray[np.float64]:
    """The vector of a set of hashes: each slice of ``bits`` bits of one is a place that gets +1 and −1 by turns."""
    vector = np.zeros(1 << bits)
    distinct = np.unique(hashes)
    for number in range(_WORD // bits):
        places = (distinct >> np.uint64(number * bits)) & np.uint64((1 << bits) - 1)
        np.add.at(vector, places.astype(np.int64), -1.0 if number % 2 else 1.0)
    return vector


def texts_of(row: Row, mode: Mode) -> list[str]:
    """What is hashed of a row: the names of columns that are not null, with their values where they count."""
    present = [cell for cell in row if cell.value is not None]
    if mode == "columns":
        return [format_path(cell.path) for cell in present]
    return [f"{format_path(cell.path)}::{atom_text(cell.value)}" for cell in present]


def hash_row(bits: int, mode: Mode, row: Row) -> Row:
    vector = hashed(hash_texts(pa.array(texts_of(row, mode), pa.string())), bits)
    return [Cell((f"hashColumn{number}",), value, NEVER) for number, value in enumerate(vector.tolist())]


def _create(creation: Creation) -> RowFunction:
    return RowFunction("columns", "hash", partial(hash_row, creation.params.numBits, creation.params.mode))


TYPES = [
    EntityType(
        "function",
        "feature_hasher",
        HasherParams,
        "Makes rows of any columns vectors of one length",
        _create,
        "`columns` is a row; gives `hash`, with the columns `hashColumn0`, `hashColumn1`, …",
    )
]
