"""From batches of rows to a feature space and a matrix (entity-types.md §6.5)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from server.errors import MldbError
from server.learning.columns import AtomPiece, BlockPiece, CellsPiece, Piece, Values, single
from server.learning.feature_space import Feature, FeatureSpace
from server.learning.matrix import Floats, Matrix, Sparse
from server.learning.seen_columns import SeenColumns, by_key, see_columns
from server.values import compute as pc
from server.values.cityhash import hash_path_texts
from server.values.natural import natural_order

_MAX_DENSE_CELLS = 1 << 28  # 1 GiB of float32
_DENSE_SHARE = 0.2  # share of present cells from which a dense matrix is the smaller one


@dataclass(frozen=True)
class _Part:
    """The pieces of one batch, and the number of its first row."""

    pieces: Sequence[Piece]
    first: int


def build(
    parts: Sequence[tuple[int, Sequence[Piece]]], row_name: Callable[[int], str], texts: Collection[str] = ()
) -> tuple[FeatureSpace, Matrix]:
    """The features of all batches; a part is the number of rows and the pieces of a batch.

    ``row_name`` gives the name of a row for the error that it has a column twice; ``texts`` names columns that are
    categories even where these batches have numbers only.
    """
    placed, count = [], 0
    for length, pieces in parts:
        placed.append(_Part(pieces, count))
        count += length
    seen = see_columns([piece for part in placed for piece in part.pieces], texts)
    names, present = seen.filled()
    order = natural_order(pa.array(names, pa.string()))
    names, present = [names[at] for at in order.tolist()], present[order]
    space = _space(names, (present < count).tolist(), seen)
    size = count * len(names)
    if size <= _MAX_DENSE_CELLS and (present.sum() >= _DENSE_SHARE * size or size <= 1 << 20):
        return space, _fill_dense(space, placed, count, row_name)
    return space, _fill_sparse(space, placed, count, row_name)


def _space(names: Sequence[str], optional: Sequence[bool], seen: SeenColumns) -> FeatureSpace:
    hashes = hash_path_texts(pa.array(names, pa.string())).tolist() if names else []
    categories = {name: tuple(sorted(texts)) for name, texts in seen.texts.items()}
    features = map(Feature, names, map(categories.get, names), optional, hashes)
    return FeatureSpace(tuple(features), seen.empty())


@dataclass
class Encoder:
    """Values of features as float32: numbers, or indexes of categories (-1: not seen in training)."""

    space: FeatureSpace
    codes: dict[int, dict[str, int]] = field(init=False)

    def __post_init__(self) -> None:
        self.codes = {feature: dict(known) for feature, known in self.space.categories.items()}

    def encode(self, feature: int, values: Values) -> Floats:
        """``MldbError`` for a text where training saw numbers only."""
        known = self.codes.get(feature)
        if known is None:
            self._refuse_text(feature, values)
            return single(values.numbers)
        out = np.full(len(values.numbers), np.nan, np.float32)
        if values.codes is not None:
            table = np.array([known.get(text, -1) for text in values.texts] + [np.nan], np.float32)
            out = table[values.codes]
        for at in np.flatnonzero(~np.isnan(values.numbers)).tolist():
            out[at] = known.get(values.text_of(at), -1)
        return out

    def _refuse_text(self, feature: int, values: Values) -> None:
        if values.codes is not None and (values.codes >= 0).any():
            text = values.texts[values.codes[values.codes >= 0][0]]
            name = self.space.features[feature].name
            raise MldbError(f"Value for column '{name}' was numeric in training, but is now \"{text}\"")


def take_values(values: Values, rows: NDArray[np.int64]) -> Values:
    return Values(values.numbers[rows], None if values.codes is None else values.codes[rows], values.texts)


def _duplicated(name: str, row: str) -> MldbError:
    return MldbError(
        f"Training dataset cannot have duplicated column '{name}' for row '{row}': it has several values, of "
        "which SELECT temporal_latest({*}) AS * takes the last"
    )


def _fill_dense(space: FeatureSpace, parts: Sequence[_Part], count: int, row_name: Callable[[int], str]) -> Floats:
    names = [feature.name for feature in space.features]
    blocks = [block for part in parts if (block := _only_block(part, names)) is not None]
    if len(blocks) == len(parts) > 0:
        with np.errstate(over="ignore"):
            return np.concatenate(blocks, dtype=np.float32)
    out = np.full((count, len(space)), np.nan, np.float32)
    encoder = Encoder(space)
    for part in parts:
        for piece in part.pieces:
            if isinstance(piece, BlockPiece):
                _put_block(out, space, part.first, piece)
            elif isinstance(piece, AtomPiece):
                feature = space.index.get(piece.name)
                if feature is not None:
                    _put_column(out, part.first, feature, encoder.encode(feature, piece.values), space, row_name)
            else:
                rows, features, values = encode_cells(piece, space, encoder)
                _put(out, part.first, rows, features, values, space, row_name)
    return out


def _only_block(part: _Part, names: list[str]) -> NDArray[Any] | None:
    """The numbers of a batch that is one embedding of all features, in their order."""
    only = part.pieces[0] if len(part.pieces) == 1 else None
    return only.numbers if isinstance(only, BlockPiece) and list(only.names) == names else None


def _put_block(out: Floats, space: FeatureSpace, first: int, piece: BlockPiece) -> None:
    places = np.array([space.index.get(name, -1) for name in piece.names])
    rows = slice(first, first + len(piece.numbers))
    known = places >= 0
    if known.all() and len(places) and (np.diff(places) == 1).all():
        out[rows, places[0] : places[-1] + 1] = piece.numbers
    else:
        out[rows, places[known]] = piece.numbers[:, known]


def _put_column(
    out: Floats, first: int, feature: int, values: Floats, space: FeatureSpace, row_name: Callable[[int], str]
) -> None:
    """A value for each row of a batch."""
    column = out[first : first + len(values), feature]
    taken = ~np.isnan(column)
    if not taken.any():
        column[:] = values
        return
    there = ~np.isnan(values)
    if (taken & there).any():
        at = first + int(np.flatnonzero(taken & there)[0])
        raise _duplicated(space.features[feature].name, row_name(at))
    column[there] = values[there]


def _put(
    out: Floats,
    first: int,
    rows: NDArray[np.int64],
    features: NDArray[np.int64],
    values: Floats,
    space: FeatureSpace,
    row_name: Callable[[int], str],
) -> None:
    there = ~np.isnan(values)
    rows, values, columns = rows[there] + first, values[there], features[there]
    taken = ~np.isnan(out[rows, columns]) | _repeated(rows, columns, out.shape[1])
    if taken.any():
        at = int(np.flatnonzero(taken)[0])
        raise _duplicated(space.features[columns[at]].name, row_name(int(rows[at])))
    out[rows, columns] = values


def _repeated(rows: NDArray[np.int64], columns: NDArray[np.int64], width: int) -> NDArray[np.bool_]:
    """Marks the entries whose row and column occurred before."""
    keys = rows * np.int64(width) + columns
    _, firsts = np.unique(keys, return_index=True)
    again = np.ones(len(keys), np.bool_)
    again[firsts] = False
    return again


def encode_cells(
    piece: CellsPiece, space: FeatureSpace, encoder: Encoder
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Row, feature and value of the cells whose column is a feature."""
    places = np.array([space.index.get(name, -1) for name in piece.names], np.int64)
    features = places[piece.columns] if len(places) else np.zeros(0, np.int64)
    chosen = np.flatnonzero((features >= 0) & piece.values.present)
    features, rows = features[chosen], piece.rows[chosen]
    values = take_values(piece.values, chosen)
    out = single(values.numbers)
    special = set(space.categories)
    if values.codes is not None:
        special.update(np.unique(features[values.codes >= 0]).tolist())
    marked = np.zeros(len(space), np.bool_)
    marked[list(special)] = True
    for feature, mine in by_key(features, marked[features]):
        out[mine] = encoder.encode(feature, take_values(values, mine))
    return rows, features, out


