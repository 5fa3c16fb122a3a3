"""``tokenize``, ``token_extract`` and ``split_part`` (sql-dialect.md §8.3)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from server.errors import MldbError
from server.values.atoms import Atom

_FIELDS = {
    "splitChars": "split_chars", "splitchars": "split_chars",
    "quoteChar": "quote_char", "quotechar": "quote_char",
    "offset": "offset",
    "limit": "limit",
    "value": "value",
    "minTokenLength": "min_token_length", "min_token_length": "min_token_length",
    "ngramRange": "ngram_range", "ngram_range": "ngram_range",
}  # fmt: skip
_NGRAMS = "ngramRange values must be bigger than 0 and the second value needs to be equal or bigger than the first"


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """How a text is cut into tokens. ``limit`` -1 (or a null given) is no limit; ``value`` None counts the tokens."""

    split_chars: str = ","
    quote_char: str = ""
    offset: int = 0
    limit: int = -1
    value: Atom = None
    min_token_length: int = 1
    ngram_range: tuple[int, int] = (1, 1)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Tokenizer:
        """A tokenizer from its options, old names included; ``MldbError`` for unknown or senseless ones."""
        values: dict[str, Any] = {}
        for name, value in options.items():
            if name not in _FIELDS:
                raise MldbError(f"Unknown field '{name}' parsing tokenize configuration")
            field = _FIELDS[name]
            if field == "limit" and value is None:
                continue
            values[field] = _ngram_range(value) if field == "ngram_range" else _checked(name, field, value)
        return cls(**values)

    def tokens(self, text: str) -> list[str]:
        """The tokens of a text, within the window of ``offset`` and ``limit``."""
        found = self._all_tokens(text)[self.offset :]
        return found if self.limit < 0 else found[: self.limit]

    def _all_tokens(self, text: str) -> list[str]:
        found = (
            self._quoted(text)
            if self.quote_char and self.quote_char in text
            else _separator(self.split_chars).split(text)
        )
        return [token for token in found if len(token) >= self.min_token_length]

    def _quoted(self, text: str) -> Iterator[str]:
        separator = _separator(self.split_chars)
        at = 0
        while at <= len(text):
            token = ""
            if text.startswith(self.quote_char, at):
                end = text.find(self.quote_char, at + 1)
                if end < 0:
                    raise MldbError("string finished inside quote")
                token, at = text[at + 1 : end], end + 1
            found = separator.search(text, at)
            end = found.start() if found else len(text)
            yield token + text[at:end]
            at = end + 1

    def count(self, text: str) -> dict[str, Atom]:
        """``tokenize``: each token, or n-gram joined by ``_``, with its count or ``value``; in order of name.

        Empty tokens, which only a ``minTokenLength`` of 0 lets through, count for ``offset`` and ``limit`` alone.
        """
        tokens = [token for token in self.tokens(text) if token]
        counts: dict[str, int] = {}
        for size in range(self.ngram_range[0], self.ngram_range[1] + 1):
            for token in tokens if size == 1 else _ngrams(tokens, size):
                counts[token] = counts.get(token, 0) + 1
        if self.value is not None:
            return dict.fromkeys(sorted(counts), self.value)
        return {token: counts[token] for token in sorted(counts)}

    def extract(self, text: str, index: int) -> str | None:
        """``token_extract``: from 0 the token after ``offset``, without a limit; negative from the window's end.

        Where an empty token stands there, the next one that is not; from the end, none.
        """
        if index >= 0:
            return next(filter(None, self._all_tokens(text)[self.offset + index :]), None)
        tokens = self.tokens(text)
        return (tokens[index] or None) if -len(tokens) <= index else None


def _ngrams(tokens: list[str], size: int) -> Iterator[str]:
    return ("_".join(tokens[at : at + size]) for at in range(len(tokens) - size + 1))


@lru_cache(maxsize=64)
def _separator(characters: str) -> re.Pattern[str]:
    """Any one of the characters; of none, what no text has."""
    return re.compile(f"[{re.escape(characters)}]" if characters else r"(?!)")


def _checked(name: str, field: str, value: Any) -> Any:
    if field == "value":
        if not isinstance(value, Atom):
            raise MldbError("tokenize option 'value' must be an atom, such as a number or a text")
        return value
    if field in ("split_chars", "quote_char"):
        if not isinstance(value, str) or (field == "quote_char" and len(value) > 1):
            raise MldbError(
                f"tokenize option '{name}' must be a string" + " of one character" * (field == "quote_char")
            )
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        raise MldbError(f"tokenize option '{name}' must be an integer")
    if value < 0 and field != "limit":
        raise MldbError(f"tokenize option '{name}' must not be negative")
    return value


def _ngram_range(value: Any) -> tuple[int, int]:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise MldbError("ngramRange must be an embedding of two integers")
    low, high = value
    if not isinstance(low, int) or not isinstance(high, int) or low < 1 or high < low:
        raise MldbError(_NGRAMS)
    return low, high


def split_part(text: str, characters: str) -> list[str]:
    """All non-empty tokens of a text cut at any of the characters (not the ``split_part`` of other databases)."""
    return Tokenizer(split_chars=characters).tokens(text)
