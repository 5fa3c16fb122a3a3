"""Procedures run over REST: the status of a first run, or its error."""

from __future__ import annotations

from typing import Any

import httpx

from tests.conftest import Client


def _run(client: Client, type: str, params: dict[str, Any]) -> httpx.Response:
    return client.post("/v1/procedures", json={"type": type, "params": params})


def status(client: Client, type: str, **params: Any) -> Any:
    answer = _run(client, type, params)
    assert answer.status_code == 201, answer.text
    return answer.json()["status"]["firstRun"].get("status")


def error(client: Client, type: str, **params: Any) -> str:
    answer = _run(client, type, params)
    assert answer.status_code in (400, 403), answer.text
    body = answer.json()
    return str(body.get("details", {}).get("runError", body)["error"])
