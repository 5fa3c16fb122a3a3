"""Tokens of the dialect (sql-dialect.md §4.1): one compiled pattern cuts a text into parallel lists.

A dotted name is one token (``x."hello.world".z``); what keyword a word is, if any, only its place in the grammar tells.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

from server.errors import MldbError
from server.sql.positions import place, repeated
from server.sql.remedies import CHARACTERS
from server.values.paths import Path

NAME, NUMBER, STRING, PARAMETER, OPERATOR, END = range(6)

_IDENTIFIER = r'(?:[A-Za-z_]\w*|"[^"]*(?:""[^"]*)*")'
_BLANK = r"\s*(?:(?:--[^\n]*|/\*.*?\*/)\s*)*"
_TOKEN = re.compile(
    rf"""({_BLANK})(
        {_IDENTIFIER}(?:\.{_IDENTIFIER})*
      | (?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?
      | '[^']*(?:''[^']*)*'
      | \$(?:[0-9]+|{_IDENTIFIER})
      | <=|>=|<>|!=|!>|!<|/\*
      | .
      | \Z
    )""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_ELEMENT = re.compile(r'"((?:[^"]|"")*)"|([A-Za-z_][A-Za-z0-9_]*)')


class SqlSyntaxError(MldbError):
    """A text is not of the dialect. Raised by the functions of ``server.sql.parser``.

    The message is ``<text>:<line>:<column>: <what was expected>`` (§12), of a long text its beginning; ``details`` is
    the ``place``.
    """

    def __init__(self, text: str, offset: int, expected: str, length: int = 1) -> None:
        where = place(text, offset, length)
        super().__init__(f"{repeated(text)}:{where['line']}:{where['column']}: {expected}", details=where)


@dataclass(slots=True)
class Tokens:
    """The tokens of a text, one index across all lists; the last token is ``END``.

    ``keys`` holds what the grammar compares: the word in lower case for a bare undotted name, the text of an
    operator, ``"`` for any other name, ``0`` for a number, ``'`` for a string, ``$`` for a parameter, and the
    empty text at the end.
    """

    text: str
    kinds: list[int]
    keys: list[str]
    starts: list[int]
    ends: list[int]


_OPERATORS = frozenset(("<=", ">=", "<>", "!=", "!>", "!<", *"/-+*%&|^~@=<>()[]{},:."))
_QUOTES = frozenset(("'", '"', "$"))  # tokens that are cut to one character were not closed
_OTHER_KINDS = {"'": (STRING, "'"), "$": (PARAMETER, "$"), ".": (NUMBER, "0"), "": (END, "")}
_OTHER_KINDS |= dict.fromkeys("0123456789", (NUMBER, "0"))
_NAME_STARTS = frozenset('_"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ')


def tokenize(text: str) -> Tokens:
    """Cut a text; ``SqlSyntaxError`` for what is not closed, and for a character outside the dialect."""
    kinds: list[int] = []
    keys: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    at = 0
    if not text.isascii():
        _check_characters(text)
    for blank, word in _TOKEN.findall(text):
        at += len(blank)
        starts.append(at)
        if word in _OPERATORS:
            kind, key = OPERATOR, word
        elif word[:1] in _NAME_STARTS and word != '"':
            kind, key = NAME, '"' if "." in word or '"' in word else word.lower()
        else:
            if word in _QUOTES or word[:1] not in _OTHER_KINDS:
                _fail_at(text, at)
            kind, key = _OTHER_KINDS[word[:1]]
        kinds.append(kind)
        keys.append(key)
        at += len(word)
        ends.append(at)
        if kind == END:
            break
    return Tokens(text, kinds, keys, starts, ends)


def _check_characters(text: str) -> None:
    """Half a surrogate pair is in no text, though JSON can escape it; names and texts come back in the result."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        clean = text.encode(errors="replace").decode()
        raise SqlSyntaxError(clean, error.start, "Half of a surrogate pair is no character") from None


def _fail_at(text: str, at: int) -> NoReturn:
    if text.startswith("/*", at):
        raise SqlSyntaxError(text, at + 2, "No closing */ for comment")
    if text[at] in "'\"":
        raise SqlSyntaxError(text, at + 1, "No closing quote character for string")
    if text[at] == "$":
        raise SqlSyntaxError(text, at + 1, "Expected identifier after $")
    remedy = CHARACTERS.get(text[at])
    if text[at] > "~":
        remedy = "write names with other characters than A-Z, a-z, 0-9 and _ in double quotes"
    raise SqlSyntaxError(text, at, f"Unexpected character '{text[at]}'" + (f"; {remedy}" if remedy else ""))


def split_name(name: str) -> Path:
    """The elements of a name token, quotes removed."""
    if '"' not in name:
        return tuple(name.split("."))
    return tuple(
        bare if bare else quoted.replace('""', '"')
        for quoted, bare in (found.groups(default="") for found in _ELEMENT.finditer(name))
    )
