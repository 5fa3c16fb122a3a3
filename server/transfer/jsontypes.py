"""The JSON atoms of a column as one typed Arrow array (server.values.kinds has the rule of numbers)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from server.values import compute as pc
from server.values.atoms import Atom, collapse
from server.values.cells import any_array
from server.values.kinds import EXACT, Kind


def typed(values: list[Any]) -> tuple[Kind, pa.Array]:
    """Kind and array of JSON atoms: the narrowest kind that holds all of them, ``Kind.NULL`` for nothing but nulls.

    Integers are those that JSON gives (64 bits, with or without sign).
    """
    types = set(map(type, values)) - {type(None)}
    if not types:
        return Kind.NULL, pa.nulls(len(values))
    if types == {str}:
        return Kind.STRING, pa.array(values, pa.string())
    if types == {int}:
        return _integers(values)
    if types == {float}:
        return _doubles(values)
    if types == {bool}:
        return Kind.INTEGER, pa.array(values, pa.bool_()).cast(pa.int64())
    if str in types:
        return Kind.ANY, any_array(map(atom_of, values))
    return _numbers(values)


def atom_of(value: Any) -> Atom:
    """A JSON atom: booleans are numbers, a number that is an integer is one."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        return collapse(value)
    atom: Atom = value
    return atom


def _integers(values: list[Any]) -> tuple[Kind, pa.Array]:
    try:
        return Kind.INTEGER, pa.array(values, pa.int64())
    except OverflowError:
        if all(value is None or value >= 2**63 for value in values):
            return Kind.UNSIGNED, pa.array(values, pa.uint64())
        return Kind.ANY, any_array(values)


def _doubles(values: list[Any]) -> tuple[Kind, pa.Array]:
    array = pa.array(values, pa.float64())
    numbers = array.drop_null().to_numpy()
    whole = (np.floor(numbers) == numbers) & (numbers >= -(2.0**63)) & (numbers < 2.0**63)
    if whole.all():
        return Kind.INTEGER, array.cast(pa.int64())
    if (whole & (np.abs(numbers) > EXACT)).any():
        return _numbers(values)
    return Kind.NUMBER, pc.add(array, 0.0)  # of the zeros none is negative


def _numbers(values: list[Any]) -> tuple[Kind, pa.Array]:
    atoms: list[Any] = list(map(atom_of, values))
    if all(isinstance(atom, int) or atom is None for atom in atoms):
        return _integers(atoms)
    if any(isinstance(atom, int) and abs(atom) > EXACT for atom in atoms):
        return Kind.ANY, any_array(atoms)  # a double would not hold them
    return Kind.NUMBER, pa.array([None if atom is None else float(atom) for atom in atoms], pa.float64())