def _fill_sparse(space: FeatureSpace, parts: Sequence[_Part], count: int, row_name: Callable[[int], str]) -> Sparse:
    encoder = Encoder(space)
    found: list[tuple[NDArray[np.int64], NDArray[np.int64], Floats]] = []
    for part in parts:
        for piece in part.pieces:
            rows, features, values = _entries(piece, space, encoder)
            there = ~np.isnan(values)
            found.append((rows[there] + part.first, features[there], values[there]))
    rows, features, values = (np.concatenate(list(items)) for items in zip(*found, strict=True))
    order = np.argsort(rows * np.int64(len(space)) + features)
    rows, features, values = rows[order], features[order], values[order]
    again = (np.diff(rows) == 0) & (np.diff(features) == 0)
    if again.any():
        at = int(np.flatnonzero(again)[0])
        raise _duplicated(space.features[features[at]].name, row_name(int(rows[at])))
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=count))])
    return Sparse(starts, features.astype(np.int32), values, len(space))


def _entries(
    piece: Piece, space: FeatureSpace, encoder: Encoder
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    if isinstance(piece, CellsPiece):
        return encode_cells(piece, space, encoder)
    if isinstance(piece, AtomPiece):
        feature = space.index.get(piece.name)
        if feature is None:
            return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
        values = encoder.encode(feature, piece.values)
        return np.arange(len(values)), np.full(len(values), feature), values
    places = np.array([space.index.get(name, -1) for name in piece.names])
    known = np.flatnonzero(places >= 0)
    rows, columns = np.nonzero(~np.isnan(piece.numbers[:, known]))
    return rows, places[known[columns]], single(piece.numbers[rows, known[columns]])


def row_order(names: pa.ChunkedArray) -> NDArray[np.int64] | None:
    """The places of rows in the natural order of their names; None when they stand in it already."""
    if pc.all(_plain_numbers(names)).as_py() is not False:
        keys = names.cast(pa.int64()).to_numpy()
        return None if (np.diff(keys) >= 0).all() else np.argsort(keys, kind="stable")
    return natural_order(names.combine_chunks())


def _plain_numbers(names: pa.ChunkedArray) -> Any:
    """Which names are integers of 64 bits, without leading zeros."""
    length = pc.binary_length(names)
    digits = pc.and_(pc.string_is_ascii(names), pc.utf8_is_decimal(names))
    shape = pc.and_(pc.less(length, 19), pc.or_(pc.equal(length, 1), pc.invert(pc.starts_with(names, "0"))))
    return pc.and_(digits, shape)
