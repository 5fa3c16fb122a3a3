"""Hashes of whole numbers that are asked for again and again: rows of large tables are named by them.

DuckDB asks for 2,048 at a time, in several threads that take turns in Python: looking hashes up keeps the turns short.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from server.values.cityhash import Hashes, hash_numbers

KNOWN = 1 << 24  # numbers from 0: 128 MiB once all of them have been asked for
_BLOCK = 1 << 16  # computed at once: the arrays stay in the processor's cache


class NumberHashes:
    """``hash_numbers`` that remembers. Safe to use from several threads."""

    def __init__(self, known: int = KNOWN) -> None:
        self._computed = np.zeros(-(-known // _BLOCK), bool)
        self._hashes = np.empty(len(self._computed) * _BLOCK, np.uint64)  # takes memory where it is written only

    def of(self, numbers: npt.NDArray[np.int64]) -> Hashes:
        """CityHash64 of the decimal texts of whole numbers."""
        if not len(numbers):
            return np.empty(0, np.uint64)
        least, most = int(numbers.min()), int(numbers.max())
        if least < 0 or most >= len(self._hashes):
            return hash_numbers(numbers)
        self._compute(least // _BLOCK, most // _BLOCK)
        hashes: Hashes = self._hashes[numbers]
        return hashes

    def _compute(self, first: int, last: int) -> None:
        """Have the hashes of these blocks and those between them."""
        for block in first + np.flatnonzero(~self._computed[first : last + 1]):
            start = int(block) * _BLOCK
            self._hashes[start : start + _BLOCK] = hash_numbers(np.arange(start, start + _BLOCK))
            self._computed[block] = True  # last: another thread may look
