from __future__ import annotations

import math

import numpy as np
import pytest

from server.errors import MldbError
from server.sql.functions.vectors import fft, norm


def vector(*values: float) -> np.ndarray:
    return np.array(values, float)


@pytest.mark.parametrize(
    ("power", "result"), [(0, 3), (1, 2), (2, math.sqrt(14)), (math.inf, 3), (3, (27 - 8 + 1) ** (1 / 3))]
)
def test_norm_takes_no_absolute_values(power: float, result: float) -> None:
    assert norm(vector(3, -2, 1, 0), power) == pytest.approx(result, rel=1e-6)


@pytest.mark.parametrize("power", [-1, math.nan])
def test_norm_refuses(power: float) -> None:
    with pytest.raises(MldbError, match=r"Invalid power for norm\(\) function") as caught:
        norm(vector(1), power)
    assert caught.value.code == 500


def test_fft_inverts() -> None:
    signal = np.arange(32, dtype=float)
    spectrum = fft(signal)
    assert spectrum.shape == (16, 2)
    assert spectrum[0].tolist() == [signal.sum(), pytest.approx(-16)]
    assert fft(spectrum, "backward") == pytest.approx(signal, abs=1e-4)
    pairs = np.arange(32, dtype=float).reshape(16, 2)
    assert fft(fft(pairs, "forward", "complex"), "backward", "complex") == pytest.approx(pairs, abs=1e-4)


@pytest.mark.parametrize(
    ("values", "arguments", "message"),
    [
        (np.zeros(31), (), "FFT size must be a multiple of 32"),
        (np.zeros(32), ("up",), "FFT direction must be either 'forward' or 'backward'; got 'up'."),
        (np.zeros(32), ("forward", "imaginary"), "FFT type must be"),
        (np.zeros(32), ("backward", "real"), "pairs"),
    ],
)
def test_fft_refuses(values: np.ndarray, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(MldbError, match=message):
        fft(values, *arguments)
