"""Brings in every module that binds a kind of node, and checks that no kind was forgotten."""

from __future__ import annotations

from typing import get_args

from server.sql.binder import (
    base,
    calls,
    cases,
    conditions,
    expressions,
    joins,
    rows,
    rowtables,
    select,
    sources,
    tables,
)
from server.sql.tree import Expression, Table

MODULES = (calls, cases, conditions, expressions, joins, rows, rowtables, select, sources, tables)


def check_complete() -> None:
    """``TypeError`` when a kind of expression or table of the syntax tree has no binder."""
    missing = [kind.__name__ for kind in (*get_args(Expression), *get_args(Table)) if not base.is_bound(kind)]
    if missing:
        raise TypeError(f"nothing binds {', '.join(missing)}")
