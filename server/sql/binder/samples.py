"""``sample(t, {…})``: random rows of a table (sql-dialect.md §6.2)."""

from __future__ import annotations

import random
from typing import Any

from server.errors import MldbError
from server.sql.binder.base import bind_table
from server.sql.binder.query import FromRelation
from server.sql.bound import Atom, Row
from server.sql.duck import select_list
from server.sql.notes import Note
from server.sql.relations import Relation
from server.sql.scope import Context
from server.sql.tree import Constant, Item, RowLiteral, TableCall, Unary

NOTES = [
    Note("sample(t: table[, options: row]) → table", "Random rows, one without options. Options: `rows` or "
         "`fraction`, `withReplacement` (0), `seed` (random).",
         ("SELECT count(*) AS x FROM sample(row_dataset({a: 1, b: 2, c: 3}), {rows: 2, seed: 1})", "2")),
]  # fmt: skip


def sample(node: TableCall, context: Context) -> Relation:
    if len(node.tables) != 1:
        raise MldbError(
            "The 'sample' function takes 1 dataset as input, followed by a row expression of optional parameters"
        )
    return SampleRelation(context, bind_table(node.tables[0], context), _options(node.options), node.alias)


def _options(options: RowLiteral | None) -> dict[str, Any]:
    """The options of ``sample`` as Python values, checked (entity-types.md §2.4)."""
    found: dict[str, Any] = {}
    for clause in options.clauses if options is not None else ():
        if not isinstance(clause, Item):
            raise MldbError("sample takes its options as {name: constant}")
        found[".".join(clause.name or (clause.text,))] = _constant(clause)
    unknown = set(found) - {"rows", "fraction", "withReplacement", "seed"}
    if unknown:
        raise MldbError(f"Unknown option '{min(unknown)}' of sample; known are rows, fraction, withReplacement, seed")
    return _checked(found)


def _constant(item: Item) -> Any:
    match item.expression:
        case Constant(value=value):
            return value
        case Unary(op="-", operand=Constant(value=int() | float() as value)):
            return -value
    raise MldbError("the options of sample are constants")


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    rows, fraction = options.get("rows", 0), options.get("fraction", 0)
    for name, value in options.items():
        if not isinstance(value, int | float) or (name != "fraction" and not isinstance(value, int)) or value != value:
            kind = "a number" if name == "fraction" else "an integer"
            raise MldbError(f"The '{name}' parameter of sample needs to be {kind}. Value provided is '{value}'")
    if not 0 <= rows < 2**63:
        raise MldbError(f"The 'rows' parameter cannot be negative or beyond 64 bits. Value provided is '{rows}'")
    if rows and fraction:
        raise MldbError("The 'rows' and 'fraction' parameters cannot be set at the same time.")
    if not rows and "fraction" in options and not 0 < fraction <= 1:
        raise MldbError(
            f"The 'fraction' parameter needs to be between 0 and 1. Value provided is '{options['fraction']:.4f}'"
        )
    if not rows and not fraction:
        options["rows"] = 1
    return options


class SampleRelation(FromRelation):
    """Rows drawn at random, reproducibly when a seed is given."""

    def __init__(self, context: Context, inner: Relation, options: dict[str, Any], alias: str | None) -> None:
        super().__init__(context.number(), alias)
        self.inner = inner
        self._row = self.export_row(inner.row())
        count = context.execute(f"SELECT count(*) FROM {inner.render('', ordered=False)}")[0][0]
        self.rows = int(options.get("rows") or count * options["fraction"])
        self.replaced = bool(options.get("withReplacement", False))
        if self.rows > count and not self.replaced:
            raise MldbError(
                "Requested more rows without replacement than available number of rows in original dataset."
            )
        self.count = count
        if not options.get("seed"):
            context.marks.add("volatile")
        self.seed = options.get("seed") or random.getrandbits(31)

    def row(self) -> Row:
        return self._row

    def row_path(self) -> Atom:
        path = self.inner.row_path()
        return Atom(self.offer(path.sql), path.kind)

    def row_hash(self) -> str:
        return self.offer(self.inner.row_hash())

    def base(self, used: set[str], ordered: bool) -> str:
        columns = select_list(self.exported(used))
        name = self.inner.row_text()
        source = self.inner.render(f"{columns} {name}", ordered=False)
        if not self.replaced:
            drawn = f"SELECT {columns} FROM {source} ORDER BY hash({name}, {self.seed}) LIMIT {self.rows}"
        else:
            place = f"row_number() OVER (ORDER BY {name}) - 1"
            draws = f"SELECT hash(i, {self.seed}) % {max(self.count, 1)} AS draw FROM range({self.rows}) AS d(i)"
            placed = f"SELECT {columns}, {place} AS place FROM {source}"
            drawn = f"SELECT s.* EXCLUDE (place) FROM ({draws}) JOIN ({placed}) s ON s.place = draw"
        return f"({drawn}) AS r{self.number}"
