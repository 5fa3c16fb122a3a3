from __future__ import annotations

import math

import numpy as np
import pytest

from server.errors import MldbError
from server.sql.functions.vectors import (
    amplitude,
    check_same_size,
    concat,
    fft,
    impulse,
    norm,
    normalize,
    phase,
    quotient,
    reshape,
    slice_last,
)


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


def test_normalize_and_quotient() -> None:
    assert normalize(vector(3, 4), 2) == pytest.approx([0.6, 0.8])
    assert np.array_equal(quotient(vector(1, 0), vector(0, 0)), [math.inf, math.nan], equal_nan=True)
    assert np.isnan(normalize(vector(0, 0), 2)).all()
    with pytest.raises(MldbError, match="same length"):
        check_same_size(vector(1), vector(1, 2))


def test_reshape() -> None:
    assert reshape(vector(1, 2, 3, 4), (2, 2)).tolist() == [[1, 2], [3, 4]]
    assert reshape(vector(1, 2, 3), (2, 2), 9).tolist() == [[1, 2], [3, 9]]
    assert reshape(vector(1, 2, 3), (2,), 9).tolist() == [1, 2]
    with pytest.raises(MldbError, match="Attempt to change embedding size by reshaping"):
        reshape(vector(1, 2, 3), (2, 2))


def test_concat_and_slice() -> None:
    joined = concat([np.ones((1, 2)), np.zeros((2, 2))])
    assert joined is not None
    assert joined.tolist() == [[1, 1], [0, 0], [0, 0]]
    assert concat([]) is None
    with pytest.raises(MldbError, match="Attempt to concat vectors with different shapes"):
        concat([vector(1), np.ones((1, 2))])
    assert slice_last(np.array([[1.0, 2], [3, 4]]), 1).tolist() == [2, 4]
    with pytest.raises(MldbError, match="less than zero"):
        slice_last(vector(1), -1)
    with pytest.raises(MldbError, match="greater than last dimension size"):
        slice_last(vector(1), 1)


def test_impulse() -> None:
    assert impulse(3).tolist() == [1, 0, 0]
    assert impulse(3, 2).tolist() == [0, 0, 1]
    with pytest.raises(MldbError, match="no element 3"):
        impulse(3, 3)


def test_amplitude_and_phase() -> None:
    pairs = np.array([[3.0, 4.0], [0.0, 1.0]])
    assert amplitude(pairs).tolist() == [5, 1]
    assert phase(pairs) == pytest.approx([math.atan2(3, 4), 0])


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
