"""Which feature columns hold texts anywhere in the dataset, whatever rows are trained on (entity-types.md §6.5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from server.declarations import Progress, QueryResult, Services
from server.learning.feature_reader import FEATURES
from server.sql.tree import Select
from server.values.batches import RowBatch, RowType, one_array
from server.values.cells import type_codes
from server.values.kinds import TAGS, Kind
from server.values.paths import format_path

_TEXT_CODES = [TAGS.index(tag) for tag in "sp"]


def columns_with_texts(services: Services, select: Select, result: QueryResult, progress: Progress) -> list[str]:
    """Names of the features that some row has as a text, be it selected or not.

    Nothing is read unless rows are left out and the query cannot tell the kind of a feature beforehand. ``result``
    is the bound query.
    """
    if not _leaves_out_rows(select) or not _doubtful(result.type.under(FEATURES)):
        return []
    whole = replace(select, where=None, when=None, order_by=(), limit=None, offset=0)
    found: set[str] = set()
    for batch in services.query(whole).batches(progress):
        found.update(_texts_of(batch.rows.under(FEATURES)))
    return sorted(found)


def _leaves_out_rows(select: Select) -> bool:
    return bool(select.where or select.when or select.limit is not None or select.offset)


def _doubtful(features: RowType) -> bool:
    return features.open or any(column.kind is Kind.ANY for column in features.columns)


def _texts_of(rows: RowBatch) -> Iterator[str]:
    for column, array in zip(rows.type.columns, rows.values, strict=True):
        if column.kind is Kind.ANY and column.shape is None and _are_texts(one_array(array)).any():
            yield format_path(column.path)
    if rows.rest is not None:
        cells = one_array(rows.rest).flatten()
        texts = pa.array(_are_texts(cells.field("v")))
        yield from cells.field("p").filter(texts).unique().to_pylist()


def _are_texts(values: Any) -> NDArray[np.bool_]:
    """Which atoms of a union are texts."""
    if not pa.types.is_union(values.type):
        return np.zeros(len(values), np.bool_)
    codes = type_codes(values)
    texts = np.zeros(len(values), np.bool_)
    for code in _TEXT_CODES:
        texts |= (codes == code) & values.field(code).is_valid().to_numpy(zero_copy_only=False)
    return texts
