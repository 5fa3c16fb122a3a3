"""What a cell of text is: an integer, a number or a string (entity-types.md §3.2), one by one and by the column.

The rule is C's: the whole cell is tried with ``strtoll``, then as an unsigned 64 bit integer, then with ``strtod``.
Columns take Arrow's conversions where these are known to agree, the rule itself elsewhere.
"""

from __future__ import annotations

import math
import re
from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from server.values import compute as pc
from server.values.atoms import Atom
from server.values.cells import any_array
from server.values.kinds import EXACT, Kind

_BLANK = r"[ \t\n\v\f\r]*"
_INTEGER = re.compile(rf"{_BLANK}[+-]?[0-9]+")
_NUMBER_PATTERN = (
    rf"{_BLANK}[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
    r"|0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)(?:[pP][+-]?[0-9]+)?"
    r"|[iI][nN][fF](?:[iI][nN][iI][tT][yY])?|[nN][aA][nN](?:\([A-Za-z0-9_]*\))?)"
)
_NUMBER = re.compile(_NUMBER_PATTERN)
_FIRST = np.zeros(256, dtype=bool)
_FIRST[np.frombuffer(b"0123456789+-. \t\n\v\f\riInN", np.uint8)] = True


def cell_atom(cell: str) -> Atom:
    """The atom that a cell is; the empty cell is null."""
    if not cell:
        return None
    if cell[0] > "n":  # no number begins after it, nor does any non-ASCII text look like one
        return cell
    if _INTEGER.fullmatch(cell):
        number = int(cell)
        if -(2**63) <= number < 2**64:
            return number
    return _double(cell) if _NUMBER.fullmatch(cell) else cell


def _double(cell: str) -> float:
    text = cell.lower()
    if "x" in text:
        try:
            return float.fromhex(text)
        except OverflowError:
            return -math.inf if "-" in text.partition("x")[0] else math.inf
    return float(text.partition("(")[0])


def typed_column(texts: pa.Array) -> tuple[Kind, pa.Array]:
    """The kind of a column of cells (nulls: empty cells) and its values as an array of that kind's type."""
    present = len(texts) - texts.null_count
    if not present:
        return Kind.NULL, texts
    candidates = _candidates(texts)
    numbers = _count_numbers(candidates)
    if not numbers:
        return Kind.STRING, texts
    if numbers == present:
        simple = _cast(texts)
        if simple is not None:
            return simple
    return _by_rule(texts)


def any_number(texts: pa.Array) -> bool:
    """Whether some cell is a number."""
    return bool(_count_numbers(_candidates(texts)))


def _candidates(texts: pa.Array) -> pa.Array:
    """The cells whose first byte could begin a number."""
    offsets, data = _buffers(texts)
    filled = offsets[1:] > offsets[:-1]
    first = np.zeros(len(texts), dtype=bool)
    starts = offsets[:-1][filled]
    maybe = _FIRST[data[starts]]
    letters = data[starts] >= 0x49  # i, I, n, N: only "inf" and "nan" are numbers, and many words begin so
    if letters.any():
        second = data[np.minimum(starts + 1, len(data) - 1)] | 0x20
        maybe &= ~letters | (second == 0x6E) | (second == 0x61)
    first[filled] = maybe
    return texts.take(pa.array(np.flatnonzero(first)))


def _count_numbers(candidates: pa.Array) -> int:
    if not len(candidates):
        return 0
    matched = pc.match_substring_regex(candidates, f"^(?:{_NUMBER_PATTERN})$")
    # RE2's $ is the end of the text, as wanted; a null cell is none.
    return cast(int, pc.sum(pc.cast(matched, pa.int64())).as_py() or 0)


def _buffers(texts: pa.Array) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """Offsets of a string array (its slice taken into account) and its bytes; nulls have length 0."""
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int32, len(texts) + 1, texts.offset * 4)
    return ends, np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)


def _cast(texts: pa.Array) -> tuple[Kind, pa.Array] | None:
    """Arrow's conversion of a column of numbers, None where it might not agree with the rule.

    Arrow cuts blanks behind a number and reads hexadecimal integers as signed; both are left to the rule.
    """
    offsets, data = _buffers(texts)
    filled = offsets[1:] > offsets[:-1]
    last = data[offsets[1:][filled] - 1]
    if (last <= 0x20).any() or pc.any(pc.match_substring_regex(texts, "[xX]")).as_py():
        return None
    try:
        return Kind.INTEGER, pc.cast(texts, pa.int64())
    except pa.ArrowInvalid:
        pass
    try:
        doubles = pc.cast(texts, pa.float64())
    except pa.ArrowInvalid:
        return None
    return (Kind.NUMBER, doubles) if plain_doubles(doubles) and not _integer_zeros(texts, doubles) else None


def plain_doubles(doubles: pa.Array | pa.ChunkedArray) -> bool:
    """Whether doubles stand for their texts: integers from 2^53, NaN and infinity need a look at the text."""
    values = np.asarray(pc.fill_null(doubles, 0.5))
    return bool((np.abs(values) < EXACT).all())  # 2^53 may be 2^53 + 1 rounded; false for NaN as well


def _integer_zeros(texts: pa.Array, doubles: pa.Array) -> bool:
    """Whether some cell is the integer -0, which is 0, while the number -0.0 keeps its sign."""
    values = np.asarray(pc.fill_null(doubles, 0.5))
    negative = np.flatnonzero((values == 0) & np.signbit(values))
    return any(_INTEGER.fullmatch(text) for text in texts.take(pa.array(negative)).to_pylist())


def _by_rule(texts: pa.Array) -> tuple[Kind, pa.Array]:
    coded = texts.dictionary_encode()
    atoms = [cell_atom(text) for text in coded.dictionary.to_pylist()]
    kind = common_kind(atoms)
    if kind is Kind.STRING:
        return kind, texts
    if kind is Kind.ANY:
        indices = coded.indices.to_pylist()
        return kind, any_array(None if index is None else atoms[index] for index in indices)
    types = {Kind.INTEGER: pa.int64(), Kind.UNSIGNED: pa.uint64(), Kind.NUMBER: pa.float64()}
    values = [float(atom) for atom in atoms] if kind is Kind.NUMBER else atoms  # type: ignore[arg-type]
    return kind, pa.array(values, types[kind]).take(coded.indices)


def common_kind(atoms: list[Atom]) -> Kind:
    """The narrowest kind that holds all of these non-null atoms exactly."""
    if not any(isinstance(atom, str) for atom in atoms):
        integers = [atom for atom in atoms if isinstance(atom, int)]
        if len(integers) == len(atoms):
            if all(-(2**63) <= number < 2**63 for number in integers):
                return Kind.INTEGER
            return Kind.UNSIGNED if all(number >= 0 for number in integers) else Kind.ANY
        return Kind.NUMBER if all(abs(number) <= EXACT for number in integers) else Kind.ANY
    return Kind.STRING if all(isinstance(atom, str) for atom in atoms) else Kind.ANY
