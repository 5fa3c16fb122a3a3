"""Numeric functions, element by element on rows and embeddings (sql-dialect.md §8.1)."""

from __future__ import annotations

from collections.abc import Callable

from server.sql import coerce
from server.sql.binder.arithmetic import map_atoms
from server.sql.bound import Atom, Value
from server.sql.functions.registry import Builtin, number_argument, result
from server.sql.scope import Scope
from server.sql.tree import Call
from server.values.kinds import Kind

# name → DuckDB SQL on a DOUBLE x; edges as the C library has them.
_UNARY = {
    "ceil": "ceil({x})",
    "floor": "floor({x})",
    "round": "m_round({x})",
    "exp": "exp({x})",
    "abs": "abs({x})",
    "ln": "m_ln({x})",
    "sqrt": "m_sqrt({x})",
    "sin": "m_trig(sin(m_finite({x})), {x})",
    "cos": "m_trig(cos(m_finite({x})), {x})",
    "tan": "m_trig(tan(m_finite({x})), {x})",
    "asin": "m_within(asin(m_unit({x})), {x})",
    "acos": "m_within(acos(m_unit({x})), {x})",
    "atan": "atan({x})",
    "sinh": "sinh({x})",
    "cosh": "cosh({x})",
    "tanh": "tanh({x})",
    "asinh": "asinh({x})",
    "acosh": "m_acosh({x})",
    "atanh": "m_atanh({x})",
}
_TESTS = {"isfinite": "isfinite({x})", "isinf": "isinf({x})", "isnan": "isnan({x})"}


def _elementwise(template: str, kind: Kind) -> Callable[[Call, list[Value], Scope], Value]:
    def bind(node: Call, args: list[Value], scope: Scope) -> Value:
        del scope

        def change(atom: Atom) -> Atom:
            if atom.kind is Kind.NULL:
                return Atom("NULL", Kind.NULL, atom.ts, atom.constant)
            return Atom(template.format(x=number_argument(atom, node.name)), kind, atom.ts, atom.constant)

        return map_atoms(args[0], change)

    return bind


def _log(node: Call, args: list[Value], scope: Scope) -> Value:
    del node, scope
    if len(args) == 1:
        return result(f"m_log10({coerce.to_double(args[0])})", Kind.NUMBER, args)
    base, value = map(coerce.to_double, args)
    return result(f"(m_ln({value}) / m_ln({base}))", Kind.NUMBER, args)


def _constant(text: str) -> Callable[[Call, list[Value], Scope], Value]:
    return lambda node, args, scope: Atom(text, Kind.NUMBER, constant=True)


BUILTINS = [
    *(Builtin(name, 1, 1, _elementwise(sql, Kind.NUMBER), f"{name}(x)") for name, sql in _UNARY.items()),
    *(Builtin(name, 1, 1, _elementwise(sql, Kind.BOOLEAN), f"{name}(x)") for name, sql in _TESTS.items()),
    Builtin("log", 1, 2, _log, "log([base,] x)", "Logarithm to base 10, or to a base."),
    Builtin("pi", 0, 0, _constant("pi()"), "pi()"),
    Builtin("e", 0, 0, _constant("exp(1.0::DOUBLE)"), "e()"),
]

MACROS = """
m_round(x) := CASE WHEN x IS NULL OR NOT isfinite(x) THEN x ELSE sign(x) * floor(abs(x) + 0.5) END
m_ln(x) := CASE WHEN x > 0 THEN ln(x) WHEN x = 0 THEN '-inf'::DOUBLE WHEN x IS NULL THEN NULL ELSE 'nan'::DOUBLE END
m_log10(x) := CASE WHEN x > 0 THEN log10(x) WHEN x = 0 THEN '-inf'::DOUBLE WHEN x IS NULL THEN NULL
    ELSE 'nan'::DOUBLE END
m_sqrt(x) := CASE WHEN x >= 0 THEN sqrt(x) WHEN x IS NULL THEN NULL ELSE 'nan'::DOUBLE END
m_finite(x) := CASE WHEN isfinite(x) THEN x ELSE 0 END
m_unit(x) := CASE WHEN abs(x) <= 1 THEN x ELSE 0 END
m_trig(y, x) := CASE WHEN x IS NULL THEN NULL WHEN isfinite(x) THEN y ELSE 'nan'::DOUBLE END
m_within(y, x) := CASE WHEN x IS NULL THEN NULL WHEN abs(x) <= 1 THEN y ELSE 'nan'::DOUBLE END
m_acosh(x) := CASE WHEN x IS NULL THEN NULL WHEN x >= 1 THEN acosh(x) ELSE 'nan'::DOUBLE END
m_atanh(x) := CASE WHEN x IS NULL THEN NULL WHEN abs(x) < 1 THEN atanh(x) WHEN abs(x) = 1 THEN x * 'inf'::DOUBLE
    ELSE 'nan'::DOUBLE END
"""
