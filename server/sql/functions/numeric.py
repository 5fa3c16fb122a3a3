"""Numeric functions, element by element on rows and embeddings (sql-dialect.md §8.1)."""

from __future__ import annotations

from server.sql import coerce
from server.sql.binder.elementwise import map_atoms, map_pairs
from server.sql.bound import (
    NAN_SQL,
    Atom,
    MultiValue,
    Value,
    is_constant,
    latest_ts,
)
from server.sql.functions import numbers
from server.sql.functions.registry import (
    Bind,
    Builtin,
    direct,
    integer_argument,
    number_argument,
    result,
    routine,
)
from server.sql.notes import NO_ARGUMENTS
from server.sql.scope import Scope
from server.sql.tree import Call
from server.values.atoms import Atom as PlainAtom
from server.values.atoms import sort_key
from server.values.kinds import Kind

# name, which is DuckDB's too → what it gives, an example; DuckDB has the C library's edge cases.
_UNARY = {
    "ceil": ("The smallest integer that is not less than x.", ("ceil(1.2)", "2")),
    "floor": ("The greatest integer that is not greater than x.", ("floor(-1.2)", "-2")),
    "round": ("The nearest integer; halves go away from zero.", ("round(2.5)", "3")),
    "exp": ("e to the power of x.", ("exp(0)", "1")),
    "abs": ("The absolute value.", ("abs({a: -1, b: 2})", '{"a": 1, "b": 2}')),
    "ln": ("The natural logarithm.", ("ln(0)", '"-Inf"')),
    "sqrt": ("The square root.", ("sqrt(16)", "4")),
    "sin": ("The sine of an angle in radians.", ("sin(0)", "0")),
    "cos": ("The cosine of an angle in radians.", ("cos(0)", "1")),
    "tan": ("The tangent of an angle in radians.", ("tan(0)", "0")),
    "asin": ("The arc sine in radians.", ("asin(0)", "0")),
    "acos": ("The arc cosine in radians.", ("acos(1)", "0")),
    "atan": ("The arc tangent in radians.", ("atan(0)", "0")),
    "sinh": ("The hyperbolic sine.", ("sinh(0)", "0")),
    "cosh": ("The hyperbolic cosine.", ("cosh(0)", "1")),
    "tanh": ("The hyperbolic tangent.", ("tanh(0)", "0")),
    "asinh": ("The inverse hyperbolic sine.", ("asinh(0)", "0")),
    "acosh": ("The inverse hyperbolic cosine.", ("acosh(1)", "0")),
    "atanh": ("The inverse hyperbolic tangent.", ("atanh(0)", "0")),
}
_TESTS = {
    "isfinite": ("Whether a number is neither infinite nor NaN.", ("isfinite(1 / 0)", "0")),
    "isinf": ("Whether a number is infinite.", ("isinf(1 / 0)", "1")),
    "isnan": ("Whether a number is NaN.", ("isnan(0 / 0)", "1")),
}
# name → DuckDB SQL on DOUBLEs x and y, what it gives, an example
_BINARY = {
    "pow": ("pow({x}, {y})", "x to the power of y.", ("pow(2, 10)", "1024")),
    "power": ("pow({x}, {y})", "x to the power of y.", ("power([1, 2], 2)", "[1, 4]")),
    "atan2": (
        "atan2({x}, {y})",
        "The angle of the point (y, x) in radians: the first argument is the ordinate.",
        ("atan2(0, 1)", "0"),
    ),
    "quantize": ("m_quantize({x}, {y})", "The multiple of y nearest to x.", ("quantize(2.17, 0.1)", "2.2")),
}


def _elementwise(template: str, kind: Kind) -> Bind:
    def bind(node: Call, args: list[Value], scope: Scope) -> Value:
        def change(atom: Atom) -> Atom:
            if atom.kind is Kind.NULL:
                return atom
            return Atom(template.format(x=number_argument(atom, node.name)), kind, atom.ts, atom.constant)

        return map_atoms(args[0], change)

    return bind


def _binary(template: str) -> Bind:
    def bind(node: Call, args: list[Value], scope: Scope) -> Value:
        def change(left: Atom, right: Atom) -> Atom:
            both: list[Value] = [left, right]
            if Kind.NULL in (left.kind, right.kind):
                return Atom("NULL", Kind.NULL, latest_ts(both), all(map(is_constant, both)))
            x, y = (number_argument(atom, node.name) for atom in (left, right))
            return result(template.format(x=x, y=y), Kind.NUMBER, both)

        return map_pairs(args[0], args[1], change, scope)

    return bind


