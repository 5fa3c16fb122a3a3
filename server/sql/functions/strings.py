"""Strings (sql-dialect.md §8.3): case, length, prefixes, Perl patterns, distances, base64, host names."""

from __future__ import annotations

import base64
import binascii
import re

from server.errors import MldbError
from server.sql import coerce
from server.sql.bound import Atom, Embedding, Open, Row, Value
from server.sql.duck import literal_text, macro
from server.sql.functions.patterns import compile_regex, extract_domain, regex_replace
from server.sql.functions.registry import Bind, Builtin, fixed_atom, only_option, result, routine
from server.sql.routines import Routine
from server.sql.scope import Scope
from server.sql.tasks import TASK_SQL
from server.sql.tree import Call
from server.values.atoms import Atom as PlainAtom
from server.values.atoms import PathValue
from server.values.kinds import Kind

_NEED_STRINGS = "Regular expressions need to be strings."

# What RE2 understands just as Perl does: no classes of its own (they would be ASCII only), no anchors of lines,
# no look-around, no references back.
_PLAIN_PATTERN = re.compile(r"(?:[^\\${(\[]|\\[^\w\s]|\$$|\{\d{1,3}(?:,\d{0,3})?\}|\((?!\?)|\(\?:|\[(?!:)(?!\^?\[))*")


def _text_function(template: str, kind: Kind) -> Bind:
    def bind(node: Call, args: list[Value], scope: Scope) -> Value:
        return result(template.format(coerce.to_text(args[0])), kind, args)

    return bind


def _strings(node: Call, args: list[Value], message: str) -> list[str]:
    """Arguments that must be strings (or NULL) as SQL texts."""
    texts = []
    for value in args:
        one = None if isinstance(value, Row | Embedding) else coerce.atom(value)
        if one is None or one.kind not in (Kind.STRING, Kind.ANY, Kind.NULL):
            raise MldbError(message)
        full = f"Executing builtin function {node.name}: {message}"
        texts.append(one.sql if one.kind is Kind.STRING else f"m_need_text({coerce.to_any(one)}, {literal_text(full)})")
    return texts


def _affix(node: Call, args: list[Value], scope: Scope) -> Value:
    text, affix = _strings(node, args, f"The arguments passed to {node.name} must be two strings")
    return result(f"m_{node.name}({text}, {affix})", Kind.STRING, args)


def _levenshtein(node: Call, args: list[Value], scope: Scope) -> Value:
    message = "The parameters passed to the levenshtein_distance function must be strings"
    left, right = _strings(node, args, message)
    return result(f"m_levenshtein({TASK_SQL}, {left}, {right})", Kind.INTEGER, args)


def levenshtein(left: str, right: str) -> int:
    """How many characters must be put in, taken out or changed."""
    row = list(range(len(right) + 1))
    for number, a in enumerate(left, 1):
        previous, row[0] = row[0], number
        for index, b in enumerate(right, 1):
            previous, row[index] = row[index], min(row[index] + 1, row[index - 1] + 1, previous + (a != b))
    return row[-1]


# ── patterns ─────────────────────────────────────────────────────────────────────────────────────────────────


def _pattern(value: Value, scope: Scope) -> str | None:
    """A constant pattern, checked; None for one that varies by row."""
    known, pattern = fixed_atom(value, scope)
    if not known or pattern is None:
        return None
    compile_regex(_checked(pattern))
    return _checked(pattern)


def _engine_can(pattern: str, scope: Scope) -> bool:
    """Whether DuckDB's own pattern engine means the same by a pattern."""
    if not _PLAIN_PATTERN.fullmatch(pattern) or re.search(r"[*+?}]\+", pattern):
        return False
    try:
        scope.context.execute(f"SELECT regexp_matches('', {literal_text(pattern)}, 's')")
    except MldbError:
        return False
    return True


_ENGINE = {"regex_match": "regexp_full_match", "regex_search": "regexp_matches"}


def _regex_test(node: Call, args: list[Value], scope: Scope) -> Value:
    pattern = _pattern(args[1], scope)
    text = coerce.to_text(args[0])
    if pattern is not None and _engine_can(pattern, scope):
        return result(f"{_ENGINE[node.name]}({text}, {literal_text(pattern)}, 's')", Kind.BOOLEAN, args)
    return result(f"s_{node.name}({TASK_SQL}, {text}, {coerce.to_any(args[1])})", Kind.BOOLEAN, args)


