"""Datasets that are replaced and deleted while they are read: readers see the old rows or the new ones, or a 404."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.waiting import PATIENCE

SECONDS = 4.0
ANSWERS = 20
ROWS = [[f"r{index}", [["x", index, 0], ["y.z", "é", 0], ["label", index % 2, 0]]] for index in range(50)]


def put(client: Any, name: str, type_: str) -> None:
    assert client.put(f"/v1/datasets/{name}", json={"type": type_}).status_code == 201
    assert client.post(f"/v1/datasets/{name}/multirows", json=ROWS).status_code == 200
    assert client.post(f"/v1/datasets/{name}/commit").status_code == 200


@pytest.mark.parametrize("type_", ["sparse.mutable", "tabular"])
def test_reading_while_a_dataset_is_replaced(client, type_):
    put(client, "flux", type_)
    put(client, "fixed", type_)
    begun = time.monotonic()
    failures: list[str] = []
    answered = 0

    def going_on() -> bool:
        """For some seconds, and on a busy machine until enough was answered to tell."""
        seconds = time.monotonic() - begun
        return seconds < SECONDS or (answered <= ANSWERS and seconds < PATIENCE)

    def read(ask: Callable[[], Any]) -> None:
        nonlocal answered
        while going_on():
            answer = ask()
            answered += answer.status_code == 200
            if answer.status_code >= 500 or "Catalog" in answer.text or "d_" in answer.text:
                failures.append(answer.text)

    def query(text: str) -> Callable[[], Any]:
        return lambda: client.get("/v1/query", params={"q": text, "format": "table"})

    asks = [
        query("SELECT x, y.z AS z, y, nothing FROM flux ORDER BY x"),
        query("SELECT count(*) AS n, avg(flux.x) AS x FROM flux JOIN fixed ON flux.x = fixed.x"),
        query("SELECT * FROM flux"),
        lambda: client.get("/v1/datasets/flux/columns/x/valuecounts"),
    ]
    readers = [threading.Thread(target=read, args=(ask,)) for ask in asks]
    for reader in readers:
        reader.start()
    while going_on():
        put(client, "flux", type_)
    for reader in readers:
        reader.join()
    assert failures == []
    assert answered > ANSWERS
