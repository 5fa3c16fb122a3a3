"""Expressions (sql-dialect.md §4.2, §4.3): precedence climbing over the levels of the dialect."""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections.abc import Callable
from typing import Literal as OneOf
from typing import NoReturn, cast

from server.errors import MldbError
from server.sql.parser.cursor import CLAUSE_WORDS, Cursor
from server.sql.remedies import FUNCTIONS, SUB_QUERY
from server.sql.tokens import END, NAME, NUMBER, OPERATOR, STRING, SqlSyntaxError, split_name
from server.sql.tree import (
    ArrayLiteral,
    Between,
    Binary,
    Call,
    Case,
    Cast,
    Clause,
    ColumnRef,
    Constant,
    Expression,
    Extract,
    InList,
    InQuery,
    InRow,
    Is,
    Like,
    OrderKey,
    Parameter,
    RowLiteral,
    Select,
    Unary,
)
from server.values.atoms import Atom, collapse, parse_interval

# Levels of §4.2, tighter is smaller. An operand at a level takes only tighter binary operators, but a prefix
# operator of its own level.
TIGHT, PRODUCT, SUM, COMPARISON, MEMBER, AND, OR = range(10, 80, 10)
WHOLE = OR + 10
_NOT_OPERAND = MEMBER + 5  # NOT x IN (…) negates the membership

LEVELS = {
    "@": PRODUCT, "*": PRODUCT, "/": PRODUCT, "%": PRODUCT,
    "+": SUM, "-": SUM, "&": SUM, "|": SUM, "^": SUM,
    "=": COMPARISON, "!=": COMPARISON, "<>": COMPARISON, "<": COMPARISON, "<=": COMPARISON, ">": COMPARISON,
    ">=": COMPARISON, "!>": COMPARISON, "!<": COMPARISON, "between": COMPARISON,
    "in": MEMBER, "like": MEMBER, "not": MEMBER, "and": AND, "or": OR, "is": 0, "[": 0,
}  # fmt: skip
PREFIXES = {
    "-": SUM, "+": SUM, "~": TIGHT, "not": MEMBER, "timestamp": TIGHT, "all": OR, "any": OR, "some": OR,
}  # fmt: skip
_WORDY = frozenset(("between", "in", "like", "not", "is", "["))
_CONSTANTS: dict[str, Atom] = {
    "null": None, "true": 1, "false": 0, "nan": math.nan, "inf": math.inf, "infinity": math.inf,
}  # fmt: skip
LITERAL_PREFIX = re.compile("true|false|null|nan|inf|interval|cast|case", re.IGNORECASE)
_TYPES_OF_IS = frozenset(("null", "true", "false", "string", "number", "integer", "timestamp", "interval"))
_EXPECTED_IS = "Expected NULL, TRUE, FALSE, STRING, NUMBER, INTEGER, TIMESTAMP or INTERVAL after IS {NOT}"
_OPERAND = "Expected identifier or constant"
_LARGEST = 2**64 - 1
_LARGEST_SIGNED = 2**63

IsType = OneOf["null", "true", "false", "string", "number", "integer", "timestamp", "interval"]


