"""A label must not be among its own features (entity-types.md §3.11)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from server.errors import MldbError
from server.sql.tree import ColumnRef, Expression, Select, SubSelect, Wildcard
from server.values.batches import RowType, iterate_paths
from server.values.paths import Path, format_path, natural_key


def known_features(features: RowType) -> list[Path]:
    """The paths of the features that are known before any row is read."""
    return [path for column in features.columns for path in iterate_paths(column)]


def refuse_label_as_feature(label: Expression | None, features: Iterable[Path], *, by_prefix: bool) -> None:
    """``MldbError`` naming the first feature, in column order, that the label's expression reads.

    ``by_prefix`` (multilabel): reading ``label`` reads every column below it as well.
    """
    reads = list(_reads(label))
    if not reads:
        return
    for name in sorted(features, key=natural_key):
        for path, wildcard in reads:
            _refuse(name, path, wildcard, by_prefix)


def _refuse(name: Path, read: Path, wildcard: bool, by_prefix: bool) -> None:
    clash = name[: len(read)] == read if wildcard or by_prefix else name == read
    if clash:
        because = f" because of label wildcard '{format_path(read)}'" if wildcard else ""
        raise MldbError(f"Dataset column '{format_path(name)}' cannot be used in both label and feature{because}")


def _reads(node: Any) -> Iterator[tuple[Path, bool]]:
    """Columns that an expression reads, and whether each is a wildcard's prefix."""
    if isinstance(node, ColumnRef):
        yield node.path, False
    elif isinstance(node, Wildcard):
        if node.prefix:
            yield node.prefix, True
    elif isinstance(node, tuple):
        for part in node:
            yield from _reads(part)
    elif is_dataclass(node) and not isinstance(node, Select | SubSelect):
        for item in fields(node):
            yield from _reads(getattr(node, item.name))
