"""Markdown pages of documentation folders as HTML."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from server.templating import markup, rendered

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token

_MACRO = re.compile(r"!\[[^\]\n]*\]\(%%(\w+)[ \t]*([^)\n]*)\)")
_MACRO_KIND = "macro"
_LOCAL_PAGE = re.compile(r"(?![a-z][a-z0-9+.-]*:|//)([^?#]*\.md)([?#].*)?", re.IGNORECASE)
_FIRST_TITLE = re.compile(r"^#\s+(.+)$", re.MULTILINE)
_NOT_OF_ANCHORS = re.compile(r"[^\w\- ]")
# A file that a shell command writes is shown as what it is.
_HERE_DOCUMENT = re.compile(
    r"^[^\n]*\.(?P<ending>\w+) <<'(?P<mark>\w+)'\n(?P<content>.*?)^(?P=mark)$", re.MULTILINE | re.DOTALL
)


# What a macro of a page stands for, by its name and its arguments: Markdown; None for an unknown one.
Macros = Callable[[str, str], str | None]


@dataclass(frozen=True)
class Section:
    """A heading with what follows it up to the next one: ``text`` without marks, a line per block or row of a table."""

    level: int
    title: str
    anchor: str
    text: str


def render(text: str, name: str, macros: Macros | None = None) -> bytes:
    """A full page: tables, fenced code in colours, links to local ``.md`` pages turned to their HTML."""
    return rendered("markdown.html", title=title(text) or name, body=markup(body(text, macros=macros))).encode()


def title(text: str) -> str:
    """The first heading of a page; empty without one."""
    found = _FIRST_TITLE.search(text)
    return found.group(1) if found else ""


def body(text: str, relink: Callable[[str], str | None] | None = None, macros: Macros | None = None) -> str:
    """What stands in the page, as HTML; ``relink`` gives the target of each link or picture anew, None for no link."""
    tokens = _tokens(text, macros)
    if relink is not None:
        for token in tokens:
            token.children = _relinked(token.children, relink) if token.children else token.children
    shown = str(_parser().renderer.render(tokens, _parser().options, {}))
    # What scrolls must be reached by keyboard.
    return shown.replace("<pre>", '<pre tabindex="0">').replace("<table>", '<table tabindex="0">')


def _relinked(tokens: list[Token], relink: Callable[[str], str | None]) -> list[Token]:
    kept = []
    linked = True
    for token in tokens:
        name = {"link_open": "href", "image": "src"}.get(token.type)
        if name is not None:
            target = relink(str(token.attrGet(name)))
            token.attrSet(name, target or "")
            linked = target is not None
        if linked or token.type not in ("link_open", "link_close"):
            kept.append(token)
    return kept


def sections(text: str) -> list[Section]:
    """The page cut at its headings, with the anchors that ``render`` gives them."""
    tokens = _tokens(text)
    starts = [index for index, token in enumerate(tokens) if token.type == "heading_open"]
    return [
        Section(
            level=int(tokens[start].tag[1:]),
            title=_plain(tokens[start + 1]),
            anchor=str(tokens[start].attrGet("id") or ""),
            text=_text(tokens[start + 3 : end]),
        )
        for start, end in zip(starts, [*starts[1:], len(tokens)], strict=True)
    ]


def _tokens(text: str, macros: Macros | None = None) -> list[Token]:
    """What the parser finds, with an ``id`` on every heading below the title, as GitHub makes them."""
    tokens = _expanded(_parser().parse(text), macros)
    taken: Counter[str] = Counter()
    for token, content in pairwise(tokens):
        if token.type == "heading_open" and token.tag != "h1":
            anchor = _NOT_OF_ANCHORS.sub("", _plain(content).lower()).replace(" ", "-")
            token.attrSet("id", f"{anchor}-{taken[anchor]}" if taken[anchor] else anchor)
            taken[anchor] += 1
    return tokens


def _text(tokens: list[Token]) -> str:
    parts = []
    for token in tokens:
        if token.type == "inline":
            parts += [_plain(token), " "]
        elif token.type in ("paragraph_close", "tr_close"):
            parts.append("\n")
        elif token.type == "fence":
            parts.append(token.content)
    return "".join(parts).strip()


def _plain(inline: Token) -> str:
    shown = ("text", "code_inline", "softbreak")
    return "".join(each.content or " " for each in inline.children or () if each.type in shown)


def _expanded(tokens: list[Token], macros: Macros | None) -> list[Token]:
    """Replace macros by what they stand for. One that is alone in its paragraph may become several blocks."""
    result: list[Token] = []
    for token in tokens:
        for child in token.children or ():
            if child.type == _MACRO_KIND:
                child.content = _expansion(child, macros)
        result.append(token)
        macro = _lone_macro(result[-2]) if token.type == "paragraph_close" else None
        if macro is not None and "\n" in macro.content:
            result[-3:] = _parser().parse(macro.content)
    return result


def _expansion(token: Token, macros: Macros | None) -> str:
    name, arguments = token.meta["name"], token.meta["arguments"]
    text = macros(name, arguments) if macros is not None else None
    return f"Unable to find macro %%{name} with arguments {arguments}" if text is None else text


def _lone_macro(inline: Token) -> Token | None:
    children = inline.children or []
    return children[0] if len(children) == 1 and children[0].type == _MACRO_KIND else None


def _parse_macro(state: StateInline, silent: bool) -> bool:
    """A rule of the parser: macros look like pictures, but for the blanks between their arguments."""
    found = _MACRO.match(state.src, state.pos)
    if found is None:
        return False
    if not silent:
        state.push(_MACRO_KIND, "", 0).meta = {"name": found[1], "arguments": found[2].strip()}
    state.pos = found.end()
    return True


def _render_macro(_: Any, tokens: list[Token], index: int, __: Any, ___: Any) -> str:
    text = tokens[index].content
    return str(_parser().render(text) if "\n" in text else _parser().renderInline(text))


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    options = {"html": True, "linkify": False, "highlight": _highlight}
    parser = MarkdownIt("commonmark", options).enable(["table", "strikethrough"])
    parser.inline.ruler.before("image", _MACRO_KIND, _parse_macro)
    parser.add_render_rule("link_open", _link)
    parser.add_render_rule(_MACRO_KIND, _render_macro)
    return parser


def _highlight(code: str, language: str, _: str) -> str:
    """Code as HTML with Pygments' classes; an unknown language is left to the caller, who escapes it."""
    if language != "sh":
        return _coloured(code, language)
    parts = []
    at = 0
    for file in _HERE_DOCUMENT.finditer(code):
        content = _coloured(file["content"], file["ending"]) or escape(file["content"])
        parts += [_coloured(code[at : file.start("content")], "bash"), content]
        at = file.end("content")
    return "".join([*parts, _coloured(code[at:], "bash")])


def _coloured(code: str, language: str) -> str:
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return ""
    return str(highlight(code, lexer, HtmlFormatter(nowrap=True)))


def _link(renderer: Any, tokens: list[Token], index: int, options: Any, env: Any) -> str:
    href = str(tokens[index].attrGet("href") or "")
    if page := _LOCAL_PAGE.fullmatch(href):
        tokens[index].attrSet("href", f"{page.group(1)}.html{page.group(2) or ''}")
    return str(renderer.renderToken(tokens, index, options, env))
