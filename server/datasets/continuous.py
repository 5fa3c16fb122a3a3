"""``continuous`` and ``continuous.window``: a stream of rows cut into stored chunks (entity-types.md §2.5).

The chunks are datasets that procedures create and save. Each saved chunk is a row of the metadata dataset: columns
``earliest`` and ``latest`` (the span of its timestamps), ``config.…`` (how to open it again) and ``md.…``.
"""

from __future__ import annotations

import logging
import math
import threading
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from pydantic import Field

from server.datasets.base import ReadOnly, checked_columns, checked_rows, transposed
from server.datasets.views import Spec, inputs, nothing, refer
from server.declarations import (
    Creation,
    Dataset,
    EntityType,
    Params,
    Progress,
    QueryResult,
    Recorded,
    Services,
    SqlText,
)
from server.errors import MldbError, NotFound
from server.sql.inputs import cells_from_json
from server.sql.parser import parse_expression
from server.sql.tree import Binary, ColumnRef, Constant, DatasetRef, Expression, Select, TableCall, Wildcard
from server.sql.views import Layout, View
from server.transfer.results import rows_of
from server.values.atoms import Atom, Timestamp, atom_to_json, parse_interval
from server.values.cells import Cell, Row, nested
from server.values.paths import Path, parse_path

log = logging.getLogger("mldb.server")

_DAY = 86_400


class ContinuousParams(Params):
    metadataDataset: Spec = Field(description="Dataset that gets a row for each saved chunk")
    createStorageDataset: dict[str, Any] = Field(
        description="Procedure that makes the dataset of a new chunk; its status has the dataset's `config`"
    )
    saveStorageDataset: dict[str, Any] = Field(
        description="Procedure that saves a chunk, given `args.datasetId`; its status has `metadata` and the `config` "
        "to open the chunk with"
    )
    commitInterval: str = Field("1s", description="How often what was recorded is saved")


class WindowParams(Params):
    metadataDataset: Spec = Field(description="Dataset with a row for each saved chunk")
    from_: datetime | None = Field(None, alias="from", description="Chunks that end before are left out")
    to: datetime | None = Field(None, description="Chunks that begin after are left out")
    datasetFilter: SqlText = Field("true", description="SQL condition on the rows of the metadata dataset")


class ContinuousDataset:
    """Records into the chunk under way; a commit saves that and the next row begins another."""

    def __init__(self, services: Services, params: ContinuousParams, metadata_id: str) -> None:
        self._services = services
        self._params = params
        self._metadata_id = metadata_id
        self._lock = threading.RLock()
        self._chunk: str | None = None
        self._filled = False  # the chunk under way holds rows
        self._span = (math.inf, -math.inf)
        self._closed = threading.Event()
        self._interval = min(_seconds(params.commitInterval), threading.TIMEOUT_MAX)
        threading.Thread(target=self._commit_regularly, name="continuous", daemon=True).start()

    def layout(self) -> Layout:
        """Only what waits for its commit."""
        with self._lock:
            if self._chunk is not None:
                return self._services.dataset(self._chunk).layout()
        return nothing()

    def status(self) -> dict[str, Any]:
        return {}

    def persist(self) -> dict[str, Any]:
        return {"inputs": [self._metadata_id]}

    def record_rows(self, rows: Iterable[Recorded]) -> None:
        checked = checked_rows(rows)
        with self._lock:
            self._storage().record_rows(checked)
            self._filled = self._filled or bool(checked)
            times = [time for _, cells in checked for _, _, time in cells if not math.isnan(time)]
            self._span = (min([self._span[0], *times]), max([self._span[1], *times]))

    def record_columns(self, columns: Iterable[Recorded]) -> None:
        self.record_rows(transposed(checked_columns(columns)))

    def write(self, result: QueryResult, progress: Progress) -> None:
        for batch in result.batches(progress):
            progress.check()
            names = map(parse_path, batch.names.to_pylist())
            rows = ([(cell.path, cell.value, cell.timestamp) for cell in row] for row in rows_of(batch.rows))
            self.record_rows(zip(names, rows, strict=True))
        self.commit()

    def _storage(self) -> Dataset:
        if self._chunk is None:
            made = _run(self._services, self._params.createStorageDataset, {})
            self._chunk = _config_of(made, "createStorageDataset", "id")["id"]
        return self._services.dataset(self._chunk)

    def commit(self) -> None:
        """Save the chunk and enter it into the metadata; it stays the one under way when that fails."""
        with self._lock:
            if self._chunk is None or not self._filled:
                return
            self._services.dataset(self._chunk).commit()
            saved = _run(self._services, self._params.saveStorageDataset, {"datasetId": self._chunk})
            name = uuid.uuid4().hex
            config = {"id": name, **_config_of(saved, "saveStorageDataset", "type")}
            metadata = self._services.dataset(self._metadata_id)
            metadata.record_rows([((name,), list(self._row(config, saved.get("metadata"))))])
            metadata.commit()
            self._chunk, self._filled, self._span = None, False, (math.inf, -math.inf)

    def _row(self, config: Any, about: Any) -> Iterator[tuple[Path, Atom, float]]:
        earliest, latest = self._span
        at = latest if math.isfinite(latest) else 0.0
        yield ("earliest",), Timestamp(earliest), at
        yield ("latest",), Timestamp(latest), at
        for cell in cells_from_json({"config": config, "md": about}, timestamp=at):
            if cell.value is not None:
                yield cell.path, cell.value, cell.timestamp

    def _commit_regularly(self) -> None:
        while not self._closed.wait(self._interval):
            try:
                self.commit()
            except MldbError as error:
                self._services.log("continuous", f"a chunk could not be saved: {error.message}", "error")
            except Exception:
                # A disk that is full now need not be so the next time: what was recorded waits for that.
                log.exception("a chunk could not be saved")

    def close(self) -> None:
        self._closed.set()