def _regex_replace(node: Call, args: list[Value], scope: Scope) -> Value:
    pattern = _pattern(args[1], scope)
    known, template = fixed_atom(args[2], scope)
    text, new = coerce.to_text(args[0]), coerce.to_text(args[2])
    plain = known and isinstance(template, str) and not set(template) & {"$", "\\"}
    if pattern is not None and plain and _engine_can(pattern, scope):
        return result(f"regexp_replace({text}, {literal_text(pattern)}, {new}, 'gs')", Kind.STRING, args)
    return result(f"s_regex_replace({TASK_SQL}, {text}, {coerce.to_any(args[1])}, {new})", Kind.STRING, args)


def _checked(pattern: PlainAtom) -> str:
    """A pattern's text: a string, or the name that a path is."""
    if not isinstance(pattern, str | PathValue):
        raise MldbError(_NEED_STRINGS)
    return str(pattern)


def matches(text: str, pattern: PlainAtom) -> bool:
    return compile_regex(_checked(pattern)).matches(text)


def searches(text: str, pattern: PlainAtom) -> bool:
    return compile_regex(_checked(pattern)).finds(text)


def replaces(text: str, pattern: PlainAtom, template: str) -> str:
    return regex_replace(text, _checked(pattern), template)


# ── sets, bytes, hosts ───────────────────────────────────────────────────────────────────────────────────────


def _jaccard(node: Call, args: list[Value], scope: Scope) -> Value:
    if not all(isinstance(value, Row | Open | Embedding) for value in args):
        raise MldbError("The arguments passed to the jaccard_index must be two row expressions")
    names = [scope.stage(f"m_column_names({coerce.to_cells(value)})") for value in args]
    # As upstream, the result is new at the time of the query.
    return Atom(f"m_jaccard({names[0]}, {names[1]})", Kind.NUMBER, lambda: "epoch(now())")


def _base64_encode(node: Call, args: list[Value], scope: Scope) -> Value:
    return result(f"base64({coerce.to_blob(args[0])})", Kind.STRING, args)


def _base64_decode(node: Call, args: list[Value], scope: Scope) -> Value:
    return result(macro("m_base64_decode", coerce.to_text(args[0])), Kind.BLOB, args)


def decode_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text)
    except (binascii.Error, ValueError) as error:
        raise MldbError(f"not base64: {error}") from None


def _extract_domain(node: Call, args: list[Value], scope: Scope) -> Value:
    remove = "TRUE" if only_option("extract_domain", "removeSubdomain", args, scope) else "FALSE"
    return result(f"s_extract_domain({TASK_SQL}, {coerce.to_text(args[0])}, {remove})", Kind.STRING, args)


def _domain(url: str, remove: int) -> str:
    return extract_domain(url, remove_subdomain=bool(remove))


ROUTINES = [
    routine("levenshtein_distance", (Kind.STRING, Kind.STRING), Kind.INTEGER, levenshtein, slow=True),
    routine("regex_match", (Kind.STRING, Kind.ANY), Kind.BOOLEAN, matches, slow=True),
    routine("regex_search", (Kind.STRING, Kind.ANY), Kind.BOOLEAN, searches, slow=True),
    routine("regex_replace", (Kind.STRING, Kind.ANY, Kind.STRING), Kind.STRING, replaces, slow=True),
    routine("extract_domain", (Kind.STRING, Kind.BOOLEAN), Kind.STRING, _domain, slow=True),
    Routine("u_upper", (Kind.STRING,), Kind.STRING, str.upper),
    Routine("u_lower", (Kind.STRING,), Kind.STRING, str.lower),
    routine("base64_decode", (Kind.STRING,), Kind.BLOB, decode_base64),
]

# Letters whose other case has several, or depends on its place: DuckDB changes letter by letter.
_UPPER_IN_FULL = "[ßŉǰΐΰևẖ-ẚὐ-ὖᾀ-ῼﬀ-ﬗ]"
_LOWER_IN_FULL = "[İΣ]"

