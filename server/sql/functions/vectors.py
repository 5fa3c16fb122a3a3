"""Functions on embeddings (sql-dialect.md §8.7): numpy arrays of doubles in, arrays or numbers out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from server.errors import MldbError

Array = NDArray[np.float64]


def norm(vector: Array, power: float) -> float:
    """The norm as the reference defines it: powers 1 and infinity take no absolute value."""
    values = vector.ravel()
    if math.isnan(power) or power < 0:
        raise MldbError("Invalid power for norm() function", code=500)
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


def normalize(vector: Array, power: float) -> Array:
    """The vector divided by its norm."""
    return quotient(vector, np.float64(norm(vector, power)))


def quotient(left: Array, right: Array | np.float64) -> Array:
    """Element by element; division by zero gives Inf or NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.divide(left, right), np.float64)


def check_same_size(left: Array, right: Array) -> None:
    """What ``vector_sum`` and its like need of their operands."""
    if left.size != right.size:
        raise MldbError(f"vectors must have the same length: got {left.size} and {right.size} elements")


def reshape(vector: Array, shape: Sequence[int], fill: float | None = None) -> Array:
    """The same elements in another shape; with ``fill`` cut off or filled up to it."""
    sizes = tuple(int(size) for size in shape)
    if any(size < 0 for size in sizes):
        raise MldbError("reshape needs a shape without negative sizes")
    count, values = math.prod(sizes), vector.ravel()
    if fill is None:
        if count != values.size:
            raise MldbError("Attempt to change embedding size by reshaping")
        return values.reshape(sizes)
    if count > values.size:
        values = np.concatenate([values, np.full(count - values.size, fill)])
    return values[:count].reshape(sizes)


def concat(vectors: Sequence[Array]) -> Array | None:
    """Joined along the first dimension; None without vectors."""
    if not vectors:
        return None
    first = vectors[0]
    if any(vector.ndim != first.ndim or vector.shape[1:] != first.shape[1:] for vector in vectors):
        raise MldbError("Attempt to concat vectors with different shapes")
    return np.concatenate(list(vectors))


def slice_last(vector: Array, index: int) -> Array:
    """One index of the last dimension."""
    if index < 0:
        raise MldbError("slice function index is less than zero")
    if index >= vector.shape[-1]:
        raise MldbError("slice function index is greater than last dimension size")
    return np.asarray(vector[..., index])


def impulse(size: int, at: int = 0) -> Array:
    """Zeros with a one at a place: ``impulse(n)``, ``shifted_impulse(n, e)``."""
    if size < 0 or not 0 <= at < max(size, 1):
        raise MldbError(f"an impulse of {size} elements has no element {at}")
    return np.eye(1, size, at, dtype=np.float64).ravel()


def amplitude(vector: Array) -> Array:
    """Of pairs (real, imaginary) in the last dimension."""
    return np.hypot(slice_last(vector, 0), slice_last(vector, 1))


def phase(vector: Array) -> Array:
    """Of pairs (real, imaginary): ``atan2(real, imaginary)``, the arguments in this order as in the reference."""
    return np.arctan2(slice_last(vector, 0), slice_last(vector, 1))


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
