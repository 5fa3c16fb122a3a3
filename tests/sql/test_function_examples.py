"""Every builtin function is documented, and its example gives what it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.sql.engine import Engine
from server.sql.formats import render
from server.sql.functions import BUILTINS, families
from server.storage.database import Database
from tests.sql.catalogs import EmptyCatalog

# What only a server, a file or the clock can show.
WITHOUT_EXAMPLE = {"now", "fetcher", "parse_exif", "read_sensor", "fft", "tf_extract_constant"}
DOCUMENTED = [one for _, builtins in families() for one in builtins if not one.name.startswith("_")]
EXAMPLES = [one for one in DOCUMENTED if one.example is not None]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    database = Database()
    yield Engine(database, EmptyCatalog())
    database.close()


def flat(value: Any) -> dict[str, Any]:
    """An example's result as columns of the value ``x``."""
    if isinstance(value, dict):
        return {f"x.{name}": member for name, member in value.items()}
    if isinstance(value, list):
        return {f"x.{index}": member for index, member in enumerate(value)}
    return {"x": value}


@pytest.mark.parametrize("builtin", EXAMPLES, ids=lambda builtin: builtin.name)
def test_example(engine: Engine, builtin: Any) -> None:
    expression, answer = builtin.example
    header, row = json.loads(render(engine.query(f"SELECT {expression} AS x"), "table"))
    assert dict(zip(header[1:], row[1:], strict=True)) == flat(json.loads(answer))


@pytest.mark.parametrize("builtin", DOCUMENTED, ids=lambda builtin: builtin.name)
def test_every_function_is_documented(builtin: Any) -> None:
    assert builtin.signature.startswith(f"{builtin.name}(")
    assert builtin.summary.endswith(".")
    assert (builtin.example is None) == (builtin.name in WITHOUT_EXAMPLE)


def test_all_functions_are_in_a_family() -> None:
    assert {one.name for one in DOCUMENTED} == {name for name in BUILTINS if not name.startswith("_")}


def test_the_page_names_every_function() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "functions.md").read_text(encoding="utf-8")
    assert all(f"`{one.name}(" in page for one in DOCUMENTED)
