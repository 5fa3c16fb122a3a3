"""Checks of input queries that many procedures make before they start (entity-types.md §1.3).

Each takes the tree of the query and the type's name, which begins the error's text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, TypeVar

from server.declarations import Services
from server.errors import MldbError
from server.sql.parser import parse_query
from server.sql.render import render
from server.sql.tree import (
    ArrayLiteral,
    Binary,
    Call,
    Clause,
    ColumnExpr,
    ColumnRef,
    Constant,
    DatasetRef,
    Expression,
    Extract,
    Flatten,
    Is,
    Item,
    RowLiteral,
    Select,
    Table,
    Unary,
    Wildcard,
)
from server.values.paths import Path

ClauseName = Literal["groupBy", "having", "where", "limit", "offset"]
_Query = TypeVar("_Query")
_FEATURES_AND_LABEL = "{} expects a row named 'features' and a scalar named 'label'"
_SCORE_AND_LABEL = "{} expects a scalar named 'score' and a scalar named 'label'"
_PLAIN = (ColumnRef, RowLiteral, Constant, Call, Extract, Is)
_PLAIN_OPERATORS = frozenset(("=", "!=", "<", "<=", ">", ">=", "and", "or"))
_CLAUSES: dict[ClauseName, tuple[str, Callable[[Select], bool]]] = {
    "groupBy": ("groupBy clause", lambda select: bool(select.group_by)),
    "having": ("having clause", lambda select: select.having is not None),
    "where": ("where", lambda select: select.where is not None),
    "limit": ("limit", lambda select: select.limit is not None),
    "offset": ("offset", lambda select: select.offset != 0),
}


def required(query: _Query | None, name: str, parameter: str = "trainingData") -> _Query:
    """The query of a run. A procedure may be created without it; ``MldbError`` when no run gives it either."""
    if query is None:
        raise MldbError(f"{name} requires '{parameter}' to be set")
    return query


def input_query(services: Services, query: Any) -> Select:
    """The tree of an input query, a statement or an object; a dataset config in ``from`` is created on the fly."""

    def created(config: Mapping[str, Any]) -> Table:
        if not config.get("type"):
            if not config.get("id"):
                raise MldbError("the dataset in 'from' needs an id, or the type and params to create it with")
            return DatasetRef(str(config["id"]))
        return DatasetRef(services.inline_dataset(config))

    return parse_query(query, created)


def require_from(select: Select, name: str) -> None:
    if select.source is None:
        raise MldbError(f"{name} must contain a FROM clause")


def refuse(select: Select, name: str, *clauses: ClauseName) -> None:
    """``MldbError`` for the first of these clauses that the query has."""
    for clause in clauses:
        text, present = _CLAUSES[clause]
        if present(select):
            raise MldbError(f"{name} does not support {text}")


def checked_query(services: Services, query: Any, name: str, *refused: ClauseName) -> Select:
    """The tree of an input query; ``MldbError`` when it lacks a FROM clause, or has one of the refused ones."""
    select = input_query(services, query)
    require_from(select, name)
    refuse(select, name, *refused)
    return select


def plain_columns(select: Select, name: str) -> None:
    """The plain-column rule: at the top level only wildcards, columns, rows, calls, comparisons and the like."""
    for clause in select.clauses:
        if not _is_plain_clause(clause):
            raise MldbError(f"{name} only accepts wildcard and column names at {_shown(clause)}")


def _is_plain_clause(clause: Clause) -> bool:
    if isinstance(clause, Wildcard | ColumnExpr):
        return True
    return is_plain(clause.expression)


def is_plain(expression: Expression) -> bool:
    """Whether the plain-column rule allows an expression."""
    if isinstance(expression, _PLAIN):
        return True
    if isinstance(expression, Binary):
        return expression.op in _PLAIN_OPERATORS
    return isinstance(expression, Unary) and expression.op == "not"


def whole_columns(select: Select, name: str) -> None:
    """Only columns and wildcards, nothing computed."""
    for clause in select.clauses:
        if not (
            isinstance(clause, Wildcard) or (isinstance(clause, Item) and isinstance(clause.expression, ColumnRef))
        ):
            raise MldbError(
                f"{_shown(clause)} is not a supported SELECT value expression for {name}, which only accepts wildcard "
                "and column names"
            )


def features_and_label(select: Select, name: str) -> None:
    """A row ``features`` and a scalar ``label``, as far as the tree tells."""
    features_and_any_label(select, name)
    if not (_has_row(select, "features") and _has_scalar(select, "label")):
        raise MldbError(_FEATURES_AND_LABEL.format(name))


def features_and_any_label(select: Select, name: str) -> None:
    """Something named ``features`` and something named ``label``, which is a row where there are several labels."""
    if not (has_part(select, "features") and has_part(select, "label")):
        raise MldbError(_FEATURES_AND_LABEL.format(name))


def score_and_label(select: Select, name: str) -> None:
    """Scalars ``score`` and ``label``, as far as the tree tells."""
    if not (_has_scalar(select, "score") and _has_scalar(select, "label")):
        raise MldbError(_SCORE_AND_LABEL.format(name))


def any_score_and_label(select: Select, name: str) -> None:
    """Something named ``score`` and something named ``label``, rows where there are several labels."""
    if not (has_part(select, "score") and has_part(select, "label")):
        raise MldbError(_SCORE_AND_LABEL.format(name))


def has_part(select: Select, part: str) -> bool:
    """Whether some clause may give a column ``part`` or columns below it."""
    return any(may_give(clause, part) for clause in select.clauses)


def may_give(clause: Clause, part: str) -> bool:
    """Whether a clause may give ``part`` or columns below it; what only the data tell counts as yes."""
    return any(path is None or path[:1] == (part,) for path in _names(clause))


def part_expression(select: Select, part: str) -> Expression | None:
    """The expression that the query names ``part``, None when it comes by a wildcard or in pieces."""
    for clause in select.clauses:
        if isinstance(clause, Item) and item_path(clause) == (part,):
            return clause.expression
    return None


def item_path(item: Item) -> Path:
    """The name that an item gives its value: its alias, a column's own path, or the text of the expression."""
    if item.name is not None:
        return item.name
    return item.expression.path if isinstance(item.expression, ColumnRef) else (item.text,)


def _names(clause: Clause) -> Iterator[Path | None]:
    """Names that a clause gives, None for those that are not known here."""
    if isinstance(clause, Item):
        path = item_path(clause)
        yield path
        if clause.name is None and isinstance(clause.expression, ColumnRef):
            yield path[1:] or path  # the first element may be the alias of a table
    elif isinstance(clause, Wildcard):
        target = clause.prefix if clause.target is None else clause.target
        yield target or None
    else:
        yield None


def _has_row(select: Select, part: str) -> bool:
    expression = part_expression(select, part)
    return has_part(select, part) and not isinstance(expression, Constant | Is | Binary)


def _has_scalar(select: Select, part: str) -> bool:
    expression = part_expression(select, part)
    return has_part(select, part) and not isinstance(expression, RowLiteral | ArrayLiteral)


def _shown(clause: Clause) -> str:
    if isinstance(clause, Item | Flatten | ColumnExpr) and clause.text:
        return clause.text
    return render(clause)
