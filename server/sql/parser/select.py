"""SELECT lists and statements (sql-dialect.md §4.3, §4.4)."""

from __future__ import annotations

from abc import abstractmethod

from server.sql.parser.cursor import CLAUSE_WORDS
from server.sql.parser.expressions import ExpressionParser
from server.sql.remedies import STATEMENTS
from server.sql.tokens import END, NAME, NUMBER, PARAMETER, STRING
from server.sql.tree import (
    Clause,
    ColumnExpr,
    Exclusion,
    Expression,
    Flatten,
    Item,
    OrderKey,
    Select,
    Table,
    Wildcard,
)
from server.values.paths import Path

# What may stand after the star of a prefixed wildcard; before most else a star multiplies (§4.4).
_AFTER_STAR = frozenset(
    ("", ",", ")", "}", ":", "as", "excluding", "named", "from", "where", "having", "limit", "offset")
)
_NO_PLAIN_DISTINCT = "Generic 'DISTINCT' is not currently supported. Please use 'DISTINCT ON'."


class SelectParser(ExpressionParser):
    """Clauses and statements; what stands in FROM is left to the class on top."""

    __slots__ = ()

    @abstractmethod
    def table(self) -> Table:
        """What follows FROM."""

    # ── clauses ──────────────────────────────────────────────────────────────────────────────────────────────

    def clauses(self) -> tuple[Clause, ...]:
        """One or more clauses separated by commas; a comma may stand at the very end of the text."""
        found = [self.clause()]
        while self.take(","):
            if self.kinds[self.at] == END:
                break
            found.append(self.clause())
        return tuple(found)

    def clauses_until(self, closing: str) -> tuple[Clause, ...]:
        if self.take(closing):
            return ()
        found = self.clauses()
        self.expect(closing, f"Expected ',' or '{closing}' in row literal")
        return found

    def clause(self) -> Clause:
        first = self.at
        key, following = self.keys[first], self.keys[first + 1] if self.kinds[first] != END else ""
        if key == "*":
            return self._wildcard(first)
        if self.kinds[first] == NAME:
            if key == "column" and following == "expr":
                return self._column_expr(first)
            if following == ":":
                return self._named_item(first)
            if following in ("*", ".") and self._wildcard_at(first + 1):
                return self._wildcard(first)
        return self._item(first)

    def _wildcard_at(self, token: int) -> bool:
        """Whether a star after a name is that of a wildcard; one after a dot can be no other.

        ``x * group``, ``x * order`` and ``x * when`` are products; ``BY`` or an operand behind them makes a clause.
        """
        if self.keys[token] == ".":
            return self.keys[token + 1] == "*"
        following, next_ = self.keys[token + 1], self.keys[token + 2 : token + 3]
        if following == "when":
            return self.kinds[token + 2] in (NAME, NUMBER, STRING, PARAMETER) and next_[0] not in CLAUSE_WORDS
        return following in _AFTER_STAR or (following in ("group", "order") and next_ == ["by"])

    def _prefix(self) -> Path:
        """``[name ["."]] "*"``: the path before the star; the dot adds nothing (§4.4)."""
        path: Path = ()
        if self.kinds[self.at] == NAME:
            path = self.path("")
            self.take(".")
        self.expect("*", "Expected prefixed wildcard for AS wildcard expression")
        return path

    def _wildcard(self, first: int) -> Clause:
        prefix = self._prefix()
        dotted = self.keys[self.at - 2] == "."
        excluding: tuple[Exclusion, ...] = ()
        target: Path | None = None
        if self.take(":"):
            target = self._prefix()
        else:
            if self.take("excluding"):
                excluding = self._excluding()
            if self.take("as"):
                target = self._prefix()
        return Wildcard(prefix, excluding, target, dotted, span=self.span_from(first))

    def _excluding(self) -> tuple[Exclusion, ...]:
        self.expect("(", "Expected '(' after EXCLUDING")
        found: list[Exclusion] = []
        while self.keys[self.at] != ")":
            if found:
                self.expect(",", "Expected ',' or ')' in EXCLUDING")
            found.append(self._exclusion())
        self.at += 1
        return tuple(found)

    def _exclusion(self) -> Exclusion:
        first = self.at
        if self.keys[first] == "*":
            self.fail("can't exclude *")
        path = self.path("Expected column name or prefixed wildcard for exclusion")
        dotted = self.keys[self.at] == "." and self.keys[self.at + 1] == "*"
        if dotted:
            self.at += 1
        prefix = self.take("*")
        return Exclusion(path, prefix, span=self.span_from(first))

    def _named_item(self, first: int) -> Clause:
        name = self.path("")
        self.at += 1
        start = self.at
        expression = self.expression()
        return Item(expression, name, self.source_from(start), span=self.span_from(first))

    def _item(self, first: int) -> Clause:
        expression = self.expression()
        text = self.source_from(first)
        if not self._take_as():
            return Item(expression, None, text, span=self.span_from(first))
        if self.take("*"):
            return Flatten(expression, text, span=self.span_from(first))
        name = self.path("Expected identifier as name of variable")
        if self.keys[self.at] in ("*", "."):
            self.fail("Only a wildcard can be renamed to a prefixed wildcard; write AS name or AS *")
        return Item(expression, name, text, span=self.span_from(first))

    def _take_as(self) -> bool:
        """Take AS; it may touch the name after it (``1 ASx``), which is then cut off as a token of its own."""
        if self.take("as"):
            return True
        start = self.starts[self.at]
        if self.kinds[self.at] != NAME or self.text[start : start + 2].lower() != "as":
            return False
        if self.text[start + 2] in '."' or self.text[start + 2].isdigit():
            return False
        self.starts[self.at] += 2
        rest = self.token_text(self.at)
        self.keys[self.at] = rest.lower() if rest.isidentifier() else '"'
        return True

    # ── COLUMN EXPR ──────────────────────────────────────────────────────────────────────────────────────────

    def _column_expr(self, first: int) -> Clause:
        self.at += 2
        structured = self.take("structured")
        self.expect("(", "Expected '(' after COLUMN EXPR")
        select = self.expression() if self.take("select") else None
        as_ = self.expression() if self.take("as") else None
        if self.keys[self.at] == "when":
            self.fail("WHEN clause not supported in row expression")
        where = self.expression() if self.take("where") else None
        order_by = self._order_by()
        offset = self.unsigned("OFFSET") if self.take("offset") else None
        limit = self.unsigned("LIMIT") if self.take("limit") else None
        self.expect(
            ")", "Expected ')' at the end of COLUMN EXPR: SELECT, AS, WHERE, ORDER BY, OFFSET, LIMIT in this order"
        )
        text = self.source_from(first)
        return ColumnExpr(select, as_, where, order_by, offset, limit, structured, text, span=self.span_from(first))

    def _order_by(self) -> tuple[OrderKey, ...]:
        return self.order_keys() if self.take_words("order", "by") else ()

    # ── statement ────────────────────────────────────────────────────────────────────────────────────────────

    def statement(self) -> Select:
        first = self.at
        remedy = STATEMENTS.get(self.keys[first])
        self.expect("select", f"Expected SELECT; {remedy}" if remedy else "Expected SELECT")
        self.descend()
        distinct = self.distinct_on()
        clauses = self.clauses()
        named = self.expression() if self.take("named") else None
        source = self.table() if self.take("from") else None
        when = self.expression() if self.take("when") else None
        where = self.expression() if self.take("where") else None
        group_by = self.expressions() if self.take_words("group", "by") else ()
        having = self.expression() if self.take("having") else None
        order_by = self._order_by()
        limit = self.unsigned("LIMIT") if self.take("limit") else None
        offset = self.unsigned("OFFSET") if self.take("offset") else 0
        if self.keys[self.at] == "limit" and limit is None:
            self.fail("LIMIT must come before OFFSET")
        self.check_distinct(distinct, order_by, first)
        self.depth -= 1
        return Select(
            clauses,
            distinct,
            named,
            source,
            when,
            where,
            group_by,
            having,
            order_by,
            limit,
            offset,
            span=self.span_from(first),
        )

    def distinct_on(self) -> tuple[Expression, ...]:
        """``DISTINCT ON (…)`` where a SELECT list begins."""
        if self.keys[self.at] != "distinct" or self.keys[self.at + 1] in (",", ":", "from", "*", ""):
            return ()
        if not self.take_words("distinct", "on"):
            self.fail(_NO_PLAIN_DISTINCT)
        self.expect("(", "Expected '(' after DISTINCT ON")
        found = self.expressions()
        self.expect(")", "Expected ')' after the expressions of DISTINCT ON")
        return found

    def check_distinct(self, distinct: tuple[Expression, ...], order_by: tuple[OrderKey, ...], first: int) -> None:
        """DISTINCT ON must repeat the leftmost keys of ORDER BY."""
        if len(distinct) > len(order_by):
            self.fail("DISTINCT ON expression cannot have more clauses than ORDER BY expression", first)
        if any(left != key.expression for left, key in zip(distinct, order_by, strict=False)):
            self.fail("DISTINCT ON expression must match leftmost(s) ORDER BY clause(s)", first)
