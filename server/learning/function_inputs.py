"""What functions ask of the shape of their input, before any row comes."""

from __future__ import annotations

from collections.abc import Iterable

from server.errors import MldbError
from server.values.batches import Column, RowType
from server.values.kinds import Kind
from server.values.paths import Path, format_path


def row_input(path: Path, columns: Iterable[Column] = ()) -> RowType:
    """The input of a function that takes a row of any columns below a path, and nothing beside it.

    ``columns`` are those of the row that the function knows.
    """
    return RowType(tuple(columns) or (Column(path, Kind.ANY),), open=True, opened=(path,))


def require_row(given: RowType, path: Path) -> RowType:
    """What rows of this type have, or may have, below a path; ``MldbError`` when that is nothing."""
    below = given.under(path)
    if not below.columns and not given.open:
        raise MldbError(f"The function needs a row '{format_path(path)}' as input")
    return below


def require_atom(given: RowType, name: str, what: str) -> None:
    """``MldbError`` unless rows of this type have, or may have, a single value under a name."""
    column = given.column((name,))
    if column is None and not given.open:
        raise MldbError(f"The function needs a {what} '{name}' as input")
    if column is not None and column.shape is not None:
        raise MldbError(f"The input '{name}' must be a single {what}, not an embedding")