class ExpressionParser(Cursor):
    """Reads one expression at a time; row literals and sub-queries are left to the classes on top."""

    __slots__ = ()

    @abstractmethod
    def clauses_until(self, closing: str) -> tuple[Clause, ...]:
        """The clauses of a row literal, its closing bracket taken."""

    @abstractmethod
    def statement(self) -> Select:
        """A whole SELECT statement."""

    def expression(self, level: int = WHOLE) -> Expression:
        """An expression whose binary operators all bind tighter than ``level``."""
        self.depth += 1
        if self.depth > self.deepest:
            self.check_depth()
        first, keys, levels = self.at, self.keys, LEVELS
        if keys[first] in PREFIXES and PREFIXES[keys[first]] <= level and self._is_prefix(first):
            left = self._prefixed(first)
        else:
            left = self.operand()
        while True:
            operator = keys[self.at]
            if operator not in levels:
                break
            binds = levels[operator]
            if binds >= level:
                break
            if operator in _WORDY:
                negated = operator == "not"
                if negated and not self._negates_next(level):
                    break
                left = self._wordy(left, first, negated)
            else:
                left = self._binary(left, first, operator, binds)
        self.depth -= 1
        return left

    def _binary(self, left: Expression, first: int, operator: str, binds: int) -> Expression:
        if operator in ("!>", "!<"):
            self.fail(f"Unknown comparison op {operator}")
        self.chained += 1
        self.at += 1
        right = self.expression(binds)
        span = (self.starts[first], self.ends[self.at - 1])
        return Binary("!=" if operator == "<>" else operator, left, right, span=span)

    def _negates_next(self, level: int) -> bool:
        """Whether NOT stands before a BETWEEN, IN or LIKE that this level may take."""
        return LEVELS.get(self.keys[self.at + 1], WHOLE) < level and self.keys[self.at + 1] in (
            "between",
            "in",
            "like",
        )

    # ── prefix operators ─────────────────────────────────────────────────────────────────────────────────────

    def _is_prefix(self, token: int) -> bool:
        """Words that are prefix operators are plain column names where no operand follows them."""
        return self.kinds[token] == OPERATOR or self._operand_at(token + 1)

    def _operand_at(self, token: int) -> bool:
        kind, key = self.kinds[token], self.keys[token]
        if kind == OPERATOR:
            return key in ("(", "{", "[", "~", "-", "+")
        return kind != END and not (kind == NAME and key in CLAUSE_WORDS)

    def _prefixed(self, first: int) -> Expression:
        operator = self.keys[first]
        if operator in ("all", "any", "some"):
            self.fail(f"unimplemented operator {operator.upper()}")
        self.at += 1
        operand = self.expression(_NOT_OPERAND if operator == "not" else PREFIXES[operator])
        span = self.span_from(first)
        if operator == "timestamp":
            return Call("to_timestamp", (operand,), span=span)
        if operator == "-" and isinstance(operand, Constant) and isinstance(operand.value, int | float):
            return Constant(_negative(operand.value), span=span)
        return Unary(cast(OneOf["-", "+", "~", "not"], operator), operand, span=span)

    # ── operators written as words, and accessors ────────────────────────────────────────────────────────────

    def _wordy(self, left: Expression, first: int, negated: bool) -> Expression:
        self.chained += 1
        if negated:
            self.at += 1
        operator = self.keys[self.at]
        self.at += 1
        if operator == "[":
            inner = self.expression()
            self.expect("]", "Expected ']' after the expression of an accessor")
            return Extract(left, inner, span=self.span_from(first))
        if operator == "is":
            return self._is(left, first)
        if operator == "in":
            return self._in(left, first, negated)
        if operator == "like":
            pattern = self.expression(MEMBER)
            return Like(left, pattern, negated, span=self.span_from(first))
        low = self.expression(MEMBER)
        self.expect("and", "Expected AND between the bounds of BETWEEN")
        high = self.expression(MEMBER)
        return Between(left, low, high, negated, span=self.span_from(first))

    def _is(self, left: Expression, first: int) -> Expression:
        negated = self.take("not")
        what = self.keys[self.at]
        if what not in _TYPES_OF_IS:
            self.fail(_EXPECTED_IS)
        self.at += 1
        return Is(left, cast(IsType, what), negated, span=self.span_from(first))

    def _in(self, left: Expression, first: int, negated: bool) -> Expression:
        self.expect("(", "Expected '(' after IN")
        if self.keys[self.at] == "select":
            query = self.statement()
            self._close_in()
            return InQuery(left, query, negated, span=self.span_from(first))
        for word in ("keys", "values"):
            if self.take_words(word, "of"):
                row = self.expression()
                self._close_in()
                return InRow(left, word, row, negated, span=self.span_from(first))
        items = self.expressions()
        self._close_in()
        return InList(left, items, negated, span=self.span_from(first))

    def _close_in(self) -> None:
        self.expect(")", "Expected ')' after the operands of IN")

    def expressions(self) -> tuple[Expression, ...]:
        """One or more expressions separated by commas."""
        found = [self.expression()]
        while self.take(","):
            found.append(self.expression())
        return tuple(found)

    def order_keys(self) -> tuple[OrderKey, ...]:
        """The keys of ORDER BY."""
        found = [self._order_key()]
        while self.take(","):
            found.append(self._order_key())
        return tuple(found)

    def _order_key(self) -> OrderKey:
        first = self.at
        expression = self.expression()
        descending = self.take("desc")
        if not descending:
            self.take("asc")
        return OrderKey(expression, descending, span=self.span_from(first))

    # ── operands ─────────────────────────────────────────────────────────────────────────────────────────────

    def operand(self) -> Expression:
        """A primary expression with the accessors and IS tests that follow it."""
        first = self.at
        kind = self.kinds[first]
        if kind == NAME:
            found = self._named(first)
        elif kind == NUMBER:
            self.at += 1
            found = Constant(_number(self.token_text(first)), span=self.span_from(first))
        elif kind == STRING:
            self.at += 1
            found = Constant(self.token_text(first)[1:-1].replace("''", "'"), span=self.span_from(first))
        else:
            found = self._special(first)
        while self.keys[self.at] == "[" or self.keys[self.at] == "is":
            found = self._wordy(found, first, False)
        return found

    def _special(self, first: int) -> Expression:
        opens = _OPENINGS.get(self.keys[first])
        if opens is None:
            return self._signed_number(first)
        self.at += 1
        return opens(self, first)

    def _parenthesised(self, first: int) -> Expression:
        inner = self.expression()
        self.expect(")", f"Expected ')' after expression{self._sub_query_at(first + 1)}")
        return inner

    def _sub_query_at(self, token: int) -> str:
        """What helps where an expression was expected, if a sub-query stands there."""
        return f"; {SUB_QUERY}" if self.keys[token] == "select" else ""

    def _row(self, first: int) -> Expression:
        self.descend()
        clauses = self.clauses_until("}")
        self.depth -= 1
        return RowLiteral(clauses, span=self.span_from(first))

    def _array(self, first: int) -> Expression:
        items = () if self.keys[self.at] == "]" else self.expressions()
        self.expect("]", "Expected ',' or ']' in array literal")
        return ArrayLiteral(items, span=self.span_from(first))

    def _parameter(self, first: int) -> Expression:
        name = self.token_text(first)[1:]
        return Parameter(split_name(name)[0] if name.startswith('"') else name, span=self.span_from(first))

    def _signed_number(self, first: int) -> Expression:
        """Where no prefix operator may stand (``x * -3``) a number still carries its sign, if it touches it."""
        key, number = self.keys[first], first + 1
        touches = key in ("-", "+") and self.starts[number] == self.ends[first]
        if touches and (self.kinds[number] == NUMBER or self.keys[number] in ("inf", "infinity", "nan")):
            self.at += 2
            text = self.token_text(number)
            value = _number(text) if self.kinds[number] == NUMBER else cast(float, _CONSTANTS[self.keys[number]])
            return Constant(_negative(value) if key == "-" else value, span=self.span_from(first))
        return self.fail(_OPERAND + self._operand_remedy(first))

    def _operand_remedy(self, first: int) -> str:
        remedy = self.remedy_of_operators(first)
        if remedy:
            return remedy
        if self.keys[first] in ("-", "+"):
            return "; put the negated operand in parentheses"
        return ""

    def _named(self, first: int) -> Expression:
        """A literal keyword, CAST, CASE, a function call or a column."""
        key, text = self.keys[first], self.token_text(first)
        self.at += 1
        if key in _CONSTANTS:
            return Constant(_CONSTANTS[key], span=self.span_from(first))
        if key in ("cast", "case", "interval"):
            return self._keyword_form(first, key)
        if self.keys[self.at] == "(":
            return self._call(first, split_name(text))
        if LITERAL_PREFIX.match(text):
            self._fail_literal_prefix(first, text)
        return ColumnRef(split_name(text), span=self.span_from(first))

    def _fail_literal_prefix(self, first: int, text: str) -> NoReturn:
        element = text.partition(".")[0]
        self.fail(
            f"{_OPERAND}: a bare name must not start with true, false, null, nan, inf, interval, cast or case; "
            f'write it in double quotes, as "{element}"',
            first,
        )

    def _keyword_form(self, first: int, key: str) -> Expression:
        following = self.keys[self.at]
        if key == "cast" and following == "(":
            return self._cast(first)
        if key == "case" and (following == "when" or self._operand_at(self.at)):
            return self._case(first)
        if key == "interval" and (following == "'" or self.token_text(self.at).startswith('"')):
            return self._interval(first)
        return self._fail_literal_prefix(first, self.token_text(first))

    def _interval(self, first: int) -> Expression:
        token, text = self.at, self.token_text(self.at)
        self.at += 1
        try:
            value = parse_interval(text[1:-1])
        except MldbError as error:
            raise SqlSyntaxError(self.text, self.starts[token], error.message) from None
        return Constant(value, span=self.span_from(first))

    def _cast(self, first: int) -> Expression:
        self.at += 1
        operand = self.expression()
        self.expect("as", "Expected AS after the expression of CAST")
        type_ = self.identifier("Expected type name as identifier")
        self.expect(")", "Expected ')' after the type of CAST")
        return Cast(operand, type_.lower(), span=self.span_from(first))

    def _case(self, first: int) -> Expression:
        subject = None if self.keys[self.at] == "when" else self.expression()
        whens: list[tuple[Expression, Expression]] = []
        while self.take("when"):
            condition = self.expression()
            self.expect("then", "expected keyword THEN")
            whens.append((condition, self.expression()))
        default = self.expression() if self.take("else") else None
        self.expect("end", "expected keyword END")
        return Case(subject, tuple(whens), default, span=self.span_from(first))

    def _call(self, first: int, path: tuple[str, ...]) -> Expression:
        if len(path) > 2:
            self.fail(
                "Ambiguous function name. A function name has at most a table name before it: table.function", first
            )
        self.at += 1
        begin = self.at
        star = self._take_star(path)
        args: tuple[Expression, ...] = ()
        if not star and self.keys[self.at] != ")":
            args = self.expressions()
        self.expect(")", f"Expected ',' or ')' in the arguments of a function{self._remedy_of_arguments(path, begin)}")
        qualifier = path[0] if len(path) == 2 else None
        return Call(path[-1], args, qualifier, star, span=self.span_from(first))

    def _remedy_of_arguments(self, path: tuple[str, ...], begin: int) -> str:
        if self.keys[begin] == "distinct":
            return f"; write {path[-1]}_distinct(x)" if path[-1] == "count" else "; aggregates know no DISTINCT"
        if self.keys[self.at] == "from" and path[-1].lower() in FUNCTIONS:
            return f"; {FUNCTIONS[path[-1].lower()]}"
        return self._sub_query_at(begin)

    def _take_star(self, path: tuple[str, ...]) -> bool:
        if self.keys[self.at] == "*" and self.keys[self.at + 1] == ")" and path[-1] in ("count", "vertical_count"):
            self.at += 1
            return True
        if self.keys[self.at] == "*" and self.keys[self.at + 1] == ")":
            self.fail(f"{_OPERAND}; only count(*), in lower case, takes a star")
        return False


_OPENINGS: dict[str, Callable[[ExpressionParser, int], Expression]] = {
    "(": ExpressionParser._parenthesised,
    "{": ExpressionParser._row,
    "[": ExpressionParser._array,
    "$": ExpressionParser._parameter,
}


def _number(text: str) -> int | float:
    """Digits as an integer if they fit 64 bits (unsigned), else as a double."""
    if text.isdigit() and len(text) < 21 and (whole := int(text)) <= _LARGEST:
        return whole
    return collapse(float(text))


def _negative(number: int | float) -> int | float:
    """The negated literal. NaN stays the one NaN, so that constants are equal to themselves."""
    if number != number:
        return number
    return collapse(float(-number)) if number > _LARGEST_SIGNED else -number