MACROS = f"""
m_base64_decode(s) := coalesce(CASE WHEN suffix(s, '=') OR NOT contains(s, '=') THEN TRY(from_base64(s)) END,
    u_base64_decode(s))
m_upper(s) := CASE WHEN strlen(s) <> length(s) AND regexp_matches(s, '{_UPPER_IN_FULL}') THEN u_upper(s)
    ELSE upper(s) END
m_lower(s) := CASE WHEN strlen(s) <> length(s) AND regexp_matches(s, '{_LOWER_IN_FULL}') THEN u_lower(s)
    ELSE lower(s) END
m_need_text(a, m) := CASE m_tag(a) WHEN 's' THEN union_extract(a, 's')
    ELSE CASE WHEN a IS NULL THEN NULL ELSE u_fail_text(m) END END
m_remove_prefix(s, p) := CASE WHEN starts_with(s, p) THEN substr(s, length(p) + 1) ELSE CASE WHEN p IS NOT NULL
    THEN s END END
m_remove_suffix(s, p) := CASE WHEN suffix(s, p) THEN substr(s, 1, length(s) - length(p)) ELSE CASE WHEN p IS NOT NULL
    THEN s END END
m_levenshtein(k, a, b) := CASE WHEN strlen(a) = length(a) AND strlen(b) = length(b) THEN levenshtein(a, b)
    ELSE s_levenshtein_distance(k, a, b) END
m_column_names(l) := list_distinct(list_transform(list_filter(l, lambda c: c.v IS NOT NULL), lambda c: c.p))
m_jaccard(a, b) := CASE WHEN len(a) + len(b) = 0 THEN 1.0::DOUBLE
    ELSE len(list_intersect(a, b)) / CAST(len(a) + len(b) - len(list_intersect(a, b)) AS DOUBLE) END
"""

BUILTINS = [
    Builtin(
        "lower(s: atom) → text",
        "The text in lower case; empty for NULL.",
        ("lower('Élan')", '"élan"'),
        bind=_text_function("coalesce(m_lower({}), '')", Kind.STRING),
        null=("an empty text", ("lower(NULL)", '""')),
    ),
    Builtin(
        "upper(s: atom) → text",
        "The text in upper case; empty for NULL.",
        ("upper('élan')", '"ÉLAN"'),
        bind=_text_function("coalesce(m_upper({}), '')", Kind.STRING),
        null=("an empty text", ("upper(NULL)", '""')),
    ),
    Builtin(
        "length(s: atom) → integer",
        "How many characters the text form of a value has; 0 for NULL.",
        ("length('élan')", "4"),
        bind=_text_function("coalesce(length({}), 0)", Kind.INTEGER),
        null=("0", ("length(NULL)", "0")),
    ),
    Builtin(
        "remove_prefix(s: text, prefix: text) → text",
        "The text without its beginning, if it is that.",
        ("remove_prefix('abc', 'ab')", '"c"'),
        bind=_affix,
    ),
    Builtin(
        "remove_suffix(s: text, suffix: text) → text",
        "The text without its end, if it is that.",
        ("remove_suffix('abc', 'bc')", '"a"'),
        bind=_affix,
    ),
    Builtin(
        "regex_match(s: atom, pattern: text) → boolean",
        "Whether a Perl pattern matches the whole text.",
        ("regex_match('abc', 'a.*')", "1"),
        bind=_regex_test,
    ),
    Builtin(
        "regex_search(s: atom, pattern: text) → boolean",
        "Whether a Perl pattern matches somewhere.",
        ("regex_search('abc', '(?<=a)b')", "1"),
        bind=_regex_test,
    ),
    Builtin(
        "regex_replace(s: atom, pattern: text, template: text) → text",
        "All matches of a Perl pattern replaced; `$1` stands for the first group, `$&` for the match.",
        ("regex_replace('abc', '(b)', '<$1>')", '"a<b>c"'),
        bind=_regex_replace,
    ),
    Builtin(
        "levenshtein_distance(a: text, b: text) → integer",
        "How many characters differ between two texts.",
        ("levenshtein_distance('kitten', 'sitting')", "3"),
        bind=_levenshtein,
    ),
    Builtin(
        "base64_encode(x: blob | text) → text",
        "The base64 text of a blob or text.",
        ("base64_encode('hello')", '"aGVsbG8="'),
        bind=_base64_encode,
    ),
    Builtin(
        "base64_decode(s: text) → blob",
        "The blob that a base64 text stands for.",
        ("base64_encode(base64_decode('aGVsbG8='))", '"aGVsbG8="'),
        bind=_base64_decode,
    ),
    Builtin(
        "jaccard_index(row1: row, row2: row) → number",
        "How many columns two rows share, divided by how many they have together.",
        ("jaccard_index({a: 1, b: 1}, {b: 1})", "0.5"),
        bind=_jaccard,
        null=(
            "an error for NULL; columns that are NULL do not count",
            ("jaccard_index({a: 1, b: NULL}, {a: 1, b: 1})", "0.5"),
        ),
    ),
    Builtin(
        "extract_domain(url: text[, options: row]) → text",
        "The host of a URL; with `{removeSubdomain: 1}` only its last two labels, unless it is an address.",
        ("extract_domain('http://www.example.com/a')", '"www.example.com"'),
        bind=_extract_domain,
    ),
]
