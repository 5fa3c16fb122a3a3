"""Declared parameters of routes, and how their texts are read (rest-api.md §3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from server.errors import MldbError

Where = Literal["query", "hybrid", "body"]


def text(value: str) -> str:
    return value


def boolean(value: str) -> bool:
    word = value.lower()
    if word in ("true", "1"):
        return True
    if word in ("false", "0"):
        return False
    raise MldbError(
        f"Attempting to interpret REST parameter value '{value}' as a boolean: "
        "use true, false, 1 or 0 in any letter case"
    )


def integer(value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise MldbError(f"Attempting to interpret REST parameter value '{value}' as an integer") from None


@dataclass(frozen=True, slots=True)
class Param:
    """A declared parameter. ``parse`` reads its text in the query string; in a JSON body all but booleans and integers
    are taken as they are."""

    name: str
    default: Any = None
    parse: Callable[[str], Any] = text
    help: str = ""
    where: Where = "query"

    def of_json(self, value: Any) -> Any:
        """The value of a member of the body; null is none."""
        if self.parse not in (boolean, integer):
            return value
        return self.default if value is None else self.parse(str(value))


def hybrid(name: str, default: Any, parse: Callable[[str], Any], help: str) -> Param:
    """A parameter of the query string or of the JSON body."""
    return Param(name, default, parse, help, "hybrid")


def body(name: str, help: str) -> Param:
    """A member of the JSON body; declared for the help, read by the handler."""
    return Param(name, None, text, help, "body")
