"""A limit on the height of a tree, so that walking it (binding, comparing, hashing) never overflows the stack.

Nesting is limited while parsing; a long chain (``a + a + a + …``) nests only in its tree.
"""

from __future__ import annotations

from server.sql.parser.cursor import Cursor
from server.sql.tokens import SqlSyntaxError
from server.sql.tree import Node, parts

# A walk needs two to four Python frames per level, and Python allows 1000. People write chains of dozens.
HEIGHT_LIMIT = 200
_LEVELS_PER_NESTING = 3


def check_height(parser: Cursor, tree: Node | tuple[Node, ...]) -> None:
    """Raise ``SqlSyntaxError`` at the first node that lies too deep. The walk is spared where it cannot be."""
    if parser.chained + _LEVELS_PER_NESTING * parser.deepest <= HEIGHT_LIMIT:
        return
    level = list(tree) if isinstance(tree, tuple) else [tree]
    for _ in range(HEIGHT_LIMIT):
        level = [part for node in level for part in parts(node)]
        if not level:
            return
    deepest = level[0]
    raise SqlSyntaxError(
        parser.text,
        deepest.span[0],
        f"the expression is more than {HEIGHT_LIMIT} levels high; use IN (…) for a long list of alternatives, "
        "or split it with sub-selects",
    )
