"""Many numbers at once as JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from server.values.atoms import LEAST_PLAIN, Atom, atom_to_json
from server.values.kinds import EXACT

_FEW = 16  # the calls of NumPy take as long as so many steps of Python


def numbers_to_json(
    values: list[Any], numbers: np.ndarray | None = None, encode: Callable[[Atom], Any] = atom_to_json
) -> list[Any]:
    """Floats (or None) as ``encode`` gives them; the list may be changed.

    Fractions are JSON as they are, whole numbers integers: only infinities, NaN and what is very large or small are
    looked at one by one. ``numbers`` are the values as an array, if there is one.
    """
    if len(values) <= _FEW:
        return [_number_to_json(value, encode) for value in values]
    if numbers is None:
        numbers = np.asarray(values, np.float64)
    size = np.abs(numbers)
    whole = (np.trunc(numbers) == numbers) & (size < EXACT)
    for index, number in zip(np.flatnonzero(whole).tolist(), numbers[whole].astype(np.int64).tolist(), strict=True):
        values[index] = number
    for index in np.flatnonzero(~whole & ~((size >= LEAST_PLAIN) & (size < EXACT))).tolist():
        if values[index] is not None:
            values[index] = encode(values[index])
    return values


def _number_to_json(value: Any, encode: Callable[[Atom], Any]) -> Any:
    if value is None:
        return None
    size = abs(value)
    if size < EXACT:
        whole = int(value)
        if whole == value:
            return whole
        if size >= LEAST_PLAIN:
            return value
    return encode(value)
