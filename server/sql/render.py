"""The canonical text of a syntax tree: ``parse(render(tree)) == tree`` for every tree that the parser makes.

Keywords are upper case, brackets stand only where the levels of sql-dialect.md §4.2 need them, and names are quoted
only where they must be. Values without a literal (timestamps, paths, blobs, which only the binder makes) are written as
the call that makes them.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from server.sql.parser.cursor import CLAUSE_WORDS
from server.sql.parser.expressions import COMPARISON, LEVELS, LITERAL_PREFIX, MEMBER, PREFIXES
from server.sql.tree import (
    ArrayLiteral,
    Between,
    Binary,
    Call,
    Case,
    Cast,
    ColumnExpr,
    ColumnRef,
    Constant,
    DatasetRef,
    Exclusion,
    Expression,
    Extract,
    Flatten,
    InList,
    InQuery,
    InRow,
    Is,
    Item,
    Join,
    Like,
    Node,
    OrderKey,
    Parameter,
    RowLiteral,
    RowTable,
    Select,
    SubSelect,
    Table,
    TableCall,
    Unary,
    Wildcard,
)
from server.values.atoms import Atom, Interval, PathValue, Timestamp
from server.values.paths import Path, format_path

_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEYWORDS = CLAUSE_WORDS | PREFIXES.keys() | {"select", "distinct", "column"}


def render(node: Node) -> str:
    """The canonical text of any node."""
    return _RENDER[type(node)](node)


def render_all(nodes: Iterable[Node]) -> str:
    """Nodes separated by commas."""
    return ", ".join(map(render, nodes))


def render_name(path: Path) -> str:
    """A path as it is written in a query, each element quoted where it must be."""
    return ".".join(map(_element, path))


def _element(name: str) -> str:
    if _BARE.fullmatch(name) and name.lower() not in _KEYWORDS and not LITERAL_PREFIX.match(name):
        return name
    return _quoted(name, '"')


# ── expressions ──────────────────────────────────────────────────────────────────────────────────────────────


def _level(expression: Expression) -> int:
    """The level of an expression's outermost operator; 0 for what binds like an operand."""
    match expression:
        case Binary():
            return LEVELS[expression.op]
        case Unary():
            return PREFIXES[expression.op]
        case Between():
            return COMPARISON
        case InList() | InQuery() | InRow() | Like():
            return MEMBER
        case Constant(int() | float() as number) if number < 0:
            return PREFIXES["-"]
        case _:
            return 0


def _within(expression: Expression, level: int) -> str:
    """The text of an operand, in brackets if it binds more loosely than ``level``."""
    text = render(expression)
    return text if _level(expression) <= level else f"({text})"


def _left(expression: Expression, level: int) -> str:
    """The operand before an operator of a level.

    NOT would take a following IN or LIKE as its own, and the upper bound of BETWEEN a following comparison.
    """
    takes_more = isinstance(expression, Unary) and expression.op == "not"
    takes_more |= isinstance(expression, Between) and level == COMPARISON
    return f"({render(expression)})" if takes_more else _within(expression, level)


def _binary(node: Binary) -> str:
    level = LEVELS[node.op]
    # A prefix operator of the same level needs no brackets on the right, a binary one does.
    limit = level if isinstance(node.right, Unary | Constant) else level - 1
    return f"{_left(node.left, level)} {node.op.upper()} {_within(node.right, limit)}"


def _unary(node: Unary) -> str:
    if node.op == "not":
        return f"NOT {_within(node.operand, MEMBER)}"
    limit = PREFIXES[node.op] if isinstance(node.operand, Unary) else PREFIXES[node.op] - 1
    operand = _within(node.operand, limit)
    blank = " " if operand.startswith("-") else ""  # two hyphens begin a comment
    return f"{node.op}{blank}{operand}"


def _not(node: Between | InList | InQuery | InRow | Like | Is) -> str:
    return "NOT " if node.negated else ""


def _between(node: Between) -> str:
    low, high = _within(node.low, COMPARISON), _within(node.high, COMPARISON)
    return f"{_left(node.operand, COMPARISON)} {_not(node)}BETWEEN {low} AND {high}"


def _in(node: InList | InQuery | InRow, inside: str) -> str:
    return f"{_left(node.operand, MEMBER)} {_not(node)}IN ({inside})"


def _like(node: Like) -> str:
    return f"{_left(node.operand, MEMBER)} {_not(node)}LIKE {_left(node.pattern, COMPARISON)}"


def _call(node: Call) -> str:
    path = (node.qualifier, node.name) if node.qualifier is not None else (node.name,)
    return f"{render_name(path)}({'*' if node.star else render_all(node.args)})"


def _case(node: Case) -> str:
    subject = "" if node.subject is None else f" {render(node.subject)}"
    whens = "".join(f" WHEN {render(when)} THEN {render(then)}" for when, then in node.whens)
    default = "" if node.default is None else f" ELSE {render(node.default)}"
    return f"CASE{subject}{whens}{default} END"


def _parameter(node: Parameter) -> str:
    return "$" + (node.name if node.name.isdigit() or _BARE.fullmatch(node.name) else _quoted(node.name, '"'))


def _quoted(text: str, quote: str) -> str:
    return quote + text.replace(quote, quote * 2) + quote


