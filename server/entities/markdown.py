"""Markdown pages of documentation folders as HTML."""

from __future__ import annotations

import re
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_MACRO = re.compile(r"!\[[^\]\n]*\]\(%%(\w+)\s*([^)\n]*)\)")
_LOCAL_PAGE = re.compile(r"(?![a-z][a-z0-9+.-]*:|//)([^?#]*\.md)([?#].*)?", re.IGNORECASE)
_FIRST_TITLE = re.compile(r"^#\s+(.+)$", re.MULTILINE)

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="/static/markdown.css">
</head>
<body><main>
{body}
</main></body>
</html>
"""


def render(text: str, name: str) -> bytes:
    """A full page: tables, fenced code, links to local ``.md`` pages turned to their HTML."""
    title = _FIRST_TITLE.search(text)
    body = _parser().render(_MACRO.sub(_macro, text))
    body = body.replace("<pre>", '<pre tabindex="0">')  # what scrolls must be reached by keyboard
    return _PAGE.format(title=escape(title.group(1) if title else name), body=body).encode()


def _macro(match: re.Match[str]) -> str:
    """``![](%%doclink name kind)`` names something of the reference: shown as code."""
    return f"`{match.group(2).split(' ')[0] or match.group(1)}`"


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": True, "linkify": False}).enable(["table", "strikethrough"])
    parser.add_render_rule("link_open", _link)
    return parser


def _link(renderer: Any, tokens: list[Token], index: int, options: Any, env: Any) -> str:
    href = str(tokens[index].attrGet("href") or "")
    if page := _LOCAL_PAGE.fullmatch(href):
        tokens[index].attrSet("href", f"{page.group(1)}.html{page.group(2) or ''}")
    return str(renderer.renderToken(tokens, index, options, env))
