"""What the reference page and editors are told of a function, beside its code: everything here is tested."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

Example = tuple[str, str] | None
"""An expression, or a query whose one column is ``x``, and its result as JSON."""

Null = tuple[str, Example]
"""What the function makes of NULL, and an example of that."""

PROPAGATED: Null = ("NULL when an argument is NULL", None)
NO_ARGUMENTS: Null = ("", None)


class Noted(Protocol):
    """``signature`` is ``name(argument: type, …[, optional: type]) → type``.

    Types: any, atom, number, integer, boolean, text, timestamp, blob, path, row, embedding, table.
    """

    @property
    def name(self) -> str: ...
    @property
    def signature(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def example(self) -> Example: ...
    @property
    def null(self) -> Null: ...


@dataclass(frozen=True)
class Note:
    """A function that is no ``Builtin``: one that only some place of a query has, or that stands in FROM."""

    name: str
    signature: str
    summary: str
    example: Example = None
    null: Null = NO_ARGUMENTS