class WindowDataset(ReadOnly):
    """The chunks of a span of time as one dataset, looked up in the metadata by each query."""

    type_name = "continuous.window"

    def __init__(self, services: Services, params: WindowParams, metadata_id: str) -> None:
        self._services = services
        self._metadata_id = metadata_id
        self._condition = _condition(params)

    def layout(self) -> Layout:
        query = Select((Wildcard(),), source=DatasetRef(self._metadata_id), where=self._condition)
        configs = [_config(row) for batch in self._services.query(query).batches() for row in rows_of(batch.rows)]
        ids = [self._open(config) for config in configs if config]
        return View(TableCall("merge", refer(ids))) if ids else nothing()

    def _open(self, config: dict[str, Any]) -> str:
        """The id of a chunk, which is loaded if it is not there (any more)."""
        try:
            self._services.dataset(config["id"])
        except NotFound:
            self._services.create("dataset", {**config, "persistent": False})
        return str(config["id"])

    def status(self) -> dict[str, Any]:
        return {}

    def persist(self) -> dict[str, Any]:
        return {"inputs": [self._metadata_id]}


def _seconds(text: str) -> float:
    interval = parse_interval(text)
    seconds = interval.seconds + interval.days * _DAY
    if interval.months or not seconds > 0:
        raise MldbError(f"commitInterval must be a time above zero such as '1s' or '5m', not '{text}'")
    return seconds


def _run(services: Services, spec: dict[str, Any], args: dict[str, Any]) -> dict[str, Any]:
    """Run a procedure once; the status of the run."""
    params = dict(spec.get("params") or {})
    if args:
        params["args"] = {**(params.get("args") or {}), **args}
    unnamed = {name: value for name, value in spec.items() if name != "id"}
    result = services.run_procedure({**unnamed, "params": params}).status
    return result if isinstance(result, dict) else {}


def _config_of(status: dict[str, Any], parameter: str, member: str) -> dict[str, Any]:
    config = status.get("config")
    if not isinstance(config, dict) or not (config.get("id") or config.get(member)):
        raise MldbError(
            f"the procedure of {parameter} must give the config of a dataset, with its {member}, as 'config'"
        )
    return config


def _config(row: Row) -> Any:
    """The config of a chunk, of its row in the metadata."""
    below = (cell for cell in row if cell.path[0] == "config" and cell.path[1:] and cell.value is not None)
    return nested([Cell(cell.path[1:], cell.value) for cell in below], atom_to_json)


def _condition(params: WindowParams) -> Expression:
    condition = parse_expression(params.datasetFilter)
    if params.from_ is not None:
        condition = Binary("and", condition, _compare("latest", ">=", params.from_))
    if params.to is not None:
        condition = Binary("and", condition, _compare("earliest", "<=", params.to))
    return condition


def _compare(column: str, operator: str, moment: datetime) -> Expression:
    return Binary(operator, ColumnRef((column,)), Constant(Timestamp(_utc(moment))))


def _utc(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _create_continuous(creation: Creation) -> ContinuousDataset:
    (metadata,) = inputs(creation, [creation.params.metadataDataset])
    return ContinuousDataset(creation.services, creation.params, metadata)


def _create_window(creation: Creation) -> WindowDataset:
    (metadata,) = inputs(creation, [creation.params.metadataDataset])
    return WindowDataset(creation.services, creation.params, metadata)


TYPES = [
    EntityType(
        "dataset",
        "continuous",
        ContinuousParams,
        "A stream of rows, cut into chunks that are saved at intervals",
        _create_continuous,
        "Queries see only what was not saved yet; `continuous.window` reads saved chunks.",
    ),
    EntityType(
        "dataset",
        "continuous.window",
        WindowParams,
        "The saved chunks of a span of time as one dataset",
        _create_window,
    ),
]