def _log(node: Call, args: list[Value], scope: Scope) -> Value:
    *base, x = [number_argument(value, node.name) for value in args]
    return result(f"(ln({x}) / ln({base[0]}))" if base else f"log10({x})", Kind.NUMBER, args)


def _mod(node: Call, args: list[Value], scope: Scope) -> Value:
    def change(left: Atom, right: Atom) -> Atom:
        x, y = (integer_argument(atom, node.name) for atom in (left, right))
        return result(f"m_mod({x}, {y})", Kind.INTEGER, [left, right])

    return map_pairs(args[0], args[1], change, scope)


def _sign(node: Call, args: list[Value], scope: Scope) -> Value:
    def change(atom: Atom) -> Atom:
        if atom.kind is Kind.NULL:
            return atom
        if atom.kind in coerce.NUMERIC:
            sql = f"m_sign({coerce.to_double(atom)})"
        elif atom.kind is Kind.ANY:
            sql = f"CASE WHEN m_tag({atom.sql}) IN ('n', 'i', 'u') THEN m_sign(m_num({atom.sql})) "
            sql += f"WHEN {atom.sql} IS NOT NULL THEN {NAN_SQL} END"
        else:
            sql = f"CASE WHEN {atom.sql} IS NOT NULL THEN {NAN_SQL} END"
        return Atom(sql, Kind.NUMBER, atom.ts, atom.constant)

    return map_atoms(args[0], change)


_REPLACED = {"replace_nan": "isnan({x})", "replace_inf": "isinf({x})", "replace_not_finite": "NOT isfinite({x})"}


def _replace(node: Call, args: list[Value], scope: Scope) -> Value:
    """Numbers of a sort are replaced; what is no number stays."""
    new, test = coerce.atom(args[1]), _REPLACED[node.name]

    def change(atom: Atom) -> Atom:
        if atom.kind not in (Kind.NUMBER, Kind.ANY):
            return atom
        number = atom.sql if atom.kind is Kind.NUMBER else f"union_extract({atom.sql}, 'n')"
        condition = test.format(x=number)
        if atom.kind is Kind.ANY:
            condition = f"(m_tag({atom.sql}) = 'n' AND {condition})"
        return _either(condition, new, atom)

    return map_atoms(args[0], change)


def _either(condition: str, one: Atom, other: Atom) -> Atom:
    """One atom where a condition holds, else another."""
    kind = coerce.unify([one, other])
    sql = f"CASE WHEN {condition} THEN {coerce.as_kind(one, kind)} ELSE {coerce.as_kind(other, kind)} END"
    return Atom(sql, kind, latest_ts([one, other]), one.constant and other.constant)


def _replace_null(node: Call, args: list[Value], scope: Scope) -> Value:
    new = coerce.atom(args[1])

    def change(atom: Atom) -> Atom:
        # A cell that its row lacks is not a null.
        return _either(f"{atom.sql} IS NULL", new, atom) if atom.nullable() else atom

    value = args[0]
    return map_atoms(coerce.atom(value) if isinstance(value, Atom | MultiValue) else value, change)


def _clamp(node: Call, args: list[Value], scope: Scope) -> Value:
    low, high = coerce.atom(args[1]), coerce.atom(args[2])

    def change(atom: Atom) -> Atom:
        parts = [atom, low, high]
        if all(part.kind in (*coerce.NUMERIC, Kind.NULL) for part in parts):
            return result(f"m_clamp({', '.join(map(coerce.to_double, parts))})", Kind.NUMBER, list(parts))
        return result(f"u_clamp({', '.join(map(coerce.to_any, parts))})", Kind.ANY, list(parts))

    return map_atoms(args[0], change)


def clamp(value: PlainAtom, low: PlainAtom, high: PlainAtom) -> PlainAtom:
    """A value within bounds by the order of values; a bound that is null does not bound, NaN becomes the lower one."""
    if value is None:
        return None
    if value != value:
        return value if low is None else low
    if low is not None and sort_key(value) < sort_key(low):
        return low
    return high if high is not None and sort_key(value) > sort_key(high) else value


def _constant(text: str) -> Bind:
    return lambda node, args, scope: Atom(text, Kind.NUMBER, constant=True)


_LOWER = routine("binomial_lb_80", (Kind.INTEGER, Kind.INTEGER), Kind.NUMBER, numbers.binomial_lb_80)
_UPPER = routine("binomial_ub_80", (Kind.INTEGER, Kind.INTEGER), Kind.NUMBER, numbers.binomial_ub_80)
ROUTINES = [
    _LOWER,
    _UPPER,
    routine("clamp", (Kind.ANY, Kind.ANY, Kind.ANY), Kind.ANY, clamp, strict=False),
]

