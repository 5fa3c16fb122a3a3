"""HTML: its text and its links (sql-dialect.md §8.3)."""

from __future__ import annotations

from typing import Any

from server.errors import MldbError
from server.sql import coerce
from server.sql.bound import Embedding, Value, is_constant, latest_ts
from server.sql.duck import literal_text
from server.sql.functions.registry import Builtin, direct, only_option, routine
from server.sql.routines import TEXTS
from server.sql.scope import Scope
from server.sql.tasks import TASK_SQL
from server.sql.tree import Call
from server.values.kinds import Kind

_UNSEEN = ("script", "style", "noscript", "template")


def _parsed(html: str) -> Any:
    """The document's root element, None for a document without any."""
    from lxml import etree
    from lxml.html import HTMLParser, document_fromstring

    parser = HTMLParser(no_network=True, huge_tree=False, encoding="utf-8")
    try:
        return document_fromstring(html.encode("utf-8", "replace"), parser=parser)
    except etree.ParserError:
        return None
    except (etree.LxmlError, ValueError) as error:
        raise MldbError(f"the HTML cannot be parsed: {error}") from None


def extract_text(html: str) -> str:
    """What a reader sees of a document, without scripts and styles."""
    root = _parsed(html)
    if root is None:
        return ""
    for element in list(root.iter(*_UNSEEN)):
        element.drop_tree()
    return " ".join(" ".join(root.itertext(with_tail=False)).split())


def extract_links(html: str, selector: str) -> list[str]:
    """The targets of the links that a CSS selector chooses."""
    root = _parsed(html)
    if root is None:
        return []
    try:
        found = root.cssselect(selector)
    except Exception as error:  # cssselect's errors of syntax and of unknown pseudo-classes share no better base
        raise MldbError(f"bad CSS selector '{selector}': {error}") from None
    return [element.get("href") for element in found if element.get("href") is not None]


def _extract_links(node: Call, args: list[Value], scope: Scope) -> Value:
    selector = str(only_option("extract_links", "selector", args, scope) or "a")
    sql = scope.stage(f"s_extract_links({TASK_SQL}, {coerce.to_text(args[0])}, {literal_text(selector)})")
    return Embedding(sql, Kind.STRING, None, latest_ts(args), constant=all(map(is_constant, args)))


_EXTRACT_TEXT = routine("extract_text", (Kind.STRING,), Kind.STRING, extract_text, slow=True)

ROUTINES = [
    _EXTRACT_TEXT,
    routine("extract_links", (Kind.STRING, Kind.STRING), TEXTS, extract_links, slow=True),
]

BUILTINS = [
    direct(
        _EXTRACT_TEXT,
        "extract_text(html: text) → text",
        "The text that a reader of HTML sees.",
        ("extract_text('<p>Hello <b>world</b></p>')", '"Hello world"'),
    ),
    Builtin(
        "extract_links(html: text[, options: row]) → embedding",
        "The targets of the links in HTML, or of those that a CSS selector chooses: `{selector: 'nav a'}`.",
        ("extract_links('<a href=\"x\">1</a><a>2</a>')", '["x"]'),
        bind=_extract_links,
    ),
]
