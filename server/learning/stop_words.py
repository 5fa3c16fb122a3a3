"""The function ``filter_stopwords``: a bag of words without those that every text has (entity-types.md §4.3)."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from pydantic import Field

from server.declarations import Creation, EntityType, Params
from server.errors import MldbError
from server.learning.cell_functions import RowFunction, words_function
from server.values.batches import Row


class StopWordsParams(Params):
    language: str = Field(default="english", description="Language of the words; english is known")


@cache
def stop_words(language: str) -> frozenset[str]:
    """The stop words of a language, in lower case; ``MldbError`` for a language without a list."""
    if language != "english":
        raise MldbError(f"Unsupported language: {language}. There is a list of stop words for english")
    return frozenset((files("server.learning") / "stop_words.txt").read_text("utf-8").split())


def without(words: frozenset[str], row: Row) -> Row:
    """The cells of a row whose column is no stop word, in whatever case."""
    return [cell for cell in row if cell.path[-1].lower() not in words]


def _create(creation: Creation) -> RowFunction:
    words = stop_words(creation.params.language)
    return words_function(lambda row: without(words, row))


TYPES = [
    EntityType(
        "function",
        "filter_stopwords",
        StopWordsParams,
        "Takes stop words out of a bag of words",
        _create,
        "`words` is a row whose columns are the words, in any case; those of MySQL's full-text list are left out.",
    )
]
