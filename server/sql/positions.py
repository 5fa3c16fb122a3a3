"""Places in a query's text: as numbers for editors, and with a caret for people (sql-dialect.md §12)."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from server.errors import MldbError

WIDEST_LINE = 160  # characters of a line that are shown with a caret
_LONGEST = 4000  # characters of a text that its error repeats: who made a longer one by a program has it


def place(text: str, offset: int, length: int = 1) -> dict[str, Any]:
    """``line`` and ``column`` (from 1), ``offset`` (from 0) and ``length`` in characters, and ``caret``.

    ``caret`` is the line of the text with a line of carets under the place.
    """
    start = text.rfind("\n", 0, offset) + 1
    line = text[start:].partition("\n")[0]
    column = offset - start
    cut = max(0, column - WIDEST_LINE // 2)
    shown = line[cut : cut + WIDEST_LINE]
    marks = "^" * max(1, min(length, len(shown) - (column - cut)))
    caret = f"{shown}\n{' ' * (column - cut)}{marks}"
    return {
        "line": text.count("\n", 0, offset) + 1, "column": column + 1, "offset": offset, "length": length,
        "caret": caret,
    }  # fmt: skip


def repeated(text: str) -> str:
    """A text as its errors begin with it."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def located(error: MldbError, text: str) -> MldbError:
    """The error with the place of its span in its details, where it has one."""
    if error.span is not None and "offset" not in error.details:
        start, end = error.span
        error.details |= place(text, start, end - start)
    return error


def did_you_mean(name: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """`` Did you mean 'x'?`` with the known name that is nearest, empty where none is near.

    ``likeness`` is how much alike two names must be, from 0 to 1.
    """
    others = [other for other in known if other != name]
    near = [other for other in others if other.casefold() == name.casefold()] or get_close_matches(
        name, others, 1, likeness
    )
    return f" Did you mean '{near[0]}'?" if near else ""
