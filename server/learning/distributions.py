"""Statistics of numbers that come one by one (entity-types.md §3.21)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from server.errors import MldbError

Doubles = NDArray[np.float64]


@dataclass(slots=True)
class Distribution:
    """Running statistics; the squares are summed around the mean (Welford), so nothing cancels."""

    count: int = 0
    mean: float = math.nan
    squares: float = 0.0
    low: float = math.nan
    high: float = math.nan
    last: float = math.nan
    total: float = 0.0

    def add(self, number: float) -> None:
        first = self.count == 0
        self.count += 1
        before = number if first else self.mean
        self.mean = before + (number - before) / self.count
        self.squares += (number - before) * (number - self.mean)
        self.low = number if first else min(self.low, number)
        self.high = number if first else max(self.high, number)
        self.last = number
        self.total += number


# The numbers that a distribution is, as arrays of them hold these in their last axis.
numbers_of: Callable[[Distribution], tuple[float, ...]] = attrgetter(
    "count", "mean", "squares", "low", "high", "last", "total"
)
SIZE = len(numbers_of(Distribution()))


def _deviation(numbers: Doubles) -> Doubles:
    """Standard deviations of samples; NaN for less than two numbers."""
    count, squares = numbers[..., 0], numbers[..., 2]
    return np.asarray(np.sqrt(np.divide(squares, count - 1, out=np.full(count.shape, np.nan), where=count > 1)))


_STATISTICS: Mapping[str, Callable[[Doubles], Doubles]] = {
    "count": lambda numbers: numbers[..., 0],
    "avg": lambda numbers: numbers[..., 1],
    "std": _deviation,
    "min": lambda numbers: numbers[..., 3],
    "max": lambda numbers: numbers[..., 4],
    "last": lambda numbers: numbers[..., 5],
    "sum": lambda numbers: numbers[..., 6],
}


def check_statistics(names: Sequence[str]) -> None:
    for name in names:
        if name not in _STATISTICS:
            raise MldbError(f"Unknown distribution table statistic: {name}; there are {', '.join(_STATISTICS)}")


def statistics(numbers: Doubles, names: Sequence[str]) -> Doubles:
    """Statistics, in the last axis, of distributions that are given by their numbers."""
    return np.stack([_STATISTICS[name](numbers) for name in names], axis=-1) if names else numbers[..., :0]
