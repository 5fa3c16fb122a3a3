"""A place in a list of tokens, and the few questions that every part of the grammar asks there."""

from __future__ import annotations

from typing import NoReturn

from server.sql.remedies import OPERATORS, WORDS
from server.sql.tokens import END, NAME, NUMBER, SqlSyntaxError, split_name, tokenize
from server.values.paths import Path

# Each level of nesting costs a few Python frames here and in every later walk over the tree; queries written by
# people stay below ten.
NESTING_LIMIT = 100

# Words after which their clause begins: what follows them at once is never out of place.
_NEVER_LAST = frozenset(
    ("named", "from", "when", "where", "having", "limit", "offset", "and", "or", "like", "in", "between")
)
# Words that stand after a complete operand: where one follows, a prefix operator written as a word is a column name.
CLAUSE_WORDS = frozenset(
    (
        *("as", "asc", "desc", "named", "from", "when", "where", "group", "having", "order", "limit", "offset"),
        *("join", "inner", "left", "right", "full", "outer", "on"),
        *("and", "or", "in", "is", "like", "between", "then", "else", "end", "excluding"),
    )
)
_MOST_ROWS = 2**62  # no result has so many: what is more is the same to LIMIT and OFFSET
_CLAUSE_ORDER = "SELECT, NAMED, FROM, WHEN, WHERE, GROUP BY, HAVING, ORDER BY, LIMIT, OFFSET"


class Cursor:
    """``at`` is the index of the next token; all parsing moves it forward only, save for looking ahead."""

    __slots__ = ("at", "chained", "deepest", "depth", "ends", "keys", "kinds", "starts", "text")

    def __init__(self, text: str) -> None:
        tokens = tokenize(text)
        self.text = text
        self.kinds = tokens.kinds
        self.keys = tokens.keys
        self.starts = tokens.starts
        self.ends = tokens.ends
        self.at = 0
        self.depth = 0
        self.deepest = 0
        self.chained = 0  # operators met so far, each of which makes its tree one level higher

    def fail(self, message: str, token: int | None = None) -> NoReturn:
        """Raise at the start of a token, the next one unless given."""
        at = self.at if token is None else token
        raise SqlSyntaxError(self.text, self.starts[at], message, max(1, self.ends[at] - self.starts[at]))

    def descend(self) -> None:
        """Enter a nested construct; the caller subtracts the level again when it leaves."""
        self.depth += 1
        if self.depth > self.deepest:
            self.check_depth()

    def check_depth(self) -> None:
        """Note the deepest level so far; ``SqlSyntaxError`` beyond the limit."""
        self.deepest = self.depth
        if self.depth > NESTING_LIMIT:
            self.fail(f"nested too deeply: at most {NESTING_LIMIT} levels are read; split the query with sub-selects")

    def span_from(self, token: int) -> tuple[int, int]:
        """From the start of a token to the end of the last one taken."""
        return self.starts[token], self.ends[self.at - 1]

    def source_from(self, token: int) -> str:
        """The source text from a token up to the next token, blanks at its end cut: an automatic name (§4.5)."""
        return self.text[self.starts[token] : self.starts[self.at]].rstrip()

    def take(self, key: str) -> bool:
        if self.keys[self.at] == key:
            self.at += 1
            return True
        return False

    def take_words(self, first: str, second: str) -> bool:
        """Take a keyword of two words, any blanks between them."""
        if self.keys[self.at] == first and self.keys[self.at + 1] == second:
            self.at += 2
            return True
        return False

    def expect(self, key: str, message: str) -> None:
        if self.keys[self.at] != key:
            self.fail(message)
        self.at += 1

    def expect_end(self) -> None:
        if self.kinds[self.at] != END:
            self.fail(f"Unexpected '{self.token_text(self.at)}'{self.remedy_here()}")

    def remedy_here(self) -> str:
        """What may help where an unexpected token stands."""
        key, before = self.keys[self.at], self.at - 1
        if key == "except" and self.keys[before] == "*":
            return f"; {WORDS['exclude']}"
        if before >= 0 and self.keys[before] == "top" and self.kinds[self.at] == NUMBER:
            return f"; {WORDS['fetch']}"
        if key in WORDS:
            return f"; {WORDS[key]}"
        if key == "as":
            return "; a name is given once, to what stands in SELECT or FROM"
        if key == ",":
            return self._remedy_of_comma(before)
        if key in CLAUSE_WORDS or key == "select":
            return f"; clauses come once each, in the order {_CLAUSE_ORDER}"
        if self.kinds[self.at] == NUMBER and self.token_text(self.at).startswith("."):
            return f'; a number within a name is written in double quotes, as a."{self.token_text(self.at)[1:]}"'
        if key == ".":
            return '; a name with a dot inside is written in double quotes, as "a.b"'
        if before >= 0 and self.kinds[before] == NAME and self.keys[before] in _NEVER_LAST:
            return f"; '{self.token_text(before)}' is read as a name here, for what stands before it is not complete"
        if self.kinds[self.at] == NAME and before >= 0 and self.kinds[before] == NAME:
            return "; an alias is written with AS"
        return ""

    def _remedy_of_comma(self, before: int) -> str:
        if self.keys[before - 1] == "limit":
            return "; write LIMIT count OFFSET start"
        return "; tables are joined by JOIN … ON" if self.kinds[before] == NAME else ""

    def remedy_of_operators(self, token: int) -> str:
        """What may help where an operator stands right behind another."""
        remedy = OPERATORS.get(self.keys[token - 1] + self.keys[token]) if token else None
        return f"; {remedy}" if remedy else ""

    def token_text(self, token: int) -> str:
        return self.text[self.starts[token] : self.ends[token]]

    def path(self, message: str) -> Path:
        """Take a dotted name."""
        if self.kinds[self.at] != NAME:
            self.fail(message + ('; names are quoted as "name"' if self.keys[self.at] == "'" else ""))
        self.at += 1
        return split_name(self.token_text(self.at - 1))

    def identifier(self, message: str) -> str:
        """Take a name of one element."""
        token = self.at
        path = self.path(message)
        if len(path) > 1:
            whole = ".".join(path).replace('"', '""')
            self.fail(f'{message}: one name without dots; a dot in the name needs double quotes, as "{whole}"', token)
        return path[0]

    def unsigned(self, clause: str) -> int:
        """Take the count of LIMIT or OFFSET."""
        text = self.token_text(self.at)
        if self.kinds[self.at] != NUMBER or not text.isdigit():
            self.fail(f"Expected a non-negative integer after {clause}")
        self.at += 1
        return min(int(text), _MOST_ROWS)
