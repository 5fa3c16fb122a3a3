"""The texts of whole columns: ``atom_text`` of each value, most of them without a call for each."""

from __future__ import annotations

import numpy as np

from server.values import compute as pc
from server.values.arrow import pa
from server.values.atoms import Timestamp, atom_text, number_text
from server.values.cells import atoms_of
from server.values.kinds import Kind

_SHORTEST = 1e-4, 1e15  # where Python's shortest digits of a fraction are those of ``number_text``
_DATES = -30_610_224_000, 253_402_300_799  # seconds of the years 1000 to 9999, which have four digits


def column_texts(array: pa.Array, kind: Kind) -> pa.Array:
    """The text of each atom of a column, as strings; null stays null."""
    match kind:
        case Kind.STRING:
            return array
        case Kind.INTEGER | Kind.UNSIGNED:
            return array.cast(pa.string())
        case Kind.BOOLEAN:
            return array.cast(pa.int8()).cast(pa.string())
        case Kind.NUMBER:
            return _number_texts(array)
        case Kind.TIMESTAMP:
            return _timestamp_texts(array)
    return pa.array([None if atom is None else atom_text(atom) for atom in atoms_of(array, kind)], pa.string())


def _number_texts(array: pa.Array) -> pa.Array:
    numbers = pc.fill_null(array, 0.0).to_numpy(zero_copy_only=False).astype(np.float64)
    whole = (np.trunc(numbers) == numbers) & (numbers >= -(2.0**63)) & (numbers < 2.0**63)
    texts = pa.array(np.where(whole, numbers, 0).astype(np.int64)).cast(pa.string())
    fractions = np.flatnonzero(~whole)
    if len(fractions):
        texts = _replaced(texts, fractions, [_fraction_text(number) for number in numbers[fractions].tolist()])
    return _as_null_as(texts, array)


def _fraction_text(number: float) -> str:
    least, most = _SHORTEST
    return repr(number) if least <= abs(number) < most else number_text(number)


def _timestamp_texts(array: pa.Array) -> pa.Array:
    seconds = pc.fill_null(array, 0.0).to_numpy(zero_copy_only=False)
    first, last = _DATES
    plain = (seconds >= first) & (seconds <= last) & (np.floor(seconds) == seconds)
    moments = pa.array(np.where(plain, seconds, 0).astype(np.int64)).cast(pa.timestamp("s")).cast(pa.string())
    texts = pc.binary_join_element_wise(pc.replace_substring(moments, " ", "T"), "Z", "")
    others = np.flatnonzero(~plain)
    if len(others):
        texts = _replaced(texts, others, [atom_text(Timestamp(at)) for at in seconds[others].tolist()])
    return _as_null_as(texts, array)


def _replaced(texts: pa.Array, places: np.ndarray, others: list[str]) -> pa.Array:
    mask = np.zeros(len(texts), bool)
    mask[places] = True
    return pc.replace_with_mask(texts, pa.array(mask), pa.array(others, pa.string()))


def _as_null_as(texts: pa.Array, array: pa.Array) -> pa.Array:
    return pc.if_else(array.is_valid(), texts, None) if array.null_count else texts