def render_constant(atom: Atom) -> str:
    """The literal of an atom, or the call that makes it where there is no literal."""
    quote = "'"
    match atom:
        case None:
            return "NULL"
        case str():
            return _quoted(atom, quote)
        case float() if not math.isfinite(atom):
            return "nan" if math.isnan(atom) else "inf" if atom > 0 else "-inf"
        case int() | float():
            return repr(atom)
        case Interval():
            return f"INTERVAL '{_interval_parts(atom)}'"
        case Timestamp():
            return f"TIMESTAMP '{atom}'"
        case PathValue(path):
            return f"parse_path({_quoted(format_path(path), quote)})"
        case bytes():
            return f"base64_decode('{base64.b64encode(atom).decode()}')"


def _interval_parts(interval: Interval) -> str:
    sign = "-" if interval.negative else ""
    seconds = f"{Decimal(repr(abs(interval.seconds))):f}"
    return f"{sign}{abs(interval.months)} month {abs(interval.days)} day {seconds} second"


# ── clauses ──────────────────────────────────────────────────────────────────────────────────────────────────


def _wildcard(node: Wildcard) -> str:
    excluding = f" EXCLUDING ({render_all(node.excluding)})" if node.excluding else ""
    target = "" if node.target is None else f" AS {render_name(node.target)}*"
    dot = "." if node.dotted else ""
    return f"{render_name(node.prefix)}{dot}*{excluding}{target}"


def _exclusion(node: Exclusion) -> str:
    return render_name(node.path) + ("*" if node.prefix else "")


def _item(node: Item) -> str:
    return render(node.expression) + ("" if node.name is None else f" AS {render_name(node.name)}")


def _column_expr(node: ColumnExpr) -> str:
    parts = [
        _part("SELECT", node.select),
        _part("AS", node.as_),
        _part("WHERE", node.where),
        _order_by(node.order_by),
        "" if node.offset is None else f"OFFSET {node.offset}",
        "" if node.limit is None else f"LIMIT {node.limit}",
    ]
    structured = "STRUCTURED " if node.structured else ""
    return f"COLUMN EXPR {structured}({' '.join(filter(None, parts))})"


def _part(keyword: str, node: Node | None) -> str:
    return "" if node is None else f"{keyword} {render(node)}"


def _order_by(keys: tuple[OrderKey, ...]) -> str:
    return f"ORDER BY {render_all(keys)}" if keys else ""


def _order_key(node: OrderKey) -> str:
    return render(node.expression) + (" DESC" if node.descending else "")


# ── tables and statements ────────────────────────────────────────────────────────────────────────────────────


def _alias(node: DatasetRef | SubSelect | TableCall | RowTable) -> str:
    return "" if node.alias is None else f" AS {_element(node.alias)}"


def _table_call(node: TableCall) -> str:
    arguments = node.tables if node.options is None else (*node.tables, node.options)
    return f"{_element(node.name)}({render_all(arguments)}){_alias(node)}"


def _join(node: Join) -> str:
    """The right operand would take a following ON, and a left one without ON the whole join: both are bracketed."""
    left = _bracketed(node.left) if isinstance(node.left, Join) and node.left.on is None else render(node.left)
    right = _bracketed(node.right) if isinstance(node.right, Join) else render(node.right)
    kind = "" if node.kind == "inner" else f"{node.kind.upper()} "
    return f"{left} {kind}JOIN {right}" + ("" if node.on is None else f" ON {render(node.on)}")


def _bracketed(table: Table) -> str:
    return f"({render(table)})"


def _select(node: Select) -> str:
    parts = [
        "SELECT",
        f"DISTINCT ON ({render_all(node.distinct_on)})" if node.distinct_on else "",
        render_all(node.clauses),
        _part("NAMED", node.named),
        _part("FROM", node.source),
        _part("WHEN", node.when),
        _part("WHERE", node.where),
        f"GROUP BY {render_all(node.group_by)}" if node.group_by else "",
        _part("HAVING", node.having),
        _order_by(node.order_by),
        "" if node.limit is None else f"LIMIT {node.limit}",
        f"OFFSET {node.offset}" if node.offset else "",
    ]
    return " ".join(filter(None, parts))


_RENDER: dict[type, Callable[[Any], str]] = {
    Constant: lambda node: render_constant(node.value),
    ColumnRef: lambda node: render_name(node.path),
    Parameter: _parameter,
    Call: _call,
    Unary: _unary,
    Binary: _binary,
    Between: _between,
    InList: lambda node: _in(node, render_all(node.items)),
    InQuery: lambda node: _in(node, render(node.query)),
    InRow: lambda node: _in(node, f"{node.of.upper()} OF {render(node.row)}"),
    Like: _like,
    Is: lambda node: f"{_within(node.operand, 0)} IS {_not(node)}{node.what.upper()}",
    Case: _case,
    Cast: lambda node: f"CAST ({render(node.operand)} AS {_element(node.type)})",
    RowLiteral: lambda node: "{" + render_all(node.clauses) + "}",
    ArrayLiteral: lambda node: f"[{render_all(node.items)}]",
    Extract: lambda node: f"{_within(node.base, 0)}[{render(node.inner)}]",
    Wildcard: _wildcard,
    Exclusion: _exclusion,
    Item: _item,
    Flatten: lambda node: f"{render(node.expression)} AS *",
    ColumnExpr: _column_expr,
    OrderKey: _order_key,
    DatasetRef: lambda node: _element(node.name) + _alias(node),
    SubSelect: lambda node: _bracketed(node.query) + _alias(node),
    TableCall: _table_call,
    RowTable: lambda node: f"{node.name}({_within(node.expression, 0)}){_alias(node)}",
    Join: _join,
    Select: _select,
}
