"""``BatFrame.ix``: rows by name."""

from __future__ import annotations

from typing import Any


def row_condition(names: list[str]) -> str:
    """The condition that picks rows by name."""
    quoted = (name.replace("'", "''") for name in names)
    return "(" + " OR ".join(f"rowName()='{name}'" for name in quoted) + ")"


class Index:
    """``frame.ix["row"]``, ``frame.ix[["row", "other"]]``, ``frame.ix["row", "column"]``."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame

    def __getitem__(self, val: Any) -> Any:
        if isinstance(val, tuple):
            if len(val) != 2:
                raise IndexError("too many indexers: there are rows and columns")
            return self[val[0]][val[1]]
        names = [val] if isinstance(val, str) else val
        if not isinstance(names, list):
            raise TypeError(f"rows are indexed by name or a list of names, not by {val!r}")
        frame = self._frame.copy()
        frame.query.addWHERE(row_condition(names), "AND")
        return frame
