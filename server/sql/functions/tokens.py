"""``tokenize``, ``token_extract`` and ``split_part`` as SQL functions (sql-dialect.md §8.3)."""

from __future__ import annotations

from functools import lru_cache

from server.errors import MldbError
from server.sql import coerce
from server.sql.bound import Open, Value, timestamp_of
from server.sql.functions.registry import (
    Builtin,
    cells_or_null,
    direct,
    fixed_row,
    integer_argument,
    result,
    routine,
)
from server.sql.functions.tokenizer import Tokenizer, split_part
from server.sql.routines import CELLS, DATED, TEXTS
from server.sql.scope import Scope
from server.sql.tasks import TASK_SQL
from server.sql.tree import Call
from server.values.atoms import NEVER, Timestamp
from server.values.batches import Cell
from server.values.cells import DatedRow, nested
from server.values.kinds import Kind


def _options(value: Value | None, scope: Scope) -> str:
    """The options as SQL cells, checked now where they are constant."""
    if value is None:
        return "[]"
    cells = fixed_row(value, scope)
    if cells is not None:
        _tokenizer(_frozen(cells))
    return cells_or_null(value)


def _frozen(cells: list[Cell]) -> tuple[tuple[tuple[str, ...], object], ...]:
    return tuple((cell.path, cell.value) for cell in cells)


@lru_cache(maxsize=64)
def _tokenizer(options: tuple[tuple[tuple[str, ...], object], ...]) -> Tokenizer:
    found = nested([Cell(path, value) for path, value in options])  # type: ignore[arg-type]
    if not isinstance(found, dict):
        raise MldbError("the options of tokenize must be a row")
    return Tokenizer.of(found)


def _tokenize(node: Call, args: list[Value], scope: Scope) -> Value:
    options = _options(args[1] if len(args) == 2 else None, scope)
    text, when = coerce.to_text(args[0]), timestamp_of(args[0])
    return Open(scope.stage(f"s_tokenize({TASK_SQL}, {text}, {options}, {when})"))


def count_tokens(text: str | None, options: list[Cell] | None, when: Timestamp | None) -> DatedRow:
    """The tokens and how often each occurs; of NULL, a null."""
    seconds = NEVER if when is None else when.seconds
    if text is None:
        return {(): None}, seconds
    counts = _tokenizer(_frozen(options or [])).count(text)
    return {(token,): count for token, count in counts.items()}, seconds


def _token_extract(node: Call, args: list[Value], scope: Scope) -> Value:
    options = _options(args[2] if len(args) == 3 else None, scope)
    index = integer_argument(args[1], node.name)
    return result(f"s_token_extract({TASK_SQL}, {coerce.to_text(args[0])}, {index}, {options})", Kind.STRING, args)


def extract_token(text: str | None, index: int | None, options: list[Cell] | None) -> str | None:
    if text is None or index is None:
        return None
    return _tokenizer(_frozen(options or [])).extract(text, index)


_SPLIT_PART = routine("split_part", (Kind.STRING, Kind.STRING), TEXTS, split_part, slow=True)

ROUTINES = [
    routine("tokenize", (Kind.STRING, CELLS, Kind.TIMESTAMP), DATED, count_tokens, strict=False, slow=True),
    routine("token_extract", (Kind.STRING, Kind.INTEGER, CELLS), Kind.STRING, extract_token, strict=False, slow=True),
    _SPLIT_PART,
]

BUILTINS = [
    Builtin(
        "tokenize(text: atom[, options: row]) → row",
        "A row with a column for each token of a text, holding how often it occurs. Options: splitChars, "
        "quoteChar, offset, limit, value, minTokenLength, ngramRange.",
        ("tokenize('a b b', {splitChars: ' '})", '{"a": 1, "b": 2}'),
        bind=_tokenize,
        null=("NULL for NULL; options that are NULL are as if left out", ("tokenize('a,b', NULL)", '{"a": 1, "b": 1}')),
    ),
    Builtin(
        "token_extract(text: atom, n: integer[, options: row]) → text",
        "The token number n (from 0; negative: from the end) of a text.",
        ("token_extract('a,b,c', 1)", '"b"'),
        bind=_token_extract,
    ),
    direct(
        _SPLIT_PART,
        "split_part(text: atom, characters: text) → embedding",
        "All tokens of a text that are not empty, cut at any of the characters.",
        ("split_part('a,b;c', ',;')", '["a", "b", "c"]'),
    ),
]
