"""Many numbers at once as JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from server.values.atoms import Atom, atom_to_json


def numbers_to_json(
    values: list[Any], numbers: np.ndarray | None = None, encode: Callable[[Atom], Any] = atom_to_json
) -> list[Any]:
    """Floats (or None) as ``encode`` gives them; the list is changed and returned.

    Fractions are JSON as they are: only whole numbers, infinities and NaN are looked at one by one. ``numbers`` are
    the values as an array, if there is one.
    """
    if numbers is None:
        numbers = np.asarray(values, np.float64)
    for index in np.flatnonzero(~np.isfinite(numbers) | (np.trunc(numbers) == numbers)).tolist():
        if values[index] is not None:
            values[index] = encode(values[index])
    return values
