"""The functions ``stemmer`` and ``stemmerdoc``: words reduced to their stems (entity-types.md §4.3)."""

from __future__ import annotations

import threading
from functools import lru_cache

from pydantic import Field

from server.declarations import Creation, EntityType, Params
from server.errors import MldbError
from server.learning.cell_functions import RowFunction, TextFunction, TextMap, words_function
from server.values.atoms import Atom
from server.values.batches import Cell, Row
from server.values.paths import Path

_WORDS_KEPT = 1 << 16  # stems that a function remembers: texts repeat their words


class StemmerParams(Params):
    language: str = Field(default="english", description="Language of the words, in English")


def stemmer_of(language: str) -> TextMap:
    """The stem of one word. The case of letters is kept."""
    import snowballstemmer

    if language not in snowballstemmer.algorithms():
        raise MldbError(f"language '{language}' not available for stemming in encoding 'utf8'")
    stemmers = threading.local()  # one keeps the word under work as its state: threads cannot share it

    @lru_cache(_WORDS_KEPT)
    def stem(word: str) -> str:
        if not hasattr(stemmers, "one"):
            stemmers.one = snowballstemmer.stemmer(language)
        return str(stemmers.one.stemWord(word))

    return stem


def stem_words(stem: TextMap, row: Row) -> Row:
    """Cells by stem: counts of words with the same stem are added up, a text counts 1."""
    totals: dict[Path, Cell] = {}
    for cell in row:
        if cell.value is None:
            continue
        path = (*cell.path[:-1], stem(cell.path[-1]))
        found = totals.setdefault(path, Cell(path, 0, cell.timestamp))
        found.value = _count(found.value) + _count(cell.value)
        found.timestamp = max(found.timestamp, cell.timestamp)
    return list(totals.values())


def _count(value: Atom) -> int | float:
    return value if isinstance(value, int | float) else 1


def stem_text(stem: TextMap, text: str) -> str:
    return " ".join(stem(word) for word in text.split())


def _create_stemmer(creation: Creation) -> RowFunction:
    stem = stemmer_of(creation.params.language)
    return words_function(lambda row: stem_words(stem, row))


def _create_stemmerdoc(creation: Creation) -> TextFunction:
    stem = stemmer_of(creation.params.language)
    return TextFunction("document", "document", lambda text: stem_text(stem, text), alone=True)


TYPES = [
    EntityType(
        "function",
        "stemmer",
        StemmerParams,
        "Reduces the words of a bag of words to their stems",
        _create_stemmer,
        "`words` is a row of words with their counts; the counts of words with the same stem are added up.",
    ),
    EntityType(
        "function", "stemmerdoc", StemmerParams, "Reduces the words of a text to their stems", _create_stemmerdoc
    ),
]
