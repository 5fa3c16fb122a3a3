"""JSON text, byte by byte (rest-api.md §1.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.entities import jsontext
from server.errors import MldbError
from server.values.atoms import atom_to_json, number_text
from server.values.numbers import numbers_to_json


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2.0, "2"), (-0.0, "-0"), (0.1, "0.1"), (1e-6, "0.000001"), (1e-8, "1e-8"), (1e7, "10000000"),
        (1e8, "1e8"), (1.5e10, "15000000000"), (123456789.0, "123456789"), (1e21, "1e21"),
        ({"b": 1, "a": [1.0, "/é\""]}, '{"b":1,"a":[1,"/é\\""]}'), (True, "true"), (None, "null"),
        (2**64 - 1, "18446744073709551615"), (float("nan"), "null"), (float("-inf"), "null"),
    ],
)  # fmt: skip
def test_typed(value, text):
    assert jsontext.typed(value).decode() == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_typed_numbers_have_the_shortest_digits(number):
    text = jsontext.typed(number).decode()
    assert text == number_text(number)
    assert float(text) == number


@given(st.lists(st.floats(width=64) | st.none()))
def test_many_numbers_at_once_are_what_they_are_alone(numbers):
    assert repr(numbers_to_json(list(numbers))) == repr([atom_to_json(number) for number in numbers])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2.0, "2.0"), (0.1, "0.1"), (1e20, "1.000000000000000e+20"), (1, "1"), (1 / 3, "0.3333333333333333"),
        ({"b": {"d": 1, "c": 2.5}, "a": 4.0}, '{"a":4.0,"b":{"c":2.5,"d":1}}'),
    ],
)  # fmt: skip
def test_free_form(value, text):
    assert jsontext.free_form(value).decode() == text


@given(st.lists(st.floats() | st.integers(-(2**63), 2**64 - 1) | st.none() | st.booleans() | st.just("a"), max_size=6))
def test_long_lists_are_written_as_short_ones(values):
    wanted = ",".join(jsontext.typed([value]).decode()[1:-1] for value in values)
    assert jsontext.typed(values * 64).decode() == f"[{','.join([wanted] * 64 if values else [])}]"


def test_free_pieces_keep_their_rules_inside_typed_bodies():
    body = {"z": 1.0, "params": jsontext.free({"b": 1.0, "a": 2.0})}
    assert jsontext.typed(body) == b'{"z":1,"params":{"a":2.0,"b":1.0}}'


def test_what_is_no_json_says_so():
    with pytest.raises(MldbError, match=r"JSON Parsing error: \["):
        jsontext.parse(b"{'a': 1}")


@pytest.mark.parametrize("text", [b"[" * 300 + b"]" * 300, b'{"a":' * 300 + b"1" + b"}" * 300])
def test_deep_nesting_is_refused(text):
    with pytest.raises(MldbError, match="JSON Parsing error"):
        jsontext.parse(text)


@pytest.mark.parametrize("text", [b"[" * 100_000, b'[{"a":' * 50_000, b"NaN", b"Infinity", b'"\\ud800"', b"\xff"])
def test_hostile_texts_are_errors(text):
    with pytest.raises(MldbError, match="JSON Parsing error"):
        jsontext.parse(text)


def test_many_brackets_at_a_low_depth_are_fine():
    assert jsontext.parse(b"[" + b",".join([b"[1]"] * 5000) + b"]") == [[1]] * 5000
