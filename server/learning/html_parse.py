"""The function ``html.parse``: an HTML document as a list of what it is made of (entity-types.md §4.5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from server.declarations import Creation, EntityType, Params
from server.learning.cell_functions import TextFunction


class HtmlParseParams(Params):
    """html.parse has no parameters."""


def trace(html: str) -> str:
    """A line for each tag that begins or ends and for each text, two blanks further in for each level.

    The document is completed as browsers do it: ``<html>`` and ``<body>`` are there, open elements are ended.
    """
    from lxml import etree

    parser = etree.HTMLParser(no_network=True, huge_tree=False, encoding="utf-8")
    root = etree.fromstring(html.encode("utf-8", "replace"), parser) if html.strip() else None
    return "\n".join(_lines(root)) if root is not None else ""


def _lines(root: Any) -> Iterator[str]:
    """Walks without recursion: documents may be nested deeper than a stack."""
    from lxml import etree

    depth = 0
    for event, element in etree.iterwalk(root, events=("start", "end", "comment")):
        if event == "comment":
            yield f"{'  ' * depth}comment {element.text.strip()}"
            yield from _text(element.tail, depth)
        elif event == "start":
            yield f"{'  ' * depth}start {element.tag}{_attributes(element)}"
            depth += 1
            yield from _text(element.text, depth)
        else:
            depth -= 1
            yield f"{'  ' * depth}end {element.tag}"
            yield from _text(element.tail, depth)


def _text(text: str | None, depth: int) -> Iterator[str]:
    if text and text.strip():
        yield f"{'  ' * depth}text {' '.join(text.split())}"


def _attributes(element: Any) -> str:
    return "".join(f' {name}="{value}"' for name, value in element.attrib.items())


def _create(creation: Creation) -> TextFunction:
    return TextFunction("text", "output", trace)


TYPES = [
    EntityType(
        "function",
        "html.parse",
        HtmlParseParams,
        "Tells what an HTML document is made of",
        _create,
        '`text` goes in; `output` has a line for each tag that begins (`start a href="…"`) or ends and for each '
        "text. See `extract_text` and `extract_links` for what readers want of a page.",
    )
]