MACROS = """
m_only_atom(l, x) := CASE WHEN len(list_filter(l, lambda c: c.p <> '')) > 0 THEN u_fail_cells(x) ELSE l END
m_quantize(x, q) := CASE WHEN q = 0 THEN 'nan'::DOUBLE ELSE round(x / q) * q END
m_mod(x, y) := CASE WHEN y = 0 THEN u_fail_integer('Executing builtin function mod: Integer Modulus by a zero dividend')
    WHEN y = -1 THEN 0 ELSE x % y END
m_sign(x) := CASE WHEN isnan(x) THEN x ELSE CAST(sign(x) AS DOUBLE) END
m_clamp(x, lo, hi) := CASE WHEN x IS NULL THEN NULL WHEN isnan(x) THEN coalesce(lo, x)
    ELSE greatest(lo, least(x, hi)) END
"""

_TWO = "(x: number | row | embedding, y: number | row | embedding) → the form of both"

BUILTINS = [
    *(
        Builtin(
            f"{name}(x: number | row | embedding) → the form of x",
            text,
            example,
            bind=_elementwise(f"{name}({{x}})", kind),
        )
        for table, kind in ((_UNARY, Kind.NUMBER), (_TESTS, Kind.BOOLEAN))
        for name, (text, example) in table.items()
    ),
    *(Builtin(f"{name}{_TWO}", text, example, bind=_binary(sql)) for name, (sql, text, example) in _BINARY.items()),
    Builtin(
        "log([base: number, ]x: number) → number",
        "The logarithm to base 10, or to a base.",
        ("log(2, 8)", "3"),
        bind=_log,
    ),
    Builtin(
        "mod(x: integer | row | embedding, y: integer | row | embedding) → the form of both",
        "The remainder of two integers, with the sign of x.",
        ("mod(-5, 3)", "-2"),
        bind=_mod,
    ),
    Builtin(
        "sign(x: number | row | embedding) → the form of x",
        "-1, 0 or 1; NaN for what is no number.",
        ("sign(-2.5)", "-1"),
        bind=_sign,
    ),
    Builtin(
        "replace_nan(x: any, y: atom) → the form of x",
        "y for numbers that are NaN.",
        ("replace_nan(0 / 0, 7)", "7"),
        bind=_replace,
        null=("NULL stays NULL; so do numbers replaced by NULL", ("replace_nan(NULL, 7)", "null")),
    ),
    Builtin(
        "replace_inf(x: any, y: atom) → the form of x",
        "y for numbers that are infinite.",
        ("replace_inf(1 / 0, 7)", "7"),
        bind=_replace,
        null=("NULL stays NULL; so do numbers replaced by NULL", ("replace_inf(NULL, 7)", "null")),
    ),
    Builtin(
        "replace_not_finite(x: any, y: atom) → the form of x",
        "y for numbers that are infinite or NaN.",
        ("replace_not_finite({1 / 0 AS a, 5 AS b}, 7)", '{"a": 7, "b": 5}'),
        bind=_replace,
        null=("NULL stays NULL; so do numbers replaced by NULL", ("replace_not_finite(NULL, 7)", "null")),
    ),
    Builtin(
        "replace_null(x: any, y: atom) → the form of x",
        "y for nulls.",
        ("replace_null(NULL, 7)", "7"),
        bind=_replace_null,
        null=("NULL becomes y", ("replace_null({NULL AS a, 1 AS b}, 7)", '{"a": 7, "b": 1}')),
    ),
    Builtin(
        "clamp(x: any, low: atom, high: atom) → the form of x",
        "x within bounds; a null bound does not bound.",
        ("clamp([1, 5, 9], 2, 6)", "[2, 5, 6]"),
        bind=_clamp,
        null=("NULL stays NULL; a bound that is NULL does not bound", ("clamp(9, NULL, 6)", "6")),
    ),
    direct(
        _LOWER,
        "binomial_lb_80(trials: integer, successes: integer) → number",
        "The lower bound of the share of successes, with a confidence of 80 %.",
        ("round(binomial_lb_80(20, 10) * 100)", "36"),
    ),
    direct(
        _UPPER,
        "binomial_ub_80(trials: integer, successes: integer) → number",
        "The upper bound of the share of successes, with a confidence of 80 %.",
        ("round(binomial_ub_80(20, 10) * 100)", "64"),
    ),
    Builtin("pi() → number", "The number π.", ("round(pi() * 100)", "314"), bind=_constant("pi()"), null=NO_ARGUMENTS),
    Builtin(
        "e() → number",
        "The number e.",
        ("round(e() * 100)", "272"),
        bind=_constant("exp(1.0::DOUBLE)"),
        null=NO_ARGUMENTS,
    ),
]
