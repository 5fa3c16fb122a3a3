"""Every function is documented: types, NULL rule, an example; and both examples give what they say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.sql.binder import aggregates, columnexpr, groups, rowfunctions
from server.sql.engine import Engine
from server.sql.formats import render
from server.sql.functions import BUILTINS
from server.sql.notes import NO_ARGUMENTS, PROPAGATED, Note
from server.sql.parser import parse_expression
from server.sql.reference import reference
from server.sql.tree import Call, children
from server.storage.database import Database
from tests.sql.catalogs import EmptyCatalog

# What only a server, a file or the clock can show.
WITHOUT_EXAMPLE = {"now", "fetcher", "parse_exif", "read_sensor", "fft", "tf_extract_constant"}
# Rules without an example: errors, and what the example of the function shows anyhow.
WITHOUT_NULL_EXAMPLE = {
    "shape", "slice", "real", "imag", "amplitude", "phase", "ST_Contains_Point", "parse_exif", "read_sensor", "fetcher",
    "row_dataset", "atom_dataset", "pivot", "likelihood_ratio",
}  # fmt: skip
NOTES: list[Note] = [note for _, notes in reference() for note in notes]
EXAMPLES = [(note.name, note.example) for note in NOTES if note.example is not None]
NULL_EXAMPLES = [(note.name, note.null[1]) for note in NOTES if note.null[1] is not None]
PROPAGATING = [note for note in NOTES if note.null == PROPAGATED and note.name not in WITHOUT_EXAMPLE]

_ONE = r"(any|atom|number|integer|boolean|text|timestamp|blob|path|row|embedding|table)"
TYPE = rf"{_ONE}( \| ({_ONE}|\*))*"
SIGNATURE = re.compile(rf"\w+\((\w+: {TYPE}(, \w+: {TYPE})*(, …)?)?\) → ({TYPE}|the form of \w+)")


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    database = Database()
    yield Engine(database, EmptyCatalog())
    database.close()


def run(engine: Engine, text: str) -> dict[str, Any]:
    """The columns of the value ``x``."""
    query = text if text.startswith("SELECT ") else f"SELECT {text} AS x"
    header, row = json.loads(render(engine.query(query), "table"))
    return dict(zip(header[1:], row[1:], strict=True))


def flat(value: Any) -> dict[str, Any]:
    """An example's result as columns of the value ``x``."""
    if isinstance(value, dict):
        return {f"x.{name}": member for name, member in value.items()}
    if isinstance(value, list):
        return {f"x.{index}": member for index, member in enumerate(value)}
    return {"x": value}


@pytest.mark.parametrize(("name", "example"), [*EXAMPLES, *NULL_EXAMPLES], ids=lambda part: part[0])
def test_example(engine: Engine, name: str, example: tuple[str, str]) -> None:
    text, answer = example
    assert f"{name}(" in text
    assert run(engine, text) == flat(json.loads(answer))


def _call(node: Any, name: str) -> Call | None:
    if isinstance(node, Call) and node.name == name:
        return node
    found = (_call(child, name) for child in children(node))
    return next((one for one in found if one is not None), None)


@pytest.mark.parametrize("note", PROPAGATING, ids=lambda note: note.name)
def test_null_in_any_argument_gives_null(engine: Engine, note: Note) -> None:
    assert note.example is not None
    text = note.example[0]
    call = _call(parse_expression(text), note.name)
    assert call is not None
    for argument in call.args:
        start, end = argument.span
        changed = f"{text[call.span[0] : start]}NULL{text[end : call.span[1]]}"
        assert set(run(engine, changed).values()) <= {None}, changed


@pytest.mark.parametrize("note", NOTES, ids=lambda note: note.name)
def test_every_function_is_documented(note: Note) -> None:
    assert SIGNATURE.fullmatch(re.sub(r"[\[\]]", "", note.signature)), note.signature
    assert note.summary.endswith(".")
    assert (note.example is None) == (note.name in WITHOUT_EXAMPLE)
    without_arguments = "()" in note.signature
    if not without_arguments and note.null not in (PROPAGATED, NO_ARGUMENTS):
        assert (note.null[1] is None) == (note.name in WITHOUT_NULL_EXAMPLE)


@pytest.mark.parametrize(
    ("name", "counts"),
    [("pi", (0, 0)), ("clamp", (3, 3)), ("log", (1, 2)), ("fft", (1, 3)), ("jseval", (2, None)), ("concat", (0, None))],
)
def test_the_signature_says_how_many_arguments_are_taken(name: str, counts: tuple[int, int | None]) -> None:
    assert BUILTINS[name].counts == counts


def test_nothing_is_left_out() -> None:
    names = [note.name for note in NOTES]
    assert len(names) == len(set(names))
    assert {name for name in BUILTINS if not name.startswith("_")} <= set(names)
    assert set(names) >= aggregates.AGGREGATES
    assert set(names) >= rowfunctions.ROW_FUNCTIONS | columnexpr._FUNCTIONS | groups._KEY_ELEMENT


def test_the_page_names_every_function() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "functions.md").read_text(encoding="utf-8")
    assert all(f"`{note.name}(" in page for note in NOTES)
