"""The function ``tokensplit``: separators around known tokens of a text (entity-types.md §4.3)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pydantic import AliasChoices, Field

from server.declarations import Creation, EntityType, InputQuery, Params
from server.learning.cell_functions import TextFunction, TextMap
from server.procedures.validators import input_query
from server.transfer.results import named_rows


class TokensplitParams(Params):
    tokens: InputQuery = Field(description="Query whose values are the tokens")
    splitChars: str = Field(
        default=" ,",
        validation_alias=AliasChoices("splitChars", "splitchars"),
        description="Characters that separate tokens already",
    )
    splitCharToInsert: str = Field(
        default=" ",
        validation_alias=AliasChoices("splitCharToInsert", "splitcharToInsert"),
        description="What is inserted beside a token that nothing separates",
    )


def splitter(tokens: Iterable[str], separators: str, insert: str) -> TextMap:
    """Inserts around each token, the longest first where several match; a separated text comes back unchanged."""
    known = sorted({token for token in tokens if token}, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, known))) if known else None

    def split(text: str) -> str:
        parts: list[str] = []
        end = 0  # of what is in parts
        apart = True  # whether the text so far ends at a separation
        for match in pattern.finditer(text) if pattern is not None else ():
            between = text[end : match.start()]
            if between:
                parts.append(between)
                apart = between[-1] in separators
            end = match.end()
            after = "" if end == len(text) or text[end] in separators else insert
            parts += ["" if apart else insert, match[0], after]
            apart = bool(after)
        return "".join(parts) + text[end:]

    return split


def _create(creation: Creation) -> TextFunction:
    params: TokensplitParams = creation.params
    result = creation.services.query(input_query(creation.services, params.tokens))
    tokens = [
        str(cell.value) for _, row in named_rows(result, creation.progress) for cell in row if cell.value is not None
    ]
    return TextFunction("text", "output", splitter(tokens, params.splitChars, params.splitCharToInsert))


TYPES = [
    EntityType(
        "function",
        "tokensplit",
        TokensplitParams,
        "Inserts separators around known tokens of a text",
        _create,
        "`text` goes in, `output` comes out. Tokens are every value of every row of the query.",
    )
]
