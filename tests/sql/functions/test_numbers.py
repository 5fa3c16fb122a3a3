from __future__ import annotations

import math

import pytest

from server.errors import MldbError
from server.sql.functions.arithmetic import modulo
from server.sql.functions.numbers import binomial_lb_80, binomial_ub_80


def test_binomial_bounds() -> None:
    assert binomial_ub_80(200, 35) == pytest.approx(0.2120410, abs=1e-6)
    assert binomial_lb_80(200, 35) == pytest.approx(0.143, abs=1e-3)
    assert binomial_lb_80(500, 35) == pytest.approx(0.0567, abs=1e-3)
    assert (binomial_lb_80(0, 0), binomial_ub_80(0, 0)) == (0.0, 1.0)
    for trials, successes in ((1.5, 1), (3, 4), (-1, 0)):
        with pytest.raises(MldbError):
            binomial_lb_80(trials, successes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("left", "right", "result"),
    [(5, 3, 2), (-5, 3, 2), (5, -3, 5), (-5, -3, -2), (1.75, 0.5, 0.25), (-1.75, 0.5, -0.25), (6, 3, 0)],
)
def test_modulo_is_that_of_machine_words(left: float, right: float, result: float) -> None:
    assert modulo(left, right) == result


def test_modulo_by_zero() -> None:
    with pytest.raises(MldbError, match="Integer Modulus by a zero dividend"):
        modulo(1, 0)
    assert math.isnan(modulo(1.5, 0))
    assert math.isnan(modulo(math.inf, 2))
