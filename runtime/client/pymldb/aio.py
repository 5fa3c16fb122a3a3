"""``AsyncConnection``: what ``Connection`` offers, as coroutines."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import httpx

from runtime.calls import (
    CANCELLED,
    FIRST_LOOK_SECONDS,
    RunWatch,
    json_body,
    parameter,
    procedure_path,
    with_run_on_creation,
)

from .connection import generated_run_id, loading_config, loading_paths, tracked_parts
from .display import Display, display_for
from .failures import base_address, checked
from .frames import ARROW_TYPE, DATAFRAME, TYPED, from_stream, to_pandas, to_parquet
from .html import with_html

_POLL_SECONDS = 0.05


class AsyncConnection:
    """A server; ``async with`` closes the connections at the end. Parameters as those of ``Connection``."""

    def __init__(
        self, host: str | None = None, notebook: bool = True, *, token: str | None = None, timeout: float | None = None
    ) -> None:
        self.uri = base_address(host or os.environ.get("MLDB_SERVER", "http://localhost"))
        self.notebook = notebook
        token = os.environ.get("MLDB_TOKEN", "") if token is None else token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.AsyncClient(base_url=self.uri, headers=headers, timeout=timeout, follow_redirects=True)

    async def __aenter__(self) -> AsyncConnection:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._client.aclose()

    async def get(self, url: str, data: Any = None, **kwargs: Any) -> httpx.Response:
        """GET; keywords become query parameters, ``data`` the JSON body."""
        params = {name: parameter(value) for name, value in kwargs.items() if value is not None}
        return await self._checked("GET", url, params=params or None, json=data)

    async def put(self, url: str, payload: Any = None) -> httpx.Response:
        return await self._checked("PUT", url, json={} if payload is None else payload)

    async def post(self, url: str, payload: Any = None) -> httpx.Response:
        return await self._checked("POST", url, json={} if payload is None else payload)

    async def delete(self, url: str) -> httpx.Response:
        return await self._checked("DELETE", url)

    async def query(self, sql: str, **kwargs: Any) -> Any:
        """As ``Connection.query``."""
        format = kwargs.get("format", DATAFRAME)
        if format == DATAFRAME:
            return to_pandas((await self.get("/v1/query", {"q": sql, "format": "table"})).json())
        if format in TYPED:
            answer = await self._checked("GET", "/v1/query", json={"q": sql}, headers={"Accept": ARROW_TYPE})
            return from_stream(answer.content, format)
        return (await self.get("/v1/query", q=sql, **kwargs)).json()

    async def put_and_track(self, url: str, payload: Mapping[str, Any], refresh_rate_sec: float = 1) -> httpx.Response:
        """As ``Connection.put_and_track``. Cancelling the task cancels the run."""
        procedure, run = tracked_parts(url)
        if run:
            return await self._track("PUT", url, payload, RunWatch(procedure, run), refresh_rate_sec)
        answer = await self.request("GET", f"{procedure_path(procedure)}/runs")
        before = frozenset(answer.json()) if answer.is_success else frozenset()
        watch = RunWatch(procedure, before=before)
        return await self._track("PUT", url, with_run_on_creation(payload, True), watch, refresh_rate_sec)

    async def post_and_track(self, url: str, payload: Mapping[str, Any], refresh_rate_sec: float = 1) -> httpx.Response:
        """As ``Connection.post_and_track``. Cancelling the task cancels the run."""
        if url.strip("/") != "v1/procedures":
            raise ValueError("only a procedure can be posted and tracked: the route is /v1/procedures")
        procedure = (await self.post(url, with_run_on_creation(payload, False))).json()["id"]
        watch = RunWatch(procedure, generated_run_id())
        path = f"{procedure_path(procedure)}/runs"
        return await self._track("POST", path, {"id": watch.run}, watch, refresh_rate_sec)

    async def post_and_track_procedure(self, payload: Mapping[str, Any], refresh_rate_sec: float = 1) -> httpx.Response:
        return await self.post_and_track("/v1/procedures", payload, refresh_rate_sec)

    post_run_and_track_procedure = post_and_track_procedure

    async def load(self, dataset: str, frame: Any, refresh_rate_sec: float = 1) -> httpx.Response:
        """As ``Connection.load``. Cancelling the task cancels the run."""
        content, named = await asyncio.to_thread(to_parquet, frame)
        upload, procedure = loading_paths(dataset)
        url = (await self._checked("PUT", upload, content=content)).json()["url"]
        try:
            await self.put(procedure, loading_config(dataset, url, named))
            try:
                return await self.put_and_track(f"{procedure}/runs/{generated_run_id()}", {}, refresh_rate_sec)
            finally:
                await self.delete(procedure)
        finally:
            await self.delete(upload)

    # ── below ──

    async def request(self, verb: str, url: str, **options: Any) -> httpx.Response:
        """An answer as it comes, errors too. ``options`` are those of ``httpx``; bytes in ``json`` are blobs."""
        if (payload := options.pop("json", None)) is not None:
            options["content"] = json_body(payload)
            options["headers"] = {"Content-Type": "application/json", **options.get("headers", {})}
        answer: httpx.Response = with_html(await self._client.request(verb, url, **options))
        return answer

    async def _checked(self, verb: str, url: str, **options: Any) -> httpx.Response:
        answer: httpx.Response = checked(await self.request(verb, url, **options))
        return answer

    async def _track(
        self, verb: str, url: str, payload: Any, watch: RunWatch, refresh_rate_sec: float
    ) -> httpx.Response:
        with display_for(self.notebook) as display:
            answer = asyncio.create_task(self._checked(verb, url, json=payload))
            try:
                await self._follow(answer, watch, display, refresh_rate_sec)
            except BaseException:
                await asyncio.shield(self._cancel(watch))
                raise
            finally:
                await asyncio.wait([answer])
            result = answer.result()
            display.show(watch.ended_steps)
            return result

    async def _follow(
        self, answer: asyncio.Task[httpx.Response], watch: RunWatch, display: Display, seconds: float
    ) -> None:
        told = False
        while not answer.done():
            await _wait(answer, display, seconds if watch.steps else min(seconds, FIRST_LOOK_SECONDS))
            found = await self.request("GET", watch.path)
            watch.learn(found.json() if found.is_success else None)
            display.show(watch.steps)
            if display.cancel_asked and not told:
                told = await self._cancel(watch)

    async def _cancel(self, watch: RunWatch) -> bool:
        return bool(watch.state_path) and (await self.request("PUT", watch.state_path, json=CANCELLED)).is_success


async def _wait(answer: asyncio.Task[Any], display: Display, seconds: float) -> None:
    end = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end and not answer.done() and not display.cancel_asked:
        await asyncio.wait([answer], timeout=_POLL_SECONDS)
