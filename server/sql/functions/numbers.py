"""Numeric functions that DuckDB lacks (sql-dialect.md §8.1)."""

from __future__ import annotations

import math

from server.errors import MldbError

# Quantile of the normal distribution for a two-sided interval of 80 %.
_Z80 = 1.2815515655446004


def binomial_lb_80(trials: int, successes: int) -> float:
    """Lower bound of the share of successes: Wilson's score interval at 80 %."""
    return _wilson(trials, successes, -1)


def binomial_ub_80(trials: int, successes: int) -> float:
    """Upper bound of the share of successes: Wilson's score interval at 80 %."""
    return _wilson(trials, successes, 1)


def _wilson(trials: int, successes: int, side: int) -> float:
    if not isinstance(trials, int) or not isinstance(successes, int):
        raise MldbError("the binomial bounds need integers: the number of trials and the number of successes")
    if trials < 0 or not 0 <= successes <= trials:
        raise MldbError(f"there can't be {successes} successes in {trials} trials")
    if trials == 0:
        return 0.0 if side < 0 else 1.0
    share, square = successes / trials, _Z80 * _Z80
    half_width = _Z80 * math.sqrt((share * (1 - share) + square / (4 * trials)) / trials)
    return (share + square / (2 * trials) + side * half_width) / (1 + square / trials)
