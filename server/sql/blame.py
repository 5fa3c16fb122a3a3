"""Which row and expression made a running query fail: asked of the engine after the failure, within a second."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import duckdb

from server.sql.binder.groups import GroupRelation
from server.sql.binder.query import Query, SelectRelation
from server.sql.binder.rows import item_name
from server.sql.bound import Atom, Embedding
from server.sql.render import render
from server.sql.tree import Call, Item, Node, Select, children, walk
from server.values.paths import format_path

if TYPE_CHECKING:
    import pyarrow as pa

    from server.sql.relations import Relation
    from server.storage.database import Database

SECONDS = 1.0  # for the whole search: the error itself must not wait long
SUSPECTS = 100  # expressions that are tried at most

_DIRECTION = re.compile(r" (ASC|DESC)( NULLS (FIRST|LAST))?$")
_Suspect = tuple[str, str]  # the expression's column or clause, and SQL of the first row in which it fails


def blame(database: Database, query: Query, inputs: Mapping[str, pa.Table]) -> dict[str, str]:
    """``row`` and ``expression`` of a failure, empty where the engine cannot tell."""
    with database.cursor() as cursor:
        timer = threading.Timer(SECONDS, cursor.interrupt)
        timer.start()
        try:
            for name, table in inputs.items():
                cursor.register(name, table)
            return _first(cursor, query)
        except duckdb.InterruptException:
            return {}
        finally:
            timer.cancel()


def of_several(query: Query) -> bool:
    """Whether it may be one of several rows that is to blame."""
    relation = query.relation
    return not (relation.inner if isinstance(relation, GroupRelation) else relation).single


def span_of(expression: str, statement: Select) -> tuple[int, int] | None:
    """Where an expression that was blamed stands in the text of its statement; None where that is not certain."""
    selects = (node for node in walk(statement) if isinstance(node, Select))
    found = {span for select in selects for span in _spans(expression, select)}
    return found.pop() if len(found) == 1 else None


def _spans(expression: str, select: Select) -> Iterator[tuple[int, int]]:
    clauses: dict[str, tuple[Node, ...]] = {
        "WHERE": () if select.where is None else (select.where,),
        "NAMED": () if select.named is None else (select.named,),
        "GROUP BY": select.group_by,
        "ORDER BY": select.order_by,
    }
    if expression in clauses:
        yield from (part.span for part in clauses[expression])
        return
    for clause in select.clauses:
        if isinstance(clause, Item):
            name = format_path(item_name(clause))
            if expression == name or expression.startswith(f"{name}."):
                yield clause.expression.span
        yield from (call.span for call in _calls(clause) if render(call) == expression)


def _calls(node: Node) -> Iterator[Call]:
    if isinstance(node, Call):
        yield node
    for child in children(node):
        yield from _calls(child)


def _first(cursor: Any, query: Query) -> dict[str, str]:
    for _, (label, sql) in zip(range(SUSPECTS), _suspects(query), strict=False):
        try:
            found = cursor.execute(sql).fetchone()
        except duckdb.InterruptException:
            raise
        except duckdb.Error:
            continue  # what the engine cannot try: sub-queries, volatile functions, what it computes while planning
        if found is not None:
            return {"row": str(found[0]), "expression": label}
    return {}


def _suspects(query: Query) -> Iterator[_Suspect]:
    """The expressions of a statement, those that are computed first coming first."""
    relation = query.relation
    if isinstance(relation, SelectRelation):
        yield from _suspects(relation.query)
    if isinstance(relation, GroupRelation):
        labels = dict.fromkeys(relation.keys, "GROUP BY")
        labels |= {sql: render(call) for sql, call in relation.arguments.items() if call is not None}
        yield from _of_rows(relation.inner, labels, relation.where, "an aggregate")
        return
    labels = {
        leaf.sql: format_path(path) for path, leaf in query.row.columns.items() if isinstance(leaf, Atom | Embedding)
    }
    labels |= {rest.sql: format_path(rest.prefix) if rest.prefix else "*" for rest in query.row.rests}
    labels.setdefault(query.path.sql, "NAMED")
    for term in query.order:
        labels.setdefault(_DIRECTION.sub("", term), "ORDER BY")
    yield from _of_rows(relation, labels, query.where, "*")


def _of_rows(relation: Relation, labels: dict[str, str], where: list[str], otherwise: str) -> Iterator[_Suspect]:
    for index, sql in enumerate(relation.staged):
        reads = (label for text, label in labels.items() if relation.ref(f"x{index}") in text)
        yield next(reads, otherwise), _search(relation, sql, [])
    for sql in where:
        yield "WHERE", _search(relation, sql, [])
    for sql, label in labels.items():
        yield label, _search(relation, sql, where)


def _search(relation: Relation, sql: str, where: list[str]) -> str:
    condition = " AND ".join([*where, f"TRY(struct_pack(v := {sql})) IS NULL"])
    name = relation.row_text()
    return f"SELECT {name} FROM {relation.render(f'{name} {condition}', ordered=False)} WHERE {condition} LIMIT 1"
