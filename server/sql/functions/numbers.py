"""Numeric functions that DuckDB lacks (sql-dialect.md §7.1, §8.1)."""

from __future__ import annotations

import math

from server.errors import MldbError
from server.values.atoms import collapse

# Quantile of the normal distribution for a two-sided interval of 80 %.
_Z80 = 1.2815515655446004
_WORD = 2**64


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


def round_half_away(number: float) -> float:
    """C's ``round``: halves go away from zero."""
    if not math.isfinite(number):
        return number
    whole = math.floor(abs(number))
    # Compare the fraction: adding one half first would lift the double just below 0.5 to 1.
    return math.copysign(whole + (abs(number) - whole >= 0.5), number)


def quantize(number: float, step: float) -> int | float:
    """The multiple of ``step`` nearest to a number; NaN for a step of zero."""
    if step == 0:
        return math.nan
    return collapse(round_half_away(number / step) * step)


def modulo(left: int | float, right: int | float) -> int | float:
    """The operator ``%``. Two integers: C's remainder, where mixed signs convert the negative one to unsigned."""
    if not isinstance(left, int) or not isinstance(right, int):
        return collapse(math.fmod(left, right)) if right and math.isfinite(left) else math.nan
    if right == 0:
        raise MldbError("Integer Modulus by a zero dividend")
    if left < 0 and right < 0:
        return -(-left % -right)
    return left % _WORD % (right % _WORD)


def signed_modulo(left: int, right: int) -> int:
    """``mod(x, y)``: C's signed remainder, which has the sign of ``left``."""
    if right == 0:
        raise MldbError("Integer Modulus by a zero dividend")
    return int(math.copysign(1, left)) * (abs(left) % abs(right))


def sign(number: float) -> int | float:
    """-1, 0 or 1; NaN for NaN."""
    return number if math.isnan(number) else (number > 0) - (number < 0)


def logarithm(base: float, number: float) -> float:
    """``log(b, x)`` with C's edge cases instead of exceptions."""
    return _divide(c_log(number), c_log(base))


def c_log(number: float) -> float:
    """``ln`` as C has it: -Inf at zero, NaN below."""
    if number == 0:
        return -math.inf
    return math.nan if number < 0 or math.isnan(number) else math.log(number)


def _divide(left: float, right: float) -> float:
    if right == 0:
        return math.nan if left == 0 or math.isnan(left) else math.copysign(math.inf, left)
    return left / right
