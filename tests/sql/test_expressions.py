"""Expressions give what an evaluator in plain Python gives (``tests.sql.evaluator``), values and timestamps.

Each expression is computed over rows of mixed types at once, per row, and over a table of typed columns; where it
reads no column, as a constant too. A row in which it must fail makes the query fail.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.errors import MldbError
from server.sql.engine import Engine
from server.sql.formats import render
from tests.effort import EFFORT, cases
from tests.inprocess import in_process
from tests.sql import evaluator as ev
from tests.sql.evaluator import Expression, Instant, Name, Refused, Span, Timed, Unsaid, Value

pytestmark = pytest.mark.timeout(180 * max(1.0, EFFORT))  # many examples take their time
NUMBERS: list[Value] = [
    0, 1, -1, 2, 7, -5, 0.5, -2.25, 1e-7, 123456.789, 2**53 + 1, -(2**63), 2**63 - 1, 1e19, 1e300, math.inf, -math.inf,
    math.nan, 3, 255,
]  # fmt: skip
TEXTS: list[Value] = [
    "", "a", "abc", "A%b", "é", "日本", "😀", "1", " 1.5", "1e3", "true", "FALSE", "2015-01-03", "it's", "x.y", "0x10",
    "a_c", "nan", "Ab", "12abc", "Straße", "ΟΔΟΣ",
]  # fmt: skip
INSTANTS: list[Value] = [Instant(float(moment)) for moment in (0, 1, 86400, 1420243200.5, -1.5, 951782400)]
MIXED: list[Value] = [
    *NUMBERS[::3], *TEXTS[::3], *INSTANTS[::2], None, Span(1, 0, 0.0), Span(0, 2, 3.5, -1), Name(("a", "b")),
    Name(("x.y",)),
]  # fmt: skip
ROWS = 20
COLUMNS = ("n", "i", "s", "t", "m", "gone")


def rows() -> dict[str, dict[str, Timed]]:
    """The data: each cell has a timestamp of its own; every fifth cell is missing, every seventh null."""
    found: dict[str, dict[str, Timed]] = {}
    for number in range(ROWS):
        values = {
            "n": NUMBERS[number % len(NUMBERS)],
            "i": (number * 7) % 11 - 4,
            "s": TEXTS[(number * 3) % len(TEXTS)],
            "t": INSTANTS[number % len(INSTANTS)],
            "m": MIXED[(number * 5) % len(MIXED)],
        }
        cells: dict[str, Timed] = {}
        for place, (name, value) in enumerate(values.items()):
            if (number + place) % 5:
                cells[name] = (None if (number * 3 + place) % 7 == 0 else value, float(number * 10 + place))
        found[f"r{number:02d}"] = cells
    return found


def dated_by_row(cells: dict[str, Timed]) -> dict[str, Timed]:
    """The row as a table of fixed columns has it: all of them are there, with the newest timestamp."""
    newest = max(ts for _, ts in cells.values())
    return {name: (cells.get(name, (None, ev.NEVER))[0], newest) for name in COLUMNS[:-1]}


SPARSE = rows()
DENSE = {name: dated_by_row(cells) for name, cells in SPARSE.items()}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with in_process(tmp_path_factory.mktemp("server") / "data") as server:
        dense = {"type": "tabular", "params": {"unknownColumns": "add"}}
        for dataset, config in (("sparse", {"type": "sparse.mutable"}), ("dense", dense)):
            server.must("PUT", f"/v1/datasets/{dataset}", config)
            recorded = [
                [name, [[column, ev.as_json(value), ts] for column, (value, ts) in cells.items()]]
                for name, cells in SPARSE.items()
            ]
            server.must("POST", f"/v1/datasets/{dataset}/multirows", recorded)
            server.must("POST", f"/v1/datasets/{dataset}/commit")
        yield server.engine


# ── strategies ───────────────────────────────────────────────────────────────────────────────────────────────

_small = st.integers(-20, 20)
_number_literals = st.sampled_from([*NUMBERS[:12], math.inf, math.nan]).map(ev.literal) | _small.map(ev.literal)
_text_literals = st.sampled_from(TEXTS).map(ev.literal)
_names = st.sampled_from(COLUMNS).map(ev.column)
_leaves = st.one_of(
    _names,
    _names,
    _number_literals,
    _text_literals,
    st.sampled_from(INSTANTS).map(ev.literal),
    st.just(ev.literal(None)),
)
_number_leaves = st.one_of(st.sampled_from(("n", "i", "i")).map(ev.column), _number_literals)
_text_leaves = st.one_of(st.just(ev.column("s")), _text_literals)
_signs = st.sampled_from(("=", "!=", "<", "<=", ">", ">="))
_targets = st.sampled_from(("string", "integer", "number", "boolean", "timestamp", "path"))


_patterns = st.sampled_from(("a%", "%b%", "_", "A%b", "", "%")).map(ev.literal)


def _lists(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[list[Expression]]:
    return st.lists(inner, min_size=1, max_size=3)


def _numeric(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    return st.one_of(
        st.builds(ev.operation, st.sampled_from(("+", "-", "*", "/")), inner, inner),
        st.builds(ev.operation, st.sampled_from(("%", "&", "|")), st.just(ev.column("i")), _small.map(ev.literal)),
        st.builds(ev.negative, inner),
        st.builds(ev.call, st.sampled_from(("ceil", "floor", "round", "abs", "sqrt", "exp", "ln", "atan")), inner),
        st.builds(ev.call, st.sampled_from(("isnan", "isinf", "isfinite", "sign", "tanh")), inner),
        st.builds(ev.replaced, st.sampled_from(("replace_nan", "replace_inf", "replace_null")), inner, inner),
        st.builds(ev.across, st.sampled_from(("horizontal_sum", "horizontal_avg")), _lists(inner)),
    )


def _any(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    booleans = st.booleans()
    several = _lists(inner)
    whens = st.lists(st.tuples(inner, inner), min_size=1, max_size=2)
    return st.one_of(
        st.builds(ev.comparison, _signs, inner, inner),
        st.builds(ev.comparison, _signs, inner, inner),
        st.builds(ev.logic, st.sampled_from(("AND", "OR")), inner, inner),
        st.builds(ev.opposite, inner),
        st.builds(ev.between, inner, inner, inner, booleans),
        st.builds(ev.member, inner, several, booleans),
        st.builds(ev.kind_test, inner, st.sampled_from(ev.KINDS), booleans),
        st.builds(ev.case, st.none() | inner, whens, st.none() | inner),
        st.builds(ev.casting, inner, _targets),
        st.builds(ev.dated, inner, st.sampled_from((0.0, 35.0, 1e6))),
        st.builds(ev.moment_of, inner, st.sampled_from(("latest_timestamp", "earliest_timestamp"))),
        st.builds(lambda members, at: ev.element(members, at % len(members)), several, st.integers(0, 2)),
        st.builds(ev.across, st.sampled_from(("horizontal_count", "horizontal_min", "horizontal_max")), several),
        st.builds(ev.call, st.sampled_from(("implicit_cast",)), inner),
        st.builds(ev.replaced, st.sampled_from(("replace_null", "replace_not_finite")), inner, inner),
        st.builds(ev.operation, st.sampled_from(("+", "-", "*")), inner, inner),
    )


def _textual(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    return st.one_of(
        st.builds(ev.operation, st.just("+"), inner, inner),
        st.builds(ev.call, st.sampled_from(("lower", "upper")), inner),
        st.builds(ev.call, st.sampled_from(("remove_prefix", "remove_suffix")), inner, _text_literals),
        st.builds(ev.across, st.just("horizontal_string_agg"), _lists(inner)),
    )


def _of_text(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    return st.one_of(
        inner,
        st.builds(ev.matching, inner, _patterns, st.booleans()),
        st.builds(ev.call, st.just("length"), inner),
        st.builds(ev.casting, inner, st.sampled_from(("number", "integer", "boolean", "timestamp"))),
    )


numeric = st.recursive(_number_leaves, _numeric, max_leaves=6)
textual = _of_text(st.recursive(_text_leaves, _textual, max_leaves=4))
expressions = st.recursive(st.one_of(_leaves, numeric, textual), _any, max_leaves=6)


# ── comparing ────────────────────────────────────────────────────────────────────────────────────────────────


def outcome(expression: Expression, row: dict[str, Timed]) -> Timed | Refused | Unsaid:
    try:
        return expression.evaluate(row)
    except (Refused, Unsaid) as refused:
        return refused


def same(got: Any, wanted: Any) -> bool:
    if isinstance(got, dict) and isinstance(wanted, dict) and "num" in got and "num" in wanted:
        return bool(got["num"].removeprefix("-NaN") == wanted["num"] or {got["num"], wanted["num"]} <= {"NaN", "-NaN"})
    if isinstance(got, float) or isinstance(wanted, float):
        return (
            isinstance(got, int | float)
            and isinstance(wanted, int | float)
            and math.isclose(got, wanted, rel_tol=1e-12)
        )
    return bool(got == wanted)


def answers(engine: Engine, query: str) -> dict[str, tuple[Any, str]]:
    """Row name to the JSON value and the timestamp of ``out``."""
    found = {}
    for row in json.loads(render(engine.query(query, timestamps=True))):
        ((_, value, ts),) = row["columns"]
        found[row["rowName"]] = (value, ts)
    return found


def names_in(names: list[str]) -> str:
    return "rowName() IN (" + ", ".join(f"'{name}'" for name in names) + ")"


def check(engine: Engine, expression: Expression) -> None:
    for dataset, data in (("sparse", SPARSE), ("dense", DENSE)):
        wanted = {name: outcome(expression, row) for name, row in data.items()}
        good = {name: one for name, one in wanted.items() if isinstance(one, tuple)}
        bad = [name for name, one in wanted.items() if isinstance(one, Refused)]
        if good:
            got = answers(engine, f"SELECT {expression.text} AS out FROM {dataset} WHERE {names_in(list(good))}")
            for name, (value, ts) in good.items():
                assert same(got[name][0], ev.as_json(value)), (dataset, name, data[name], got[name], value)
                assert got[name][1] == ev.instant_text(ts), (dataset, name, data[name], got[name], ts)
        if bad and not expression.lazy:
            with pytest.raises(MldbError):
                answers(engine, f"SELECT {expression.text} AS out FROM {dataset} WHERE {names_in(bad[:1])}")


def constant(expression: Expression, engine: Engine) -> None:
    """An expression that reads no column, without FROM."""
    wanted = outcome(expression, {})
    if not isinstance(wanted, tuple):
        return
    got = answers(engine, f"SELECT {expression.text} AS out")["result"]
    assert same(got[0], ev.as_json(wanted[0])), (got, wanted)
    assert got[1] == ev.instant_text(wanted[1])


slow = settings(max_examples=cases(50), suppress_health_check=list(HealthCheck))


@slow
@given(expressions)
def test_expressions(engine: Engine, expression: Expression) -> None:
    check(engine, expression)


@slow
@given(numeric)
def test_numbers(engine: Engine, expression: Expression) -> None:
    check(engine, expression)


@slow
@given(textual)
def test_texts(engine: Engine, expression: Expression) -> None:
    check(engine, expression)


_constants = st.recursive(
    st.one_of(_number_literals, _text_literals, st.sampled_from(INSTANTS).map(ev.literal)), _any, max_leaves=5
)


@slow
@given(_constants)
def test_constants(engine: Engine, expression: Expression) -> None:
    constant(expression, engine)
