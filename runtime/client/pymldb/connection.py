"""``Connection``: calls of a server over HTTP, checked, with progress of procedures and results as data frames."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from urllib.parse import quote, unquote

import requests

from runtime.calls import (
    CANCELLED,
    FIRST_LOOK_SECONDS,
    RunWatch,
    json_body,
    parameter,
    procedure_path,
    with_run_on_creation,
)

from .display import Display, display_for
from .failures import base_address, checked
from .frames import ARROW_TYPE, DATAFRAME, TYPED, from_stream, to_pandas, to_parquet
from .html import with_html
from .segments import Segments

Answer = requests.Response


class Connection:
    """A server. ``notebook`` chooses widgets over lines of text for progress, where there is a notebook.

    ``token`` is what a server that listens beyond its own machine asks for; the variable ``MLDB_TOKEN`` is its
    default, ``MLDB_SERVER`` that of ``host``. ``timeout`` is in seconds; None waits for as long as it takes.
    """

    def __init__(
        self, host: str | None = None, notebook: bool = True, *, token: str | None = None, timeout: float | None = None
    ) -> None:
        self.uri = base_address(host or os.environ.get("MLDB_SERVER", "http://localhost"))
        self.notebook = notebook
        self._token = os.environ.get("MLDB_TOKEN", "") if token is None else token
        self._timeout = timeout
        self._own = threading.local()

    @property
    def v1(self) -> Segments:
        """Paths as attributes: ``connection.v1.datasets("iris").rows.post_json({…})``."""
        return Segments(self, "/v1")

    def get(self, url: str, data: Any = None, **kwargs: Any) -> Answer:
        """GET; keywords become query parameters, ``data`` the JSON body."""
        params = {name: parameter(value) for name, value in kwargs.items() if value is not None}
        return self._checked("GET", url, params=params, json=data)

    def put(self, url: str, payload: Any = None) -> Answer:
        return self._checked("PUT", url, json={} if payload is None else payload)

    def post(self, url: str, payload: Any = None) -> Answer:
        return self._checked("POST", url, json={} if payload is None else payload)

    def delete(self, url: str) -> Answer:
        return self._checked("DELETE", url)

    def query(self, sql: str, **kwargs: Any) -> Any:
        """The result of an SQL query: a pandas DataFrame by row name.

        ``format="polars"`` gives a polars frame and ``"arrow"`` an Arrow table, both with a column ``_rowName``;
        the formats of ``GET /v1/query`` give their JSON as it is, with the further parameters of that route.
        """
        format = kwargs.get("format", DATAFRAME)
        if format == DATAFRAME:
            return to_pandas(self.get("/v1/query", {"q": sql, "format": "table"}).json())
        if format in TYPED:
            answer = self._checked("GET", "/v1/query", json={"q": sql}, headers={"Accept": ARROW_TYPE})
            return from_stream(answer.content, format)
        return self.get("/v1/query", q=sql, **kwargs).json()

    def put_and_track(self, url: str, payload: Mapping[str, Any], refresh_rate_sec: float = 1) -> Answer:
        """PUT a procedure, which is then run, or a run; shows progress bars and a button to cancel meanwhile."""
        procedure, run = tracked_parts(url)
        if run:
            return self._track(lambda: self.put(url, payload), RunWatch(procedure, run), refresh_rate_sec)
        watch = RunWatch(procedure, before=self._runs(procedure))
        config = with_run_on_creation(payload, True)
        return self._track(lambda: self.put(url, config), watch, refresh_rate_sec)

    def post_and_track(self, url: str, payload: Mapping[str, Any], refresh_rate_sec: float = 1) -> Answer:
        """POST a procedure and run it; shows progress bars and a button to cancel meanwhile. The run's answer."""
        if url.strip("/") != "v1/procedures":
            raise ValueError("only a procedure can be posted and tracked: the route is /v1/procedures")
        procedure = self.post(url, with_run_on_creation(payload, False)).json()["id"]
        run = generated_run_id()
        path = f"{procedure_path(procedure)}/runs"
        return self._track(lambda: self.post(path, {"id": run}), RunWatch(procedure, run), refresh_rate_sec)

    def post_and_track_procedure(self, payload: Mapping[str, Any], refresh_rate_sec: float = 1) -> Answer:
        """``post_and_track`` to the only route that it knows."""
        return self.post_and_track("/v1/procedures", payload, refresh_rate_sec)

    post_run_and_track_procedure = post_and_track_procedure  # as plugins call it

    def load(self, dataset: str, frame: Any, refresh_rate_sec: float = 1) -> Answer:
        """Make a dataset of a pandas or polars frame or an Arrow table, in place of one of that name; with progress.

        Rows are named by the index of a pandas frame, unless it only counts them, or by a column ``_rowName``.
        """
        content, named = to_parquet(frame)
        upload, procedure = loading_paths(dataset)
        url = self._checked("PUT", upload, data=content).json()["url"]
        try:
            self.put(procedure, loading_config(dataset, url, named))
            try:
                return self.put_and_track(f"{procedure}/runs/{generated_run_id()}", {}, refresh_rate_sec)
            finally:
                self.delete(procedure)
        finally:
            self.delete(upload)

    # ── below ──

    def request(self, verb: str, url: str, **options: Any) -> Answer:
        """An answer as it comes, errors too. ``options`` are those of ``requests``; bytes in ``json`` are blobs."""
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        if (payload := options.pop("json", None)) is not None:
            options["data"] = json_body(payload)
            headers["Content-Type"] = "application/json"
        headers |= options.pop("headers", {})
        address = self.uri + url
        answer: Answer = with_html(
            self._session().request(verb, address, headers=headers, timeout=self._timeout, **options)
        )
        return answer

    def _checked(self, verb: str, url: str, **options: Any) -> Answer:
        answer: Answer = checked(self.request(verb, url, **options))
        return answer

    def _session(self) -> requests.Session:
        """One per thread: while a run is tracked, two threads speak."""
        if not hasattr(self._own, "session"):
            self._own.session = requests.Session()
        session: requests.Session = self._own.session
        return session

    def _runs(self, procedure: str) -> frozenset[str]:
        answer = self.request("GET", f"{procedure_path(procedure)}/runs")
        return frozenset(answer.json()) if answer.ok else frozenset()

    def _track(self, start: Callable[[], Answer], watch: RunWatch, refresh_rate_sec: float) -> Answer:
        with ThreadPoolExecutor(1) as threads, display_for(self.notebook) as display:
            answer = threads.submit(start)
            try:
                self._follow(answer, watch, display, refresh_rate_sec)
            except BaseException:  # KeyboardInterrupt above all: who stops the cell does not want the run
                self._cancel(watch)
                raise
            result = answer.result()
            display.show(watch.ended_steps)
            return result

    def _follow(self, answer: Future[Answer], watch: RunWatch, display: Display, seconds: float) -> None:
        told = False
        while not answer.done():
            display.wait(seconds if watch.steps else min(seconds, FIRST_LOOK_SECONDS), answer.done)
            found = self.request("GET", watch.path)
            watch.learn(found.json() if found.ok else None)
            display.show(watch.steps)
            if display.cancel_asked and not told:
                told = self._cancel(watch)

    def _cancel(self, watch: RunWatch) -> bool:
        return bool(watch.state_path) and self.request("PUT", watch.state_path, json=CANCELLED).ok


def tracked_parts(url: str) -> tuple[str, str]:
    """Procedure and run (or "") that a URL names; ``ValueError`` when it names neither."""
    parts = url.strip("/").split("/")
    if parts[:2] != ["v1", "procedures"] or len(parts) not in (3, 5):
        raise ValueError("only a procedure or a run of one can be put and tracked: /v1/procedures/<id>[/runs/<run>]")
    names = [unquote(part) for part in parts]
    return names[2], names[4] if len(parts) == 5 else ""


def generated_run_id() -> str:
    return f"tracked-{secrets.token_hex(8)}"


def loading_paths(dataset: str) -> tuple[str, str]:
    """Where the file of a frame that is loaded goes, and the procedure that imports it."""
    mark = secrets.token_hex(4)
    return f"/v1/uploads/{quote(f'{mark}.parquet')}", procedure_path(f"load {dataset} {mark}")


def loading_config(dataset: str, url: str, named: str) -> dict[str, Any]:
    params = {"dataFileUrl": url, "outputDataset": dataset, "named": named, "runOnCreation": False}
    return {"type": "import.parquet", "persistent": False, "params": params}
