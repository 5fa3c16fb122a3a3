"""Queries and their answers, as plain text: ``fixtures/queries/*.txt``, run on a real server.

A block is a query (one or more lines) and ``=> `` with the answer in table format, ``=>full `` in full format, or
``=>error `` with a part of the error's text.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
    "nulls": [["a", [["k", 1, 0]]], ["b", [["k", None, 0]]]],
    "mixed": [["a", [["k", 1, 0]]], ["b", [["k", "one", 0]]], ["c", [["k", {"ts": "2015-01-01"}, 0]]],
              ["d", [["k", 2.5, 0]]]],
}  # fmt: skip


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


@pytest.fixture(scope="module")
def loaded(client: Client) -> Client:
    for name, rows in DATA.items():
        assert client.put(f"/v1/datasets/{name}", json={"type": "sparse.mutable"}).status_code == 201
        assert client.post(f"/v1/datasets/{name}/multirows", json=rows).status_code == 200
        assert client.post(f"/v1/datasets/{name}/commit").status_code == 200
    return client


@pytest.mark.parametrize(("query", "marker", "answer"), blocks())
def test_query(loaded: Client, query: str, marker: str, answer: str) -> None:
    format_ = "full" if marker == "=>full" else "table"
    got = loaded.get_json("/v1/query", {"q": query, "format": format_})
    if marker == "=>error":
        assert got.status_code >= 400
        assert answer in got.json()["error"]
        return
    assert got.status_code == 200, got.text
    assert got.json() == json.loads(answer)
