from __future__ import annotations

import pytest

from server.errors import MldbError
from server.sql.functions.tokenizer import Tokenizer, split_part


@pytest.mark.parametrize(
    ("text", "options", "tokens"),
    [
        ("a,b,c,a", {}, {"a": 2, "b": 1, "c": 1}),
        ("a b c a", {"splitChars": " …"}, {"a": 2, "b": 1, "c": 1}),
        ("a b b", {"splitChars": " ", "value": "found"}, {"a": "found", "b": "found"}),
        ("a,b,$c,a$,a", {"quoteChar": "$"}, {"a": 2, "b": 1, "c,a": 1}),
        ("a,b,$c,a$,a", {"splitChars": ",$"}, {"a": 3, "b": 1, "c": 1}),
        ("a b c a", {"splitChars": " ", "limit": 2, "offset": 1}, {"b": 1, "c": 1}),
        ("p q r", {"splitChars": " ", "ngramRange": [2, 3]}, {"p_q": 1, "p_q_r": 1, "q_r": 1}),
        (
            's y z hoho bouya "pwet zou"',
            {"min_token_length": 2, "ngram_range": [1, 2], "splitchars": " ", "quotechar": '"'},
            {"bouya": 1, "bouya_pwet zou": 1, "hoho": 1, "hoho_bouya": 1, "pwet zou": 1},
        ),
        ("I would", {"splitChars": " ", "minTokenLength": 2}, {"would": 1}),
        ("abouyayaa adsf 2 ; sdv, sdf", {"splitChars": ",; …", "minTokenLength": 3},
         {"abouyayaa": 1, "adsf": 1, "sdf": 1, "sdv": 1}),
        ("", {}, {}),
        ("", {"minTokenLength": 0}, {}),
        ("a,,b", {"minTokenLength": 0}, {"a": 1, "b": 1}),
        (",,", {"quoteChar": ""}, {}),
        ('"b"c,d', {"quoteChar": '"'}, {"bc": 1, "d": 1}),
        ("a]b^c-d\\e&&f", {"splitChars": "]^-\\&"}, {"a": 1, "b": 1, "c": 1, "d": 1, "e": 1, "f": 1}),
        ("a,b", {"splitChars": ""}, {"a,b": 1}),
    ],
)  # fmt: skip
def test_tokenize(text: str, options: dict[str, object], tokens: dict[str, object]) -> None:
    found = Tokenizer.of(options).count(text)
    assert found == tokens
    assert list(found) == sorted(found)


@pytest.mark.parametrize(("index", "token"), [(3, "e"), (-1, "c"), (-2, "b"), (-3, None), (5, None), (0, "b")])
def test_token_extract(index: int, token: str | None) -> None:
    tokenizer = Tokenizer.of({"splitChars": " ", "limit": 2, "offset": 1})
    assert tokenizer.extract("a b c d e f", index) == token


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spltChars": ","}, "Unknown field 'spltChars' parsing tokenize configuration"),
        ({"ngramRange": [-2, 8]}, "ngramRange values must be bigger than 0 and the second value needs to be equal"),
        ({"ngramRange": [3, 2]}, "ngramRange values must be bigger than 0"),
        ({"ngramRange": 3}, "embedding of two integers"),
        ({"limit": "x"}, "must be an integer"),
        ({"offset": -1}, "must not be negative"),
        ({"quoteChar": "ab"}, "one character"),
    ],
)
def test_options_are_checked(options: dict[str, object], message: str) -> None:
    with pytest.raises(MldbError, match=message):
        Tokenizer.of(options)


def test_open_quote() -> None:
    with pytest.raises(MldbError, match="string finished inside quote"):
        Tokenizer.of({"quoteChar": '"'}).count('a,"b')


def test_split_part() -> None:
    assert split_part(" a  b;c ", " ;") == ["a", "b", "c"]
