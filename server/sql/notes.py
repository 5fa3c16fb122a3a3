"""What the reference page and editors are told of a function, beside its code: everything here is tested."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

Example = tuple[str, str] | None
"""An expression, or a query whose one column is ``x``, and its result as JSON."""

Null = tuple[str, Example]
"""What the function makes of NULL, and an example of that."""

PROPAGATED: Null = ("NULL when an argument is NULL", None)
NO_ARGUMENTS: Null = ("", None)


@dataclass(frozen=True)
class Note:
    """``signature`` is ``name(argument: type, …[, optional: type]) → type``; ``, …`` at the end: any number of them.

    Types: any, atom, number, integer, boolean, text, timestamp, blob, path, row, embedding, table.
    """

    signature: str
    summary: str
    example: Example = None
    null: Null = NO_ARGUMENTS

    @cached_property
    def name(self) -> str:
        return self.signature.partition("(")[0]
