"""CASE: a value where one of several conditions holds (sql-dialect.md §7)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from server.sql import coerce, comparison
from server.sql.binder.base import bind, binds
from server.sql.bound import (
    Atom,
    MultiValue,
    Open,
    Row,
    RowBuilder,
    Value,
    if_one_may_be_null,
    impossible,
    is_constant,
    possible,
    presence,
    spelled,
)
from server.sql.scope import OverlayScope, Scope
from server.sql.tree import Case, Expression
from server.values.kinds import CELL_TYPE, Kind


@binds(Case)
def _case(node: Case, scope: Scope) -> Value:
    conditions = [_condition(node, when, scope) for when, _ in node.whens]
    guards = _guards(conditions)
    results = [bind(then, _Branch(scope, guard)) for (_, then), guard in zip(node.whens, guards, strict=False)]
    default = _case_default(node, results, _Branch(scope, guards[-1]))
    branches = [*results, default]
    tests = [*([node.subject] if node.subject is not None else []), *(when for when, _ in node.whens)]
    constant = all(map(is_constant, branches)) and all(is_constant(bind(test, scope)) for test in tests)
    if all(isinstance(branch, Atom | MultiValue) for branch in branches):
        return _case_atoms(conditions, [coerce.atom(branch) for branch in branches], constant)
    rows = [spelled(branch) for branch in branches if isinstance(branch, Row)]
    if len(rows) == len(branches) and not any(row.rests for row in rows):
        return _case_rows(conditions, rows)
    cells = [coerce.to_cells(branch) for branch in branches]
    return Open(scope.stage(_case_sql(conditions, [f"CAST({text} AS {CELL_TYPE}[])" for text in cells])))


class _Branch(OverlayScope):
    """The scope of a branch of CASE: what is computed once per row is so only for the rows that take the branch."""

    def __init__(self, outer: Scope, guard: str) -> None:
        super().__init__(Row(), outer)
        self.guard = guard

    def atoms_only(self) -> bool:
        return self.outer.atoms_only()

    def stage(self, sql: str) -> str:
        return self.outer.stage(f"CASE WHEN {self.guard} THEN {sql} END")


def _guards(conditions: list[str]) -> list[str]:
    """Which rows take each branch, the default's last."""
    before: list[str] = []
    guards: list[str] = []
    for condition in conditions:
        guards.append(" AND ".join([*before, f"coalesce({condition}, FALSE)"]))
        before.append(f"NOT coalesce({condition}, FALSE)")
    return [*guards, " AND ".join(before) or "TRUE"]


def _condition(node: Case, when: Expression, scope: Scope) -> str:
    if node.subject is None:
        return coerce.truth(bind(when, scope))
    return comparison.compare("=", bind(node.subject, scope), bind(when, scope)).sql


def _case_default(node: Case, results: list[Value], scope: Scope) -> Value:
    if node.default is not None:
        return bind(node.default, scope)
    if node.subject is not None and results and isinstance(results[0], Row):
        return Row()
    return Atom("NULL", Kind.NULL, constant=True)


def _case_sql(conditions: list[str], results: list[str]) -> str:
    if not conditions:
        return results[-1]
    whens = " ".join(f"WHEN {c} THEN {r}" for c, r in zip(conditions, results[:-1], strict=True))
    return f"(CASE {whens} ELSE {results[-1]} END)"


def _case_atoms(conditions: list[str], branches: list[Atom], constant: bool) -> Atom:
    kind = coerce.unify(branches)
    sql = _case_sql(conditions, [coerce.as_kind(branch, kind) for branch in branches])

    def ts() -> str:
        times = [branch.ts() for branch in branches]
        return times[0] if len(set(times)) == 1 else _case_sql(conditions, times)

    return Atom(sql, kind, ts, constant, may_be_null=if_one_may_be_null(branches))


def _case_rows(conditions: list[str], branches: list[Row]) -> Row:
    builder = RowBuilder()
    for path in dict.fromkeys(path for branch in branches for path in branch.columns):
        leaves: list[Any] = [branch.columns.get(path) for branch in branches]
        atoms = [Atom("NULL", Kind.NULL) if leaf is None else coerce.atom(leaf) for leaf in leaves]
        merged = _case_atoms(conditions, atoms, False)
        there = ["FALSE" if leaf is None else presence(leaf) or "TRUE" for leaf in leaves]
        if set(there) != {"TRUE"}:
            nullable = any(not isinstance(leaf, Atom) or leaf.nullable() for leaf in leaves if leaf is not None)
            merged = replace(merged, may_be_null=possible if nullable else impossible)
            merged = merged.only(_case_sql(conditions, there))
        builder.add(path, merged)
    return builder.build()
