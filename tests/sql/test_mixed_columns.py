"""Columns of one sparse dataset that hold values of many kinds, NULL among them, read together."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Client

VALUES = [1, 0.5, "text", {"ts": "1970-01-01T00:00:05Z"}, {"interval": "1D"}, {"path": ["a"]}, 2**63]


@pytest.mark.parametrize("number", [1, 0.5])
@pytest.mark.parametrize("other", VALUES, ids=repr)
def test_nulls_beside_numbers_beside_other_kinds(client: Client, number: float, other: Any) -> None:
    rows = [["1", [["f", None, 0], ["g", other, 0]]], ["2", [["f", number, 0], ["g", number, 0]]]]
    assert client.put("/v1/datasets/mixed", json={"type": "sparse.mutable"}).status_code == 201
    assert client.post("/v1/datasets/mixed/multirows", json=rows).status_code == 200
    assert client.post("/v1/datasets/mixed/commit").status_code == 200
    answer = client.query("SELECT * FROM mixed ORDER BY rowName()", "full")
    assert [[cell[:2] for cell in row["columns"]] for row in answer] == [
        [["f", None], ["g", other]],
        [["f", number], ["g", number]],
    ]
