from __future__ import annotations

import math
from typing import Any

import pytest

from server.errors import MldbError
from server.sql.functions.jsontext import arrays_option, parse_json, print_json, print_json_row
from server.values.atoms import Timestamp
from server.values.batches import Cell
from server.values.paths import format_path


def flat(text: str, **options: Any) -> dict[str, object]:
    return {format_path(path): value for path, value in parse_json(text, **options).items()}


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ('{"k": {"m": true}, "l": [5, 6], "e": []}', {"k.m": 1, "l.0": 5, "l.1": 6}),
        ('[{"a": 5}, {"b": 2}]', {"0.a": 5, "1.b": 2}),
        ("{}", {}),
        ("[]", {}),
        ('{"a.b": 2.0, "c": null, "d": {"ts": "2015"}}', {'"a.b"': 2, "c": None, "d.ts": "2015"}),
        ('{"big": 18446744073709551615, "x": 1.5e300}', {"big": 2**64 - 1, "x": 1.5e300}),
    ],
)
def test_parse_json(text: str, cells: dict[str, object]) -> None:
    assert flat(text) == cells


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ('["x", "y", "x"]', {"x": 1, "y": 1}),
        ("[1.5, 2.0, true]", {'"1.5"': 1, "2": 1, "1": 1}),
        ('[{"a": 5}, {"b": 2}]', {"0": '{"a":5}', "1": '{"b":2}'}),
        ('[{"a": 5}, 7]', {"0.a": 5, "1": 7}),
        ('{"tags": ["x"], "empty": []}', {"tags.x": 1}),
    ],
)
def test_encoded_arrays(text: str, cells: dict[str, object]) -> None:
    assert flat(text, arrays="encode") == cells


@pytest.mark.parametrize("text", ['"hola"', "5", '{"asdf:', "", "nan", "[" * 5000])
def test_parse_json_refuses(text: str) -> None:
    with pytest.raises(MldbError, match="must be an object"):
        parse_json(text)
    assert flat(text, ignore_errors=True) == {"__parse_json_error__": 1}


def test_atoms_keep_their_order() -> None:
    assert list(parse_json('{"b": {"d": 1, "c": 2}, "a": 3}')) == [("b", "d"), ("b", "c"), ("a",)]


def test_arrays_option() -> None:
    assert arrays_option("encode") == "encode"
    with pytest.raises(MldbError, match="NULL value found parsing enumeration"):
        arrays_option(None)
    with pytest.raises(MldbError, match="unknown value for"):
        arrays_option("x")


def row(**values: object) -> list[Cell]:
    return [Cell(tuple(name.split("_")), value) for name, value in values.items()]  # type: ignore[arg-type]


def test_print_json() -> None:
    assert print_json(None) == "null"
    assert print_json('é"') == '"é\\""'
    assert print_json(Timestamp(0)) == '{"ts":"1970-01-01T00:00:00Z"}'
    assert print_json(math.nan) == '{"num":"NaN"}'
    assert print_json([[1, 2.5], [3, None]]) == "[[1,2.5],[3,null]]"
    assert print_json([]) == "[]"
    assert print_json_row(row(b=1, a_x=2)) == '{"a":{"x":2},"b":1}'
    assert print_json_row([Cell(("x10",), 1), Cell(("x2",), 2)]) == '{"x2":2,"x10":1}'
    assert print_json_row([Cell(("I.am.a",), 1)]) == '{"I.am.a":1}'


def test_rows_with_index_names_are_arrays() -> None:
    assert print_json_row([Cell(("v", str(i)), i) for i in (10, 2, 1, 0, *range(3, 10))]) == (
        '{"v":[0,1,2,3,4,5,6,7,8,9,10]}'
    )
    assert print_json_row([Cell(("1",), 5)]) == '{"1":5}'
    assert print_json_row([]) == "{}"
    assert print_json_row([Cell(("t",), Timestamp(0))]) == '{"t":{"ts":"1970-01-01T00:00:00Z"}}'


def test_one_name_for_an_atom_and_a_row() -> None:
    assert print_json_row([Cell(("x",), 1), Cell(("x", "a"), 2), Cell(("x", "a"), 3)]) == '{"x":{"a":2}}'


def test_rows_that_nest_too_deep() -> None:
    with pytest.raises(MldbError, match="cannot be written as JSON"):
        print_json_row([Cell(("x",) * 1000, 1)])
