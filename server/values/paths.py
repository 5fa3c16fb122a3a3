"""Row and column names: sequences of path elements (sql-dialect.md §3).

A path is a plain ``tuple[str, ...]``. Its *text* is the elements joined by dots, an element quoted when it is
empty or holds a dot, a quote or a control character. The text is canonical: it is what DuckDB stores and compares.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from server.errors import MldbError

Path = tuple[str, ...]

_NEEDS_QUOTES = re.compile(r'[\x00-\x1f".]')
_CONTROL = re.compile(r"[\x00-\x1f]")
_DIGITS = re.compile(r"([0-9]+)")
_RAISED = bytes(min(byte + 1, 255) for byte in range(256))  # 0 is left for the end of an element


def quote_element(element: str) -> str:
    """The text of one element: bare, or in double quotes with inner quotes doubled."""
    if element and not _NEEDS_QUOTES.search(element):
        return element
    return '"' + element.replace('"', '""') + '"'


def format_path(path: Path) -> str:
    """The canonical text of a path."""
    if len(path) == 1:
        return quote_element(path[0])
    return ".".join(map(quote_element, path))


def parse_path(text: str) -> Path:
    """Split a path's text into its elements; ``MldbError`` for quoting mistakes and control characters."""
    if '"' not in text and not _has_control(text):
        return tuple(text.split("."))
    elements: list[str] = []
    at = 0
    while True:
        element, at = _parse_element(text, at)
        elements.append(element)
        if at == len(text):
            return tuple(elements)
        if text[at] != ".":
            raise MldbError(f"expected '.' between elements in Path, got Unicode {ord(text[at])}")
        at += 1


def _has_control(text: str) -> bool:
    return _CONTROL.search(text) is not None


def _parse_element(text: str, at: int) -> tuple[str, int]:
    if at < len(text) and text[at] == '"':
        return _parse_quoted(text, at)
    end = text.find(".", at)
    end = len(text) if end < 0 else end
    element = text[at:end]
    if '"' in element:
        raise MldbError(f"invalid char in PathElement '{element}'.  Quotes must be doubled.")
    if _has_control(element):
        raise MldbError(
            f"invalid char in PathElement '{element}'.  Special characters must be quoted and nulls are not accepted."
        )
    return element, end


def _parse_quoted(text: str, at: int) -> tuple[str, int]:
    parts: list[str] = []
    start = at + 1
    while True:
        end = text.find('"', start)
        if end < 0:
            raise MldbError(f"PathElement terminated incorrectly: {text[at:]}")
        parts.append(text[start:end])
        if text[end + 1 : end + 2] != '"':
            break
        parts.append('"')
        start = end + 2
    element = "".join(parts)
    if "\0" in element:
        raise MldbError("invalid char in PathElement.  Special characters must be quoted and nulls are not accepted.")
    return element, end + 1


def element_key(element: str) -> bytes:
    """A sort key for the natural order of one element: digit runs compare as numbers, the rest byte by byte."""
    simple = _WORD_AND_NUMBER.fullmatch(element)
    if simple is not None:
        return _word_and_number(*simple.groups())
    parts: list[bytes] = []
    for number, piece in enumerate(_DIGITS.split(element)):
        if number % 2:
            # An equal number with fewer leading zeros is the larger one; digits sort where their first byte would.
            digits = piece.lstrip("0").encode()
            parts += (_start(len(digits)), digits, _end(len(piece)))
        elif piece:
            parts.append(_encoded(piece))
    return b"".join(parts)


def _start(digits: int) -> bytes:
    return b"\x31" + digits.to_bytes(4)


def _end(digits: int) -> bytes:
    return (2**32 - 1 - digits).to_bytes(4)


def _encoded(piece: str) -> bytes:
    return piece.encode("utf-8", "surrogatepass").translate(_RAISED)


# Most columns of which there are many have names like this; they are elements and paths at once.
_WORD_AND_NUMBER = re.compile(r'([^\x00-\x1f".0-9]*)([1-9][0-9]{0,18})')
_STARTS, _ENDS = list(map(_start, range(20))), list(map(_end, range(20)))


def _word_and_number(word: str, digits: str) -> bytes:
    length = len(digits)
    return b"%b%b%b%b" % (_encoded(word), _STARTS[length], digits.encode(), _ENDS[length])


def refuse_nul(kind: str, name: str) -> None:
    """``MldbError`` for the name of a row or a column that holds a NUL: nobody could name it to read it again."""
    if "\0" in name:
        shown = name.replace("\0", "\\0")
        raise MldbError(
            f"The {kind} name {shown} holds a NUL character, which no name may: give another one (AS for columns, "
            "NAMED for rows), or take the character out of the texts that become names"
        )


def common_prefix(paths: Sequence[Path]) -> Path:
    """The elements that all paths begin with; at least one element of each is left."""
    first, shortest = paths[0], min(map(len, paths)) - 1
    size = 0
    while size < shortest and len({path[size] for path in paths}) == 1:
        size += 1
    return first[:size]


def element_paths(shape: Iterable[int]) -> list[Path]:
    """The paths of the elements of an embedding of this shape, row-major: ``0.0``, ``0.1``, …"""
    paths: list[Path] = [()]
    for size in shape:
        paths = [(*path, str(index)) for path in paths for index in range(size)]
    return paths


def element_names(paths: Sequence[Path]) -> tuple[Path, tuple[Path, ...] | None]:
    """What paths have in common, and what each adds to it; None where that is 0, 1, 2, …"""
    prefix = common_prefix(paths)
    names = tuple(path[len(prefix) :] for path in paths)
    return prefix, None if list(names) == element_paths([len(names)]) else names


def natural_key(path: Path) -> bytes:
    """A sort key for the natural order of paths (sql-dialect.md §3.2): ``x2`` before ``x10``."""
    return b"".join([element_key(element) + b"\0" for element in path])


def natural_key_of(text: str) -> bytes:
    """``natural_key`` of the path of a text."""
    simple = _WORD_AND_NUMBER.fullmatch(text)
    return natural_key(parse_path(text)) if simple is None else _word_and_number(*simple.groups()) + b"\0"
