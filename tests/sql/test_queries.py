"""Queries and their answers, as plain text: ``fixtures/queries/*.txt``, run on a real server.

A block is a query (one or more lines) and ``=> `` with the answer in table format, ``=>full `` (``aos``, ``soa``,
``sparse``, ``atom``) in another, or ``=>error `` with a part of the error's text (``error404``, ``error500``: with that
code instead of 400). The files follow the sections of the dialect's reference.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import pytest

from tests.conftest import Client

FIXTURES = Path(__file__).parent / "fixtures" / "queries"

# dataset → rows as ``POST multirows`` takes them
DATA: dict[str, list[Any]] = {
    "d": [
        ["r1", [["x", 1, 0], ["y", 4, 0], ["s", "b", 0]]],
        ["r2", [["x", 2, 0], ["s", "a", 0]]],
        ["r3", [["x", 1, 0], ["y", 6, 0]]],
    ],
    "e": [["k1", [["id", 1, 0], ["v", "one", 0]]], ["k2", [["id", 3, 0], ["v", "three", 0]]]],
    "n": [["p", [["a.b", 1, 0], ["a.c", 2, 0], ["z", 3, 0]]]],
    "multi": [["m", [["v", 1, 0], ["v", 5, 10], ["v", 3, 20], ["w", "é", 5]]], ["o", [["w", "ü", 6]]]],
    "ties": [["eq", [["same", 2, 0], ["same", 1, 0]]]],
    "nulls": [["a", [["k", 1, 0]]], ["b", [["k", None, 0]]]],
    "mixed": [["a", [["k", 1, 0]]], ["b", [["k", "one", 0]]], ["c", [["k", {"ts": "2015-01-01"}, 0]]],
              ["d", [["k", 2.5, 0]]]],
    "ts": [
        ["p", [["a", 1, 10], ["b", 2, 20], ["c", 3, 30], ["n", None, 40], ["z", 0, 50], ["s", "abc", 5],
               ["j", '{"k": 5}', 8]]],
        ["q", [["a", 4, 70]]],
    ],
    "all types": [
        [name, [["k", value, 0]]]
        for name, value in [
            ("str1", "Z"), ("path", {"path": ["p", "q"]}), ("nan", {"num": "NaN"}), ("inf", {"num": "Inf"}),
            ("int", -5), ("iv1", {"interval": "-1D"}), ("str3", "é"), ("null", None), ("blob", {"blob": ["ab"]}),
            ("float", 1.5), ("big", 18446744073709551615),
            ("str0", ""), ("iv2", {"interval": "1 MONTH"}), ("neg", {"num": "-Inf"}),
            ("ts", {"ts": "1970-01-01T00:00:01Z"}), ("str2", "a"),
        ]
    ],
    "w": [["r1", [["x.a", 1, 0], ["x.b", 2, 0], ["xy", 3, 0], ["y1", 4, 0], ["y2", 5, 0], ["z", "q", 0]]]],
    "t_d": [
        ["r1", [["x", 1, 0], ["y", 4, 0], ["s", "b", 0]]],
        ["r2", [["x", 2, 0], ["y", None, 0], ["s", "a", 0]]],
        ["r3", [["x", 1, 0], ["y", 6, 0], ["s", None, 0]]],
    ],
}  # fmt: skip


# dataset of a type that is a view over others → config
VIEWS: dict[str, Any] = {
    "v_joined": {"type": "joined", "params": {"left": "d", "right": "e", "on": "d.x = e.id"}},
    "v_merged": {"type": "merged", "params": {"datasets": [{"id": "d"}, {"id": "e"}]}},
    "v_union": {"type": "union", "params": {"datasets": [{"id": "d"}, {"id": "e"}]}},
    "v_transposed": {"type": "transposed", "params": {"dataset": {"id": "d"}}},
    "v_sampled": {"type": "sampled", "params": {"dataset": {"id": "d"}, "rows": 3}},
}


def blocks() -> list[Any]:
    found = []
    for file in sorted(FIXTURES.glob("*.txt")):
        for block in file.read_text(encoding="utf-8").split("\n\n"):
            lines = [line for line in block.strip().splitlines() if not line.startswith("#")]
            if not lines:
                continue
            answers = [number for number, line in enumerate(lines) if line.startswith("=>")]
            assert len(answers) == 1, f"{file.name}: a block has one answer: {block}"
            query = "\n".join(lines[: answers[0]])
            marker, _, answer = "\n".join(lines[answers[0] :]).partition(" ")
            found.append(pytest.param(query, marker, answer, id=f"{file.stem}: {query}"))
    return found


# function → config
FUNCTIONS: dict[str, Any] = {
    "plus": {"type": "sql.expression", "params": {"expression": "a + b AS sum, a"}},
    "twice": {"type": "sql.expression", "params": {"expression": "x * 2", "raw": True, "autoInput": True}},
    "nested": {"type": "sql.expression", "params": {"expression": "plus({a: x, b: 1})[sum] AS y"}},
    "every": {"type": "sql.expression", "params": {"expression": "horizontal_sum({*}) AS total"}},
    "late": {"type": "sql.expression", "params": {"expression": "a + b AS sum", "prepared": True}},
    "moody": {"type": "sql.expression", "deterministic": False, "params": {"expression": "x + 1 AS y"}},
    "of_x": {"type": "sql.query", "params": {"query": "SELECT y, s FROM d WHERE x = $x ORDER BY y DESC"}},
    "names": {
        "type": "sql.query",
        "params": {"query": "SELECT v AS column, id AS value FROM e WHERE id >= $least", "output": "NAMED_COLUMNS"},
    },
    "sums": {"type": "sql.query", "params": {"query": "SELECT $a + $b AS sum, every({x: $a, y: $b})[total] AS total"}},
    "sums_by_name": {
        "type": "sql.query",
        "params": {"query": "SELECT 'sum' AS column, $a + $b AS value", "output": "NAMED_COLUMNS"},
    },
    "cells": {"type": "sql.query", "params": {"query": "SELECT * FROM row_dataset($row) ORDER BY value DESC"}},
    "me": {"type": "sql.expression", "params": {"expression": "me({x: x}) AS y"}},
}


class Asked(Protocol):
    """A client of a server, or a server in process."""

    def ask(self, verb: str, path: str, payload: Any = None) -> tuple[int, Any]: ...

    def must(self, verb: str, path: str, payload: Any = None) -> Any: ...


def load(server: Asked) -> None:
    """Put the datasets and functions of the fixtures onto a server."""
    for name, rows in DATA.items():
        type_ = "tabular" if name.startswith("t_") else "sparse.mutable"
        server.must("PUT", f"/v1/datasets/{quote(name)}", {"type": type_})
        server.must("POST", f"/v1/datasets/{quote(name)}/multirows", rows)
        server.must("POST", f"/v1/datasets/{quote(name)}/commit")
    for name, config in VIEWS.items():
        server.must("PUT", f"/v1/datasets/{name}", config)
    for name, config in FUNCTIONS.items():
        server.must("PUT", f"/v1/functions/{name}", config)


@pytest.fixture(scope="module")
def loaded(client: Client) -> Client:
    load(client)
    return client


CODES = {"=>error": 400, "=>error404": 404, "=>error500": 500}


@pytest.mark.parametrize(("query", "marker", "answer"), blocks())
def test_query(loaded: Client, query: str, marker: str, answer: str) -> None:
    check(loaded, query, marker, answer)


def check(loaded: Asked, query: str, marker: str, answer: str) -> None:
    """Run a query of the fixtures."""
    if marker in CODES:
        status, got = loaded.ask("GET", "/v1/query", {"q": query})
        assert status == CODES[marker], got
        assert answer in got["error"]
        return
    status, got = loaded.ask("GET", "/v1/query", {"q": query, "format": marker.removeprefix("=>") or "table"})
    assert status == 200, got
    assert got == json.loads(answer)
