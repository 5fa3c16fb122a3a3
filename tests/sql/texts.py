"""Query texts made at random from the grammar of the dialect, right and wrong ones; the same for the same seed.

Half of what goes wrong in a compiler of queries goes wrong where two things meet that nobody had put side by side: so
every part of the grammar may stand wherever the grammar lets it, with the columns, datasets and functions that the
query fixtures have. Some texts are damaged afterwards.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

from server.sql.functions import BUILTINS

COLUMNS = (
    "x",
    "y",
    "s",
    "k",
    "id",
    "v",
    "w",
    "a",
    "b",
    "c",
    "a.b",
    "z",
    "x.a",
    "same",
    "label",
    "nope",
    '"a b"',
    '"é"',
)
DATASETS = ("d", "e", "n", "multi", "ties", "nulls", "mixed", "ts", '"all types"', "w", "t_d")
ALIASES = ("t", "u", "d", '"a.b"', "r")
PREFIXES = ("x", "a", "y", "a.b", "k", '"a b"')
INTEGERS = ("0", "1", "2", "3", "-1", "10", "32", "255", "4294967296", "9007199254740993", "9223372036854775807",
            "9223372036854775808", "18446744073709551615", "18446744073709551616", "01")  # fmt: skip
FLOATS = ("0.5", "1.0", "-2.25", "1e5", "1e-7", "1e308", "1e400", ".5", "2.", "NaN", "inf", "-Infinity")
TEXTS = ("'a'", "''", "'abc'", "'1'", "'1.5'", "'é'", "'日本'", "'😀'", "'it''s'", "'a b a'", "'a,b;c'", "'x.y'",
         "'\\'", "'true'", "'%'", "'a%'", "'_b'", "'['", "'(a|b)+'", "'{\"a\": [1, {\"b\": null}]}'", "'[1,2,3]'",
         "'[{\"x\":1}]'", "'2015-01-03T10:00:00Z'", "'2015-02-30'", "'day'", "'month'", "'http://a.b.example.com/c'",
         "'<p>Hi <a href=\"x\">y</a></p>'", "'aGVsbG8='", "'+05:30'", "'nan'", "'x'", "'\n'", "'\"'")  # fmt: skip
INTERVALS = ("INTERVAL '1 day'", "INTERVAL '-2 month 3 s'", 'INTERVAL "1Y2W"', "INTERVAL '1.5 s'", "INTERVAL '0 s'",
             "INTERVAL '14 D 2h'")  # fmt: skip
INSTANTS = ("TIMESTAMP '2015-01-03'", "TIMESTAMP 0", "TIMESTAMP 1e18", "TIMESTAMP 'nonsense'", "TIMESTAMP NULL",
            "TIMESTAMP '2012-W05-3'", "now()", "TIMESTAMP -1.5", "TIMESTAMP inf", "TIMESTAMP nan")  # fmt: skip
WORDS = ("NULL", "TRUE", "FALSE")
TYPES = ("string", "integer", "number", "boolean", "timestamp", "path", "blob", "STRING", '"number"')
ARITHMETIC = (" + ", " - ", " * ", " / ", " % ", " & ", " | ", " ^ ", "+", "-", "*", "/", " @ ")
COMPARISONS = (" = ", " != ", " <> ", " < ", " <= ", " > ", " >= ", "=", "<")
UNTRIED = {"fetcher", "_fail_memory_allocation"}  # reach out, or break what they are to break
SCALARS = tuple(name for name in BUILTINS if name not in UNTRIED)
AGGREGATES = ("count", "vertical_count", "count_distinct", "sum", "vertical_sum", "avg", "vertical_avg", "min", "max",
              "variance", "stddev", "vertical_min", "earliest", "latest", "vertical_latest", "string_agg", "pivot",
              "vertical_string_agg", "likelihood_ratio")  # fmt: skip
OF_COLUMNS = ("columnName()", "columnPath()", "columnPathElement(0)", "columnPathElement(-1)", "columnPathLength()",
              "value()", "rowCount()", "columnHash()")  # fmt: skip
OF_ROWS = ("rowName()", "rowPath()", "rowHash()", "rowPathElement(0)", "rowPathElement(-1)", "columnCount()",
           "t.rowName()", "d.rowHash()", "nosuch.rowName()")  # fmt: skip
OF_GROUPS = ("groupKeyElement(0)", "group_key_element(0)", "rowName()", "rowHash()", "rowPath()", "count(*)")
OF_JOINS = ("leftRowName()", "rightRowPath()", "leftRowPath()", "rightRowName()", "t.rowPath()", "u.rowHash()")
MISPLACED = (*OF_COLUMNS, *OF_JOINS, *OF_GROUPS, "value_timestamp()", "$x", "$1", '$"a b"', "INTERVAL '9 x'",
             "INTERVAL '1.5 day'", "INTERVAL ''", "nosuch(1)", "a.b.f()", "x y", "sum(x)", "max({*})",
             "lineNumber()")  # fmt: skip
USER_FUNCTIONS = ("plus", "twice", "nested", "every", "late", "moody", "of_x", "names", "cells")
JUNK = ("(", ")", "[", "]", "{", "}", ",", ".", ":", "*", ";", "''", "'", '"', "--", "/*", "*/", "\\", "\x00", "é", "$",
        "SELECT", "FROM", "AS", "WHERE", "NOT", "IN", "1", "x", "::", "||", "==", "DISTINCT", "nullable", "\ufeff",
        "\ud800", "’")  # fmt: skip
_TOKEN = re.compile(r"\w+|'[^']*'|\"[^\"]*\"|\s+|[^\w\s]")


class Texts:
    """Texts from one random source.

    ``depth`` bounds how deep expressions nest. ``wrong`` is the share of choices where something stands that must not
    stand there: without any, most texts bind and what they compile to is looked at, with some, the errors are.
    """

    def __init__(self, source: random.Random, depth: int = 4, wrong: float = 0.0) -> None:
        self.source = source
        self.depth = depth
        self.wrong = wrong
        self.leaves: Callable[[], str] = self.constant

    def pick(self, options: Sequence[str]) -> str:
        return options[int(self.source.random() * len(options))]

    def chance(self, share: float) -> bool:
        return self.source.random() < share

    def some(self, make: Callable[[], str], most: int, least: int = 1) -> str:
        return ", ".join(make() for _ in range(self.source.randint(least, most)))

    def misplaced(self) -> bool:
        return self.wrong > 0 and self.chance(self.wrong)

    def maybe(self, share: float, make: Callable[[], str]) -> str:
        return make() if self.chance(share) else ""

    # ── statements ──

    def text(self) -> str:
        """A statement, in one case of eight damaged."""
        text = self.statement()
        if self.chance(0.125):
            text = self.damaged(text)
        return text

    def statement(self) -> str:
        before, self.depth, leaves = self.depth, self.depth - 1, self.leaves
        parts = self.with_from() if self.chance(0.88) else self.without_from()
        parts.append(self.maybe(0.15, lambda: f"LIMIT {self.source.randrange(4)}"))
        parts.append(self.maybe(0.08, lambda: f"OFFSET {self.source.randrange(3)}"))
        self.depth, self.leaves = before, leaves
        return self.pick((" ", " ", " ", "\n", " /* é */ ")).join(part for part in parts if part)

    def without_from(self) -> list[str]:
        self.leaves = self.constant
        return ["SELECT " + self.some(self.item, 3), self.maybe(0.1, lambda: "NAMED " + self.expression())]

    def with_from(self) -> list[str]:
        source = "FROM " + self.table()
        self.leaves = self.joined_column if " JOIN " in source and self.chance(0.8) else self.column
        when = self.maybe(0.1, self.when)
        where = self.maybe(0.35, lambda: "WHERE " + self.condition())
        if self.chance(0.25):
            selected, grouping = self.grouped()
        else:
            order = [self.order_key() for _ in range(self.source.choices((0, 1, 2), (7, 2, 1))[0])]
            grouping = [self.maybe(len(order), lambda: "ORDER BY " + ", ".join(order))]
            distinct = order and self.chance(0.2)
            keys = order[0].removesuffix(" ASC").removesuffix(" DESC") if distinct else self.expression()
            selected = f"DISTINCT ON ({keys}) " if distinct or self.misplaced() else ""
            selected += self.some(self.clause, 3)
        named = self.maybe(0.1, lambda: "NAMED " + self.expression())
        return ["SELECT", selected, named, source, when, where, *grouping]

    def when(self) -> str:
        leaves = self.leaves
        self.leaves = lambda: "value_timestamp()" if self.chance(0.6) else leaves()
        made = "WHEN " + self.condition()
        self.leaves = leaves
        return made

    def grouped(self) -> tuple[str, list[str]]:
        """The SELECT list of a query with groups, and what follows WHERE."""
        keys = [self.expression() for _ in range(self.source.randint(0, 2))]
        inside, known = self.leaves, (*keys, *OF_GROUPS[(0 if keys else 2) :])

        def leaf() -> str:
            if self.misplaced():
                return inside()
            if self.chance(0.45):
                return self.pick(known)
            self.leaves = inside
            made = self.aggregate()
            self.leaves = leaf
            return made

        self.leaves = leaf
        tail = [self.maybe(len(keys), lambda: "GROUP BY " + ", ".join(keys))]
        tail.append(self.maybe(0.3 if keys else self.wrong, lambda: "HAVING " + self.test()))
        tail.append(self.maybe(0.3, lambda: "ORDER BY " + self.some(self.order_key, 2)))
        selected = self.some(self.item, 3) if keys else f"{self.aggregate_of(inside, leaf)}, {self.some(self.item, 2)}"
        return selected, tail

    def aggregate_of(self, inside: Callable[[], str], outside: Callable[[], str]) -> str:
        self.leaves = inside
        made = self.aggregate()
        self.leaves = outside
        return made

    def order_key(self) -> str:
        return self.expression() + self.pick(("", " ASC", " DESC"))

    # ── clauses ──

    def clause(self) -> str:
        make = self.source.choices(
            (self.item, self.plain_wildcard, self.wildcard, self.column_expr, self.flattened), (10, 2, 2, 1.5, 2)
        )[0]
        return make()

    def item(self) -> str:
        expression = self.expression()
        form = self.source.random()
        if form < 0.5:
            return expression
        name = self.pick((*COLUMNS, "p.q", "out", '""'))
        return f"{expression} AS {name}" if form < 0.9 else f"{name}: {expression}"

    def plain_wildcard(self) -> str:
        return "*"

    def wildcard(self) -> str:
        prefix = self.pick(("", *PREFIXES, *(("t", "nosuch") if self.misplaced() else ()))) + self.pick(("", "."))
        star = f"{prefix}*" if prefix != "." else "*"
        form = self.source.random()
        if form < 0.3:
            return star
        if form < 0.5:
            names = self.some(lambda: self.pick(COLUMNS) + self.pick(("", "*", ".*")), 2, 0)
            return f"{star} EXCLUDING ({names})"
        target = self.pick(("", "p", "p.", "a.b.")) + "*"
        return f"{star} AS {target}" if form < 0.85 else f"{star}: {target}"

    def flattened(self) -> str:
        return self.row() + " AS *"

    def column_expr(self) -> str:
        before, self.leaves = self.leaves, self.of_column
        parts = [
            self.maybe(0.4, lambda: "SELECT " + self.expression()),
            self.maybe(0.4, lambda: "AS " + self.expression()),
            self.maybe(0.5, lambda: "WHERE " + self.condition()),
            self.maybe(0.2, lambda: "ORDER BY " + self.order_key()),
            self.maybe(0.1, lambda: f"OFFSET {self.source.randrange(3)}"),
            self.maybe(0.2, lambda: f"LIMIT {self.source.randrange(4)}"),
        ]
        self.leaves = before
        return f"COLUMN EXPR {self.pick(('', 'STRUCTURED '))}({' '.join(part for part in parts if part)})"

    # ── tables ──

    def table(self) -> str:
        if self.depth <= 0 or self.chance(0.6):
            return ("nosuch" if self.misplaced() else self.pick(DATASETS)) + self.alias(0.4)
        make = self.source.choices((self.sub_select, self.join, self.table_call, self.row_table), (4, 4, 3, 2))[0]
        self.depth -= 1
        made = make()
        self.depth += 1
        return made

    def alias(self, share: float) -> str:
        return self.maybe(share, lambda: " AS " + self.pick(ALIASES))

    def sub_select(self) -> str:
        return f"({self.statement()}){self.alias(0.7)}"

    def join(self) -> str:
        kind = self.pick(
            ("JOIN", "INNER JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "OUTER JOIN", "LEFT OUTER JOIN")
        )
        sides = ["nosuch" if self.misplaced() else self.pick(DATASETS) for _ in range(2)]
        left, right = f"{sides[0]} AS t", f"{sides[1]} AS u"
        if self.chance(0.4):
            left = f"({self.statement()}) AS t"
        if self.chance(0.2):
            right = self.table() if self.misplaced() else f"({self.statement()}) AS u"
        made = f"{left} {kind} {right}{self.maybe(0.85, lambda: ' ON ' + self.pairing())}"
        if self.chance(0.15):
            made += f" {kind} {self.pick(DATASETS)} AS r ON {self.pairing()}"
        return f"({made})" if self.chance(0.1) else made

    def pairing(self) -> str:
        if self.chance(0.6):
            return f"t.{self.pick(COLUMNS)}{self.pick(COMPARISONS)}u.{self.pick(COLUMNS)}"
        before, self.leaves = self.leaves, lambda: f"{self.pick(('t', 'u'))}.{self.pick(COLUMNS)}"
        made = self.condition()
        self.leaves = before
        return made

    def table_call(self) -> str:
        name = self.pick(("transpose", "merge", "merge", "sample", "sample"))
        if self.misplaced():
            name = self.pick(("union", "read_csv", "sample", "merge", "nosuch"))
        tables = self.some(self.table, 3 if name == "merge" else 1, 0 if self.misplaced() else 1)
        options = ""
        if name == "sample" or self.misplaced():
            right = ("rows: 2", "fraction: 0.5", "fraction: 0.9, seed: 1", "rows: 5, withReplacement: 1")
            wrong = ("rows: x", "rows: -1", "fraction: 0", "fraction: 'a'", "tutu: 1", "rows: NULL", "rows: 1e30", "*")
            options = self.maybe(0.9, lambda: f", {{{self.pick(wrong if self.misplaced() else right)}}}")
        return f"{name}({tables}{options}){self.alias(0.5)}"

    def row_table(self) -> str:
        before, self.leaves = self.leaves, self.constant
        made = f"{self.pick(('row_dataset', 'atom_dataset'))}({self.row()}){self.alias(0.8)}"
        self.leaves = before
        return made

    # ── expressions ──

    def condition(self) -> str:
        return self.test() if self.chance(0.75) else self.expression()

    def expression(self) -> str:
        """Any expression; leaves where the depth is used up."""
        if self.depth <= 0:
            return self.leaf()
        self.depth -= 1
        make = self.source.choices(
            (
                *(self.leaf, self.arithmetic, self.test, self.call, self.row, self.array, self.case, self.cast),
                *(self.accessor, self.prefixed, self.parenthesised, self.user_call),
            ),
            (14, 5, 4, 7, 2, 2, 2, 2, 1.5, 1.5, 1, 1),
        )[0]
        made = make()
        self.depth += 1
        return made

    def leaf(self) -> str:
        if self.misplaced():
            return self.pick(MISPLACED)
        return self.constant() if self.chance(0.4) else self.leaves()

    def constant(self) -> str:
        return self.pick(
            self.source.choices((INTEGERS, FLOATS, TEXTS, WORDS, INSTANTS, INTERVALS), (7, 4, 7, 2, 2, 1.5))[0]
        )

    def column(self) -> str:
        if self.chance(0.12):
            return self.pick(OF_ROWS)
        return self.maybe(0.15, lambda: self.pick(ALIASES) + ".") + self.pick(COLUMNS)

    def joined_column(self) -> str:
        if self.chance(0.2):
            return self.pick((*OF_ROWS, *OF_JOINS))
        return f"{self.pick((*ALIASES, *DATASETS))}.{self.pick(COLUMNS)}"

    def of_column(self) -> str:
        return self.pick(OF_COLUMNS)

    def arithmetic(self) -> str:
        return self.expression() + self.pick(ARITHMETIC) + self.expression()

    def prefixed(self) -> str:
        return (
            self.pick(("-", "~", "NOT ", "TIMESTAMP ") if not self.misplaced() else ("+", "ANY ")) + self.expression()
        )

    def parenthesised(self) -> str:
        return f"({self.expression()})"

    def test(self) -> str:
        make = self.source.choices(
            (self.comparison, self.logic, self.between, self.membership, self.like, self.kind_test), (5, 4, 2, 4, 2, 3)
        )[0]
        if self.depth <= 0:
            return self.leaf()
        self.depth -= 1
        made = make()
        self.depth += 1
        return made

    def comparison(self) -> str:
        return self.expression() + self.pick(COMPARISONS) + self.expression()

    def logic(self) -> str:
        return self.condition() + self.pick((" AND ", " OR ")) + self.condition()

    def between(self) -> str:
        negation = self.pick(("", "", "NOT "))
        return f"{self.expression()} {negation}BETWEEN {self.expression()} AND {self.expression()}"

    def membership(self) -> str:
        form = self.source.random()
        if form < 0.5:
            inside = self.some(self.expression, 3)
        elif form < 0.7:
            inside = f"{self.pick(('KEYS', 'VALUES'))} OF {self.row()}"
        else:
            inside = self.statement()
        return f"{self.expression()} {self.pick(('', '', 'NOT '))}IN ({inside})"

    def like(self) -> str:
        return f"{self.expression()} {self.pick(('', '', 'NOT '))}LIKE {self.expression()}"

    def kind_test(self) -> str:
        what = self.pick(("NULL", "TRUE", "FALSE", "STRING", "NUMBER", "INTEGER", "TIMESTAMP", "INTERVAL"))
        if self.misplaced():
            what = "BLOB"
        return f"{self.expression()} IS {self.pick(('', 'NOT '))}{what}"

    def row(self) -> str:
        """A row value, most of the time."""
        form = self.source.random()
        if self.depth <= 0 or form < 0.05:
            return self.pick(("{}", "{x, y}", "{a: 1, b: 'q'}", "x", "1", "NULL", "{1 AS x, 2 AS x}"))
        self.depth -= 1
        if form < 0.75:
            made = "{" + self.some(self.clause, 3, 0) + "}"
        elif form < 0.85:
            made = self.pick(("parse_json", "tokenize", "split_part")) + f"({self.some(self.expression, 2)})"
        else:
            made = self.expression()
        self.depth += 1
        return made

    def array(self) -> str:
        return "[" + self.some(self.expression, 3, 0) + "]"

    def case(self) -> str:
        subject = self.maybe(0.4, lambda: " " + self.expression())
        whens = " ".join(f"WHEN {self.condition()} THEN {self.expression()}" for _ in range(self.source.randint(0, 2)))
        default = self.maybe(0.6, lambda: " ELSE " + self.expression())
        return f"CASE{subject} {whens}{default} END"

    def cast(self) -> str:
        return f"CAST({self.expression()} AS {'tutu' if self.misplaced() else self.pick(TYPES)})"

    def accessor(self) -> str:
        base = self.row() if self.chance(0.7) else self.expression()
        return f"{base}[{self.row() if self.chance(0.3) else self.expression()}]"

    def call(self) -> str:
        name = self.pick(SCALARS)
        least, most = BUILTINS[name].counts
        count = self.source.randint(least, least + 2 if most is None else most)
        if self.misplaced():
            count = self.source.randrange(5)
        return f"{name}({', '.join(self.argument() for _ in range(count))})"

    def argument(self) -> str:
        form = self.source.random()
        if form < 0.25:
            return self.pick(TEXTS)
        if form < 0.4:
            return self.row()
        return self.array() if form < 0.5 else self.expression()

    def aggregate(self) -> str:
        name = self.pick(AGGREGATES)
        if name in ("count", "vertical_count") and self.chance(0.4):
            return f"{name}(*)"
        count = 2 if name in ("string_agg", "vertical_string_agg", "pivot", "likelihood_ratio") else 1
        if self.misplaced():
            count = self.source.randrange(4)
        arguments = [self.row() if self.chance(0.25) else self.expression() for _ in range(count)]
        return f"{name}({', '.join(arguments)})"

    def user_call(self) -> str:
        name = self.pick(("nosuch", "t.plus", "a.b.c", "me") if self.misplaced() else USER_FUNCTIONS)
        inside = self.pick(("x: x", "a: 1, b: y", "*", "", "row: {*}", "least: 1")) if self.chance(0.6) else ""
        argument = f"{{{inside}}}" if self.chance(0.8) else self.expression()
        return f"{name}({argument}){self.maybe(0.3, lambda: '[' + self.pick(('sum', 'y', 'nope', '{*}')) + ']')}"

    # ── damage ──

    def damaged(self, text: str) -> str:
        """A text with one to three tokens taken away, doubled, changed over or put in, or cut off."""
        tokens = _TOKEN.findall(text)
        for _ in range(self.source.randint(1, 3)):
            at = self.source.randrange(len(tokens)) if tokens else 0
            form = self.source.randrange(6)
            if form == 0:
                del tokens[at : at + 1]
            elif form == 1:
                tokens[at:at] = tokens[at : at + 1]
            elif form == 2:
                tokens[at : at + 2] = reversed(tokens[at : at + 2])
            elif form == 3:
                del tokens[at:]
            elif form == 4:
                tokens.insert(at, self.pick(JUNK))
            elif tokens:
                other = self.source.randrange(len(tokens))
                tokens[at], tokens[other] = tokens[other], tokens[at]
        return "".join(tokens)


def text_of(seed: int, number: int) -> str:
    """The text with a number, of all the texts of a seed."""
    source = random.Random(f"{seed}:{number}")
    depth = source.choices((1, 2, 3, 4), (2, 4, 3, 1))[0]
    return Texts(source, depth, source.choices((0, 0.02, 0.15), (5, 2, 2))[0]).text()
