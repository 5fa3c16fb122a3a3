"""Values sorted into the value tables of a sparse dataset: ``int``, ``num``, ``str`` and ``any``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntFlag

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from server.values import compute as pc
from server.values.arrow_types import ANY_ARROW, ANY_MEMBERS
from server.values.cells import type_codes
from server.values.kinds import EXACT, KIND_OF_TAG, TAGS, Kind

STORES = ("int", "num", "str", "any")
STORE_TYPES = {"int": pa.int64(), "num": pa.float64(), "str": pa.string(), "any": ANY_ARROW}


class Seen(IntFlag):
    """What values a column has held; kept in ``_cols.seen``."""

    INTEGER = 1
    NUMBER = 2  # some value in the table of doubles
    STRING = 4
    TIMESTAMP = 8
    INTERVAL = 16
    BLOB = 32
    PATH = 64
    UNSIGNED = 128
    NULL = 256
    WIDE = 512  # some integer that a double cannot hold


_KIND_OF = {
    Seen.INTEGER: Kind.INTEGER,
    Seen.NUMBER: Kind.NUMBER,
    Seen.INTEGER | Seen.NUMBER: Kind.NUMBER,
    Seen.STRING: Kind.STRING,
    Seen.TIMESTAMP: Kind.TIMESTAMP,
    Seen.INTERVAL: Kind.INTERVAL,
    Seen.BLOB: Kind.BLOB,
    Seen.PATH: Kind.PATH,
    Seen.UNSIGNED: Kind.UNSIGNED,
    Seen(0): Kind.NULL,
}
_ANY_STORED = Seen.TIMESTAMP | Seen.INTERVAL | Seen.BLOB | Seen.PATH | Seen.UNSIGNED | Seen.NULL


def kind_of(seen: Seen) -> Kind:
    """The one kind of a column's values, nulls aside; ANY when there are several."""
    values = seen & ~Seen.NULL
    if values == Seen.INTEGER | Seen.WIDE:
        return Kind.INTEGER
    return _KIND_OF.get(values, Kind.ANY)


def stores_of(seen: Seen) -> frozenset[str]:
    """The value tables that hold cells of a column."""
    flags = ((Seen.INTEGER, "int"), (Seen.NUMBER, "num"), (Seen.STRING, "str"), (_ANY_STORED, "any"))
    return frozenset(store for flag, store in flags if seen & flag)


@dataclass(frozen=True, slots=True)
class Part:
    """Values that go to one store. ``where``: their positions in the array they came from, None for all of it."""

    store: str
    seen: Seen
    values: pa.Array
    where: npt.NDArray[np.int64] | None


def split(values: pa.Array, kind: Kind) -> Iterator[Part]:
    """Sort an array of a kind's Arrow type into stores; a null is an explicit NULL in ``any``."""
    if kind in (Kind.ANY, Kind.NULL):
        yield from _split_any(values)
        return
    if values.null_count == len(values):
        yield from _nulls(np.arange(len(values)))
        return
    where = None
    if values.null_count:
        present = pc.is_valid(values).to_numpy(zero_copy_only=False)
        yield from _nulls(np.flatnonzero(~present))
        where = np.flatnonzero(present)
        values = values.drop_null()
    yield from _SPLITTERS.get(kind, _split_tagged)(values, kind, where)


def _nulls(where: npt.NDArray[np.int64]) -> Iterator[Part]:
    if len(where):
        yield Part("any", Seen.NULL, tagged("n", pa.nulls(len(where), pa.float64())), where)


def _split_integers(values: pa.Array, kind: Kind, where: npt.NDArray[np.int64] | None) -> Iterator[Part]:
    if kind is Kind.UNSIGNED and pc.max(values).as_py() >= 2**63:
        yield from _split_unsigned(values, where)
        return
    integers = values.cast(pa.int64())
    limits = pc.min_max(integers).as_py()
    wide = limits["min"] < -EXACT or limits["max"] > EXACT
    yield Part("int", Seen.INTEGER | Seen.WIDE if wide else Seen.INTEGER, integers, where)


def _split_unsigned(values: pa.Array, where: npt.NDArray[np.int64] | None) -> Iterator[Part]:
    large = values.to_numpy() >= np.uint64(2**63)
    places = np.arange(len(values)) if where is None else where
    yield Part("any", Seen.UNSIGNED, tagged("u", values.filter(pa.array(large))), places[large])
    if not large.all():
        yield from _split_integers(values.filter(pa.array(~large)), Kind.INTEGER, places[~large])


def _split_numbers(values: pa.Array, _kind: Kind, where: npt.NDArray[np.int64] | None) -> Iterator[Part]:
    """Doubles that are all small whole numbers are stored as integers: they compare, print and hash alike."""
    numbers = values.to_numpy(zero_copy_only=False)
    if np.all((np.abs(numbers) <= EXACT) & (np.floor(numbers) == numbers)):
        yield Part("int", Seen.INTEGER, pa.array(numbers.astype(np.int64)), where)
    else:
        yield Part("num", Seen.NUMBER, values, where)


def _split_strings(values: pa.Array, _kind: Kind, where: npt.NDArray[np.int64] | None) -> Iterator[Part]:
    yield Part("str", Seen.STRING, values, where)


_TAGGED = {
    Kind.TIMESTAMP: ("t", Seen.TIMESTAMP),
    Kind.INTERVAL: ("v", Seen.INTERVAL),
    Kind.BLOB: ("b", Seen.BLOB),
    Kind.PATH: ("p", Seen.PATH),
}


def _split_tagged(values: pa.Array, kind: Kind, where: npt.NDArray[np.int64] | None) -> Iterator[Part]:
    tag, seen = _TAGGED[kind]
    yield Part("any", seen, tagged(tag, values), where)


_SPLITTERS = {
    Kind.BOOLEAN: _split_integers,
    Kind.INTEGER: _split_integers,
    Kind.UNSIGNED: _split_integers,
    Kind.NUMBER: _split_numbers,
    Kind.STRING: _split_strings,
}


def _split_any(values: pa.Array) -> Iterator[Part]:
    if not pa.types.is_union(values.type):
        yield from _nulls(np.arange(len(values)))
        return
    codes = type_codes(values)
    for code, tag in enumerate(TAGS):
        places = np.flatnonzero(codes == code)
        if len(places):
            member = values.field(code).take(pa.array(places))
            for part in split(member, KIND_OF_TAG[tag]):
                yield Part(part.store, part.seen, part.values, places if part.where is None else places[part.where])


def tagged(tag: str, values: pa.Array) -> pa.Array:
    """An ``ANY`` array whose values all have one tag."""
    count = len(values)
    codes = pa.array(np.full(count, TAGS.index(tag), np.int8))
    children = [
        values.cast(member.type) if member.name == tag else pa.nulls(count, member.type) for member in ANY_MEMBERS
    ]
    return pa.UnionArray.from_sparse(codes, children, field_names=list(TAGS))
