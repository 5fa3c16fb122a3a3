"""The types of MongoDB: a collection as a dataset, a recorder, ``mongodb.import`` and ``mongodb.query``."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from server.bridges.copies import CopiedDataset
from server.bridges.mongodb import (
    Collection,
    Unreadable,
    cells_of,
    checked_uri,
    collection_of,
    document_of,
    found,
    row_of,
)
from server.bridges.outbox import Outbox
from server.declarations import (
    BoundFunction,
    Creation,
    EntityType,
    OutputDataset,
    ProcedureParams,
    Progress,
    Recorded,
    RunResult,
    Services,
    SqlText,
    StatelessProcedure,
)
from server.errors import MldbError
from server.extras import extra
from server.sql.tree import Call, Select
from server.sql.views import Layout
from server.transfer.inputs import STAGED, import_select, replace_calls, require_atom_name
from server.transfer.outputs import record_all
from server.transfer.results import Counted, column_atoms
from server.values.atoms import NEVER
from server.values.batches import ANY_ROW, Cell, Column, Row, RowBatch, RowType
from server.values.cells import cells_array
from server.values.kinds import Kind

_QUERY = ("query",)


# ── a collection as a dataset ──


@dataclass(frozen=True)
class Documents:
    """A collection as the origin of a dataset."""

    services: Services
    params: Collection

    def version(self) -> Hashable | None:
        """MongoDB has no cheap way to tell whether documents were changed."""
        return None

    def rows(self) -> Iterator[Recorded]:
        with collection_of(self.services, self.params) as collection:
            for document in found(collection):
                try:
                    yield row_of(document)
                except Unreadable as error:
                    raise MldbError(f"The document '{document.get('_id')}' holds {error}") from None


def _create_dataset(creation: Creation) -> CopiedDataset:
    checked_uri(creation.services, creation.params.uriConnectionScheme)
    return CopiedDataset(
        "mongodb.dataset", creation.services.database, Documents(creation.services, creation.params)
    )  # fmt: skip


# ── recording ──


class Recorder(Outbox):
    """A document of the same name is replaced."""

    unreadable = "A mongodb.record dataset cannot be queried: a mongodb.dataset reads its collection"

    def __init__(self, services: Services, params: Collection) -> None:
        super().__init__()
        self._services = services
        self._params = params

    def outgoing(self, row: Recorded) -> dict[str, Any]:
        return document_of(row)

    def send(self, waiting: list[dict[str, Any]]) -> None:
        pymongo = extra("pymongo", "mongodb", "MongoDB")
        with collection_of(self._services, self._params) as collection:
            collection.bulk_write([pymongo.ReplaceOne({"_id": one["_id"]}, one, upsert=True) for one in waiting])


def _create_recorder(creation: Creation) -> Recorder:
    checked_uri(creation.services, creation.params.uriConnectionScheme)
    return Recorder(creation.services, creation.params)


# ── importing ──


class ImportParams(ProcedureParams, Collection):
    outputDataset: OutputDataset = Field(
        default={}, description="Dataset to create; sparse.mutable unless it says otherwise"
    )
    limit: int = Field(-1, description="Most documents to read; -1 for all")
    offset: int = Field(0, ge=0, description="Documents to leave out at the beginning")
    ignoreParsingErrors: bool = Field(False, description="Leave out documents with values that have no counterpart")
    select: SqlText = Field("*", description="What to record of each document")
    where: SqlText = Field("true", description="Which documents to record")
    named: SqlText = Field("oid()", description="Name of a document's row; `oid()` is its `_id`")


class MongodbImport(StatelessProcedure):
    def check(self, params: ImportParams) -> None:
        checked_uri(self.services, params.uriConnectionScheme)

    def run(self, params: ImportParams, progress: Progress) -> RunResult:
        progress.step("iterating", "counter")
        errors: list[str] = []
        with collection_of(self.services, params) as collection:
            documents = found(collection, skip=params.offset, limit=max(params.limit, 0), sort=[("_id", 1)])
            rows = self._rows(documents if params.limit else (), params, errors)
            count = self._record(rows, params, progress)
        return RunResult({"numInsertedRows": count, "numParsingErrors": len(errors)})

    def _rows(self, documents: Any, params: ImportParams, errors: list[str]) -> Iterator[Recorded]:
        for document in documents:
            try:
                yield row_of(document)
            except Unreadable as error:
                if not params.ignoreParsingErrors:
                    raise MldbError(f"The document '{document.get('_id')}' holds {error}") from None
                errors.append(str(document.get("_id")))

    def _record(self, rows: Iterator[Recorded], params: ImportParams, progress: Progress) -> int:
        """Record the rows, or what the SQL parameters make of them; the rows recorded."""
        if (params.select.strip(), params.where.strip(), params.named.strip()) == ("*", "true", "oid()"):
            _, dataset = self.services.output_dataset(params.outputDataset, "sparse.mutable")
            return record_all(dataset, rows, progress)
        staged_id, staged = self.services.output_dataset({"persistent": False}, "sparse.mutable")
        try:
            record_all(staged, rows, progress)
            return self._record_staged(staged.layout(), params, progress)
        finally:
            self.services.delete("dataset", staged_id)

    def _record_staged(self, layout: Layout, params: ImportParams, progress: Progress) -> int:
        lines = import_select(
            select=params.select, where=params.where, named=params.named, timestamp=None, file_timestamp=NEVER, url=""
        )
        tree: Select = replace_calls(lines, {"oid": lambda: Call("rowName", ())})
        require_atom_name(self.services, tree, layout)
        result = Counted(self.services.query(tree, layouts={STAGED: layout}, timestamps=True))
        _, dataset = self.services.output_dataset(params.outputDataset, "sparse.mutable")
        dataset.write(result, progress)
        return result.count


# ── querying ──


class QueryParams(Collection):
    output: Literal["FIRST_ROW", "NAMED_COLUMNS"] = Field(
        "FIRST_ROW", description="The first document, or all of them below `output`, each under its `_id`"
    )


@dataclass(frozen=True)
class MongodbQuery:
    """The function entity: what a query of the collection finds."""

    services: Services
    params: QueryParams
    input = RowType((Column(_QUERY, Kind.STRING),))
    output = ANY_ROW

    def bind(self, given: RowType) -> BoundFunction:
        if given.column(_QUERY) is None and not given.open:
            raise MldbError("The function needs a text 'query', a query of MongoDB in JSON, as input")
        return self

    def apply(self, batch: RowBatch) -> RowBatch:
        with collection_of(self.services, self.params) as collection:
            rows = [self._row(collection, query) for query in column_atoms(batch, _QUERY[0])]
        return RowBatch(self.output, batch.length, [], [], cells_array(rows))

    def _row(self, collection: Any, text: Any) -> Row:
        query = query_of(text)
        now = time.time()
        try:
            if self.params.output == "FIRST_ROW":
                first: Mapping[str, Any] = next(iter(found(collection, query, limit=1)), {})
                return [Cell(path, atom, now) for path, atom in cells_of(first)]
            return [
                Cell(("output", str(one.get("_id")), *path), atom, now)
                for one in found(collection, query)
                for path, atom in cells_of(one)
            ]
        except Unreadable as error:
            raise MldbError(f"A document that was found holds {error}") from None


def query_of(text: Any) -> Mapping[str, Any]:
    """A query of MongoDB out of its (extended) JSON."""
    loads = extra("bson.json_util", "mongodb", "MongoDB").loads
    try:
        query = loads(text if isinstance(text, str) else "")
    except (ValueError, TypeError) as error:
        raise MldbError(f"'query' must be a query of MongoDB in JSON: {error}") from None
    if not isinstance(query, Mapping):
        raise MldbError('\'query\' must be a JSON object, such as {"age": {"$gt": 30}}')
    return query


def _create_query(creation: Creation) -> MongodbQuery:
    checked_uri(creation.services, creation.params.uriConnectionScheme)
    return MongodbQuery(creation.services, creation.params)


TYPES = [
    EntityType(
        "dataset", "mongodb.dataset", Collection, "A collection of MongoDB as a dataset", _create_dataset,
        "Each document is a row named by its `_id`; each query reads the collection anew. Needs the extra `mongodb`.",
    ),
    EntityType(
        "dataset", "mongodb.record", Collection, "Records into a collection of MongoDB", _create_recorder,
        "Each row becomes a document whose `_id` is the row's name; a document of that name is replaced. Rows are "
        "written by the commit, timestamps are not kept. Needs the extra `mongodb`.",
    ),
    EntityType(
        "procedure", "mongodb.import", ImportParams, "Import a collection of MongoDB", MongodbImport.create,
        "Each document becomes a row; `select`, `where` and `named` are SQL that is evaluated for each. Needs the "
        "extra `mongodb`.",
    ),
    EntityType(
        "function", "mongodb.query", QueryParams, "Finds documents of MongoDB", _create_query,
        '`query` is a query of MongoDB as JSON text: `{"age": {"$gt": 30}}`. Needs the extra `mongodb`.',
    ),
]  # fmt: skip
