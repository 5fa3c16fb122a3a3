"""Paths as values (sql-dialect.md §8.5). A path is held as its text, the empty path as an empty text."""

from __future__ import annotations

from server.errors import MldbError
from server.sql import coerce
from server.sql.bound import Atom, Value
from server.sql.functions.registry import Bind, Builtin, executing, integer_argument, result, routine
from server.sql.routines import Routine
from server.sql.scope import Scope
from server.sql.tree import Call
from server.values.atoms import PathValue
from server.values.kinds import Kind
from server.values.paths import format_path, parse_path


def _on_path(template: str, kind: Kind) -> Bind:
    def bind(node: Call, args: list[Value], scope: Scope) -> Value:
        return result(template.format(coerce.to_path(args[0])), kind, args)

    return bind


def _parse_path(node: Call, args: list[Value], scope: Scope) -> Value:
    one = coerce.atom(args[0])
    if one.kind is Kind.PATH:
        return Atom(one.sql, Kind.PATH, one.ts, one.constant)
    return result(f"m_parse_path({coerce.to_text(one)})", Kind.PATH, args)


def _path_element(node: Call, args: list[Value], scope: Scope) -> Value:
    sql = f"u_path_element_at({coerce.to_path(args[0])}, {integer_argument(args[1], node.name)})"
    return result(sql, Kind.STRING, args)


def canonical(text: str) -> str:
    """The canonical text of the path that a text spells."""
    return format_path(parse_path(text))


def element(path: PathValue, index: int) -> str:
    """An element, counted from 0."""
    if not 0 <= index < len(path.path):
        raise MldbError(f"the path '{path}' of length {len(path.path)} has no element {index}")
    return path.path[index]


def unflatten(path: PathValue) -> PathValue:
    """The path that a path's only element spells."""
    if len(path.path) != 1:
        raise MldbError(
            f"Attempt to pass non-flattened path with length {len(path.path)} to unflatten_path().  "
            "Must have length of one."
        )
    return PathValue(parse_path(path.path[0]))


ROUTINES = [
    routine("parse_path", (Kind.STRING,), Kind.STRING, canonical),
    Routine("u_path_element_at", (Kind.PATH, Kind.INTEGER), Kind.STRING, executing("path_element", element)),
    routine("path_size", (Kind.PATH,), Kind.INTEGER, lambda path: len(path.path)),
    routine("unflatten_path", (Kind.PATH,), Kind.PATH, unflatten),
]

MACROS = r"""
m_parse_path(s) := CASE WHEN regexp_full_match(s, '[^".\x00-\x1f]+(\.[^".\x00-\x1f]+)*') THEN s ELSE u_parse_path(s) END
m_path_size(p) := CASE WHEN contains(p, '"') OR p = '' THEN u_path_size(p)
    ELSE length(p) - length(replace(p, '.', '')) + 1 END
"""

BUILTINS = [
    Builtin(
        "parse_path(s: text) → path",
        "The path that a text spells: elements joined by dots.",
        ("path_length(parse_path('a.b'))", "2"),
        bind=_parse_path,
    ),
    Builtin(
        "stringify_path(p: path) → text",
        "The text of a path.",
        ("stringify_path(parse_path('a.\"b.c\"'))", '"a.\\"b.c\\""'),
        bind=_on_path("{}", Kind.STRING),
    ),
    Builtin(
        "path_element(p: path, n: integer) → text",
        "The element number n of a path, from 0.",
        ("path_element(parse_path('a.b'), 1)", '"b"'),
        bind=_path_element,
    ),
    Builtin(
        "path_length(p: path) → integer",
        "How many elements a path has.",
        ("path_length(parse_path('a.b.c'))", "3"),
        bind=_on_path("m_path_size({})", Kind.INTEGER),
    ),
    Builtin(
        "flatten_path(p: path) → path",
        "A path of one element that holds the text of the path.",
        ("path_length(flatten_path(parse_path('a.b')))", "1"),
        bind=_on_path("m_quote({})", Kind.PATH),
    ),
    Builtin(
        "unflatten_path(p: path) → path",
        "The reverse of flatten_path.",
        ("path_length(unflatten_path(flatten_path(parse_path('a.b'))))", "2"),
        bind=_on_path("u_unflatten_path({})", Kind.PATH),
    ),
]
