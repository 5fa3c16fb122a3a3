"""The different values of an array, as NumPy finds them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from server.values.distinct import distinct


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_integers(values: list[int]) -> None:
    array = np.asarray(values, np.int64)
    assert distinct(array).tolist() == sorted(set(values))
    assert distinct(array).dtype == np.int64


@given(st.lists(st.floats(allow_nan=False)))
def test_floats(values: list[float]) -> None:
    assert distinct(np.asarray(values, np.float64)).tolist() == sorted(set(values))
