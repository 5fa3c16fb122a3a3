"""The syntax tree of the dialect: frozen dataclasses, each with the span of source text it came from.

Two nodes are equal when they say the same, whatever their spans: that is how GROUP BY keys are found again in
SELECT (sql-dialect.md §5), and it makes every node a dictionary key.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any
from typing import Literal as OneOf

from server.values.atoms import Atom
from server.values.paths import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """``span``: offsets of the first character and past the last one in the query's text."""

    span: tuple[int, int] = field(default=(0, 0), compare=False, repr=False)


# ── expressions ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Constant(Node):
    """A literal: null, number, string, INTERVAL. (TIMESTAMP 'x' is ``Call('to_timestamp')``.)"""

    value: Atom

    def __eq__(self, other: object) -> bool:
        # NaN is unequal to itself, and a tree is to be found again.
        return isinstance(other, Constant) and (self.value is other.value or self.value == other.value)

    def __hash__(self) -> int:
        return hash(self.value)


@dataclass(frozen=True, slots=True)
class ColumnRef(Node):
    """A column by its written path, table alias included."""

    path: Path


@dataclass(frozen=True, slots=True)
class Parameter(Node):
    """``$x``, ``$1``, ``$"any name"``."""

    name: str


@dataclass(frozen=True, slots=True)
class Call(Node):
    """A function call, ``qualifier.name(args)``; ``star`` for ``count(*)``."""

    name: str
    args: tuple[Expression, ...]
    qualifier: str | None = None
    star: bool = False


@dataclass(frozen=True, slots=True)
class Unary(Node):
    op: OneOf["-", "+", "~", "not"]
    operand: Expression


@dataclass(frozen=True, slots=True)
class Binary(Node):
    """``+ - * / % & | ^ @``, ``= != < <= > >=`` (``<>`` is read as ``!=``), ``and``, ``or``."""

    op: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Between(Node):
    operand: Expression
    low: Expression
    high: Expression
    negated: bool = False


@dataclass(frozen=True, slots=True)
class InList(Node):
    operand: Expression
    items: tuple[Expression, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class InQuery(Node):
    operand: Expression
    query: Select
    negated: bool = False


@dataclass(frozen=True, slots=True)
class InRow(Node):
    """``x IN (KEYS OF row)`` or ``x IN (VALUES OF row)``."""

    operand: Expression
    of: OneOf["keys", "values"]
    row: Expression
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Like(Node):
    operand: Expression
    pattern: Expression
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Is(Node):
    operand: Expression
    what: OneOf["null", "true", "false", "string", "number", "integer", "timestamp", "interval"]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Case(Node):
    subject: Expression | None
    whens: tuple[tuple[Expression, Expression], ...]
    default: Expression | None


@dataclass(frozen=True, slots=True)
class Cast(Node):
    """``CAST (x AS type)``; ``type`` as written, lower case, checked by the binder."""

    operand: Expression
    type: str


@dataclass(frozen=True, slots=True)
class RowLiteral(Node):
    """``{…}``."""

    clauses: tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class ArrayLiteral(Node):
    """``[…]``."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Extract(Node):
    """``base[inner]``: ``inner`` is evaluated with the columns of ``base`` in scope."""

    base: Expression
    inner: Expression


Expression = (
    Constant | ColumnRef | Parameter | Call | Unary | Binary | Between | InList | InQuery | InRow
    | Like | Is | Case | Cast | RowLiteral | ArrayLiteral | Extract
)  # fmt: skip


# ── SELECT list and row literal clauses ──────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Exclusion(Node):
    """An item of EXCLUDING: an exact column name, or (``prefix``) all that start with it."""

    path: Path
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class Wildcard(Node):
    """``prefix*`` with EXCLUDING and ``AS target*``. ``target`` is None when nothing is renamed.

    ``prefix`` is the path before the star without a trailing dot (``x.*`` and ``x*`` are the same, §4.4), ``()``
    for a bare star; ``target`` likewise (``()`` for ``AS *``). ``dotted``: it was written ``x.*``.
    """

    prefix: Path = ()
    excluding: tuple[Exclusion, ...] = ()
    target: Path | None = None
    dotted: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Item(Node):
    """An expression with its name: ``name`` is given for AS and ``name:``, else ``text`` is the automatic name."""

    expression: Expression
    name: Path | None = None
    text: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Flatten(Node):
    """``expression AS *``; ``text`` is the expression's source, for messages."""

    expression: Expression
    text: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class OrderKey(Node):
    expression: Expression
    descending: bool = False


@dataclass(frozen=True, slots=True)
class ColumnExpr(Node):
    """``COLUMN EXPR (SELECT … AS … WHERE … ORDER BY … OFFSET … LIMIT …)``; None where a part is left out."""

    select: Expression | None = None
    as_: Expression | None = None
    where: Expression | None = None
    order_by: tuple[OrderKey, ...] = ()
    offset: int | None = None
    limit: int | None = None
    structured: bool = False
    text: str = field(default="", compare=False)


Clause = Wildcard | Item | Flatten | ColumnExpr


# ── FROM ─────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class DatasetRef(Node):
    """A dataset by name. ``alias`` is None when none is written (the name then serves)."""

    name: str
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class SubSelect(Node):
    query: Select
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class TableCall(Node):
    """``transpose(…)``, ``merge(…)``, ``sample(…, {…})``; ``options`` is the trailing row literal, if any."""

    name: str
    tables: tuple[Table, ...]
    options: RowLiteral | None = None
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class RowTable(Node):
    """``row_dataset(expression)`` or ``atom_dataset(expression)``."""

    name: OneOf["row_dataset", "atom_dataset"]
    expression: Expression
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class Join(Node):
    left: Table
    right: Table
    kind: OneOf["inner", "left", "right", "full"]
    on: Expression | None = None


Table = DatasetRef | SubSelect | TableCall | RowTable | Join


# ── statement ────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Select(Node):
    """A whole statement. ``clauses`` are never empty; ``where`` and ``when`` are None when left out."""

    clauses: tuple[Clause, ...]
    distinct_on: tuple[Expression, ...] = ()
    named: Expression | None = None
    source: Table | None = None
    when: Expression | None = None
    where: Expression | None = None
    group_by: tuple[Expression, ...] = ()
    having: Expression | None = None
    order_by: tuple[OrderKey, ...] = ()
    limit: int | None = None
    offset: int = 0


def conjuncts(expression: Expression | None) -> list[Expression]:
    """The parts of a condition that are joined by AND."""
    if isinstance(expression, Binary) and expression.op == "and":
        return [*conjuncts(expression.left), *conjuncts(expression.right)]
    return [] if expression is None else [expression]


def children(node: Node) -> list[Node]:
    """The nodes directly below one; a sub-query is closed in itself and is not entered."""
    return [one for one in parts(node) if not isinstance(one, Select)]


def walk(node: Node) -> Iterator[Node]:
    """A node and all nodes below it, sub-queries among them."""
    yield node
    for part in parts(node):
        yield from walk(part)


def parts(node: Node) -> list[Node]:
    """The nodes directly below one, sub-queries among them."""
    found: list[Node] = []
    kind: Any = type(node)
    for name in _members(kind):
        stack = [getattr(node, name)]
        while stack:
            one = stack.pop()
            if isinstance(one, Node):
                found.append(one)
            elif isinstance(one, tuple):
                stack.extend(reversed(one))
    return found


@cache
def _members(kind: Any) -> tuple[str, ...]:
    """The members of a class of nodes that can hold nodes."""
    return tuple(member.name for member in fields(kind) if member.name != "span")
