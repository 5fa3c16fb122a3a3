"""Norms and Fourier transforms (sql-dialect.md §8.7): numpy arrays of doubles in, arrays or numbers out."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from server.errors import MldbError

Array = NDArray[np.float64]


def norm(vector: Array, power: float, function: str = "norm") -> float:
    """The norm as the reference defines it: powers 1 and infinity take no absolute value."""
    values = vector.ravel()
    if math.isnan(power) or power < 0:
        raise MldbError(f"Invalid power for {function}() function", code=500)
    if power == 0:
        return float(np.count_nonzero(values))
    if power == 1:
        return float(values.sum())
    if power == 2:
        return float(np.sqrt(np.square(values).sum()))
    if math.isinf(power):
        return float(values.max(initial=-math.inf))
    with np.errstate(invalid="ignore", over="ignore"):
        return float(np.float32(np.power(values, power).sum() ** (1 / power)))


def fft(vector: Array, direction: str = "forward", kind: str = "real") -> Array:
    """Single precision. Real: n numbers to n/2 pairs, the first pair being (DC, Nyquist), and back; complex: pairs.

    Backward is scaled so that it inverts forward.
    """
    if direction not in ("forward", "backward"):
        raise MldbError(f"FFT direction must be either 'forward' or 'backward'; got '{direction}'.")
    if kind not in ("real", "complex"):
        raise MldbError(f"FFT type must be either 'real' or 'complex'; got '{kind}'.")
    if vector.size == 0 or vector.size % 32:
        raise MldbError("FFT size must be a multiple of 32")
    single = vector.astype(np.float32)
    if kind == "complex":
        transform = np.fft.fft if direction == "forward" else np.fft.ifft
        return _pairs(transform(_complex(single)))
    if direction == "forward":
        return _packed(np.fft.rfft(single.ravel()))
    return np.fft.irfft(_unpacked(single)).astype(np.float32).astype(np.float64)


def _complex(pairs: NDArray[np.float32]) -> NDArray[np.complex64]:
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise MldbError("FFT of complex numbers needs an embedding of pairs (real, imaginary)")
    return (pairs[:, 0] + 1j * pairs[:, 1]).astype(np.complex64)


def _pairs(numbers: NDArray[np.complexfloating]) -> Array:
    return np.stack([numbers.real, numbers.imag], axis=1).astype(np.float32).astype(np.float64)


def _packed(spectrum: NDArray[np.complexfloating]) -> Array:
    pairs = _pairs(spectrum[:-1])
    pairs[0, 1] = np.float32(spectrum[-1].real)
    return pairs


def _unpacked(pairs: NDArray[np.float32]) -> NDArray[np.complex64]:
    spectrum = np.append(_complex(pairs), np.complex64(pairs[0, 1]))
    spectrum[0] = pairs[0, 0]
    return spectrum
