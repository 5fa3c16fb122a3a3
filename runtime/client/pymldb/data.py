"""``BatFrame`` and ``Column``: a dataset by its address, in the manner of pandas; queries run when values are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .frames import to_pandas
from .index import Index, row_condition
from .query import Query, fetch

_SHOWN_ROWS = 40


def quoted(name: str) -> str:
    """A column's name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


class BatFrame:
    """A dataset. ``dataset_url`` is as ``http://localhost:8080/v1/datasets/iris``."""

    def __init__(self, dataset_url: str) -> None:
        self.dataset_url = dataset_url
        self.query = Query(dataset_url)

    def __getitem__(self, val: Any) -> Any:
        """A column by name; rows by slice, by condition or by a column of truth; several columns by list."""
        if isinstance(val, str):
            column = Column(val, self.dataset_url)
            column.query.mergeQuery(self.query)
            return column
        frame = self.copy()
        if isinstance(val, Query):
            frame.query.mergeQuery(val, "AND")
        elif isinstance(val, slice):
            _slice(frame.query, val)
        elif isinstance(val, list):
            for name in val:
                frame.query.addSELECT(quoted(name))
        elif isinstance(val, Column):
            frame.query.addWHERE(f"({val.execution_name})", "AND")
        else:
            raise TypeError(f"a frame is indexed by names, conditions and slices, not by {val!r}")
        return frame

    @property
    def columns(self) -> list[str]:
        names: list[str] = fetch(f"{self.dataset_url}/columns")
        return names

    @property
    def rows(self) -> list[str]:
        """The names of the rows."""
        return [row[0] for row in self.query.executeQuery("table")[1:]]

    @property
    def ix(self) -> Index:
        return Index(self.copy())

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of values."""
        status = fetch(self.dataset_url)["status"]
        return status["rowCount"], status.get("valueCount") or status["rowCount"] * status["columnCount"]

    def copy(self) -> BatFrame:
        frame = BatFrame(self.dataset_url)
        frame.query = self.query.copy()
        return frame

    def toPandas(self) -> Any:  # noqa: N802
        return to_pandas(self.query.executeQuery("table"))

    def head(self, num_rows: int = 5) -> BatFrame:
        frame = self.copy()
        frame.query.setLIMIT(num_rows)
        return frame

    def sort(self, value: Any, ascending: Any = True) -> BatFrame:
        """By a column or several; ``ascending`` is one truth value, or one per column."""
        names = value if isinstance(value, list) else [value]
        directions = ascending if isinstance(ascending, list) else [ascending] * len(names)
        if len(names) != len(directions):
            raise RuntimeError("ascending has another length than the list of columns")
        frame = self.copy()
        for name, up in zip(names, directions, strict=True):
            frame.query.addORDERBY(f"{quoted(name)} {'ASC' if up else 'DESC'}")
        return frame

    def __repr__(self) -> str:
        return repr(self.head(_SHOWN_ROWS).toPandas())


Arithmetic = Callable[["Column", Any], "Column"]


def _arithmetic_of(form: str) -> tuple[Arithmetic, Arithmetic]:
    """The methods of an operator: with the column at the left, and at the right."""

    def at_left(column: Column, other: Any) -> Column:
        return column._arithmetic(form, other)

    def at_right(column: Column, other: Any) -> Column:
        return column._arithmetic(form, other, reverse=True)

    return at_left, at_right


def _condition_of(operator: str) -> Callable[[Column, Any], Query]:
    return lambda column, other: column._condition(operator, other)


class Column:
    """A column, or an expression over columns. Comparisons give conditions: ``frame[frame["x"] > 1]``."""

    def __init__(self, name: str, dataset_url: str) -> None:
        self.name = quoted(name)
        self.execution_name = self.name
        self.dataset_url = dataset_url
        self.query = Query(dataset_url)
        self.query.addSELECT(self.name)

    def copy(self) -> Column:
        column = Column("", self.dataset_url)
        column.name, column.execution_name = self.name, self.execution_name
        column.query = self.query.copy()
        return column

    def __getitem__(self, val: Any) -> Column:
        column = self.copy()
        if isinstance(val, slice):
            _slice(column.query, val)
        elif isinstance(val, Query):
            column.query.mergeQuery(val, "AND")
        else:
            column.query.addWHERE(row_condition([val]), "AND")
        return column

    # ── expressions ──

    def _expression(self, text: str) -> Column:
        column = self.copy()
        column.query.removeSELECT(self.execution_name)
        column.execution_name = text
        column.query.addSELECT(text)
        return column

    def _arithmetic(self, form: str, other: Any, *, reverse: bool = False) -> Column:
        if not isinstance(other, int | float | Column):
            raise AttributeError("columns are combined with numbers and columns only")
        left, right = (_term(other), _term(self)) if reverse else (_term(self), _term(other))
        return self._expression(form.format(left, right))

    def _condition(self, operator: str, other: Any) -> Query:
        query = self.query.copy()
        query.removeSELECT(self.execution_name)
        query.addWHERE(f"(({self.execution_name}){operator}{_term(other)})", "AND")
        return query

    def _logic(self, operator: str, other: Any) -> Query:
        query = self.query.copy()
        query.removeSELECT(self.execution_name)
        right = other.WHERE if isinstance(other, Query) else _term(other)
        query.addWHERE(f"(({self.execution_name}) {operator} ({right}))", "AND")
        return query

    __add__, __radd__ = _arithmetic_of("({}+{})")
    __sub__, __rsub__ = _arithmetic_of("({}-{})")
    __mul__, __rmul__ = _arithmetic_of("({}*{})")
    __mod__, __rmod__ = _arithmetic_of("({}%{})")
    __pow__, __rpow__ = _arithmetic_of("pow({},{})")

    def __truediv__(self, other: Any) -> Column:
        if isinstance(other, int | float) and other == 0:
            raise ValueError("a column cannot be divided by zero")
        return self._arithmetic("({}/{})", other)

    def __rtruediv__(self, other: Any) -> Column:
        return self._arithmetic("({}/{})", other, reverse=True)

    def __neg__(self) -> Column:
        return self._expression(f"-({self.execution_name})")

    def __pos__(self) -> Column:
        return self.copy()

    def __abs__(self) -> Column:
        return self._expression(f"abs({self.execution_name})")

    def __invert__(self) -> Column:
        return self._expression(f"NOT ({self.execution_name})")

    __eq__ = _condition_of("=")  # type: ignore[assignment]
    __ne__ = _condition_of("!=")  # type: ignore[assignment]
    __gt__, __ge__ = _condition_of(">"), _condition_of(">=")
    __lt__, __le__ = _condition_of("<"), _condition_of("<=")

    def __and__(self, other: Any) -> Query:
        return self._logic("AND", other)

    def __or__(self, other: Any) -> Query:
        return self._logic("OR", other)

    __rand__, __ror__ = __and__, __or__
    __hash__ = None  # type: ignore[assignment]  # == gives a condition

    def isnull(self) -> Column:
        return self._expression(f"({self.execution_name}) IS NULL")

    def isin(self, values: Any) -> Query:
        listed = ", ".join(_term(value) for value in values)
        return self._condition(" IN ", _Raw(f"({listed})"))

    # ── values ──

    @property
    def values(self) -> Any:
        """The values as a numpy array, in the order of the query."""
        import numpy as np

        return np.array([value for _, value in self._pairs()])

    def __iter__(self) -> Iterator[Any]:
        return (value for _, value in self._pairs())

    def toPandas(self) -> Any:  # noqa: N802
        """A Series by row name."""
        import pandas as pd

        pairs = self._pairs()
        return pd.Series(
            [value for _, value in pairs], index=[name for name, _ in pairs], dtype=None if pairs else float
        )

    def head(self, n: int = 5) -> Any:
        column = self.copy()
        column.query.setLIMIT(n)
        return column.toPandas()

    def max(self) -> Any:
        return self._aggregate("max")

    def min(self) -> Any:
        return self._aggregate("min")

    def count(self) -> int:
        """Number of values that are not null."""
        return int(self._aggregate("count"))

    def unique(self) -> Any:
        """The distinct values."""
        return set(self)

    def value_counts(self) -> Any:
        """How often each value occurs, as a Series, the most frequent first."""
        import pandas as pd

        return pd.Series([value for _, value in self._pairs()]).value_counts()

    def sort(self, ascending: bool = True) -> Column:
        column = self.copy()
        column.query.addORDERBY(f"{self.execution_name} {'ASC' if ascending else 'DESC'}")
        return column

    def _aggregate(self, function: str) -> Any:
        column = self._expression(f"{function}({self.execution_name})")
        column.query.addGROUPBY(1)
        return column.query.executeQuery("table")[1][1]

    def _pairs(self) -> list[tuple[str, Any]]:
        """Row name and value of every row."""
        header, *rows = self.query.executeQuery("table") or [[]]
        if len(header) > 2:
            raise RuntimeError("this is more than one column")
        return [(row[0], row[1] if len(row) > 1 else None) for row in rows]

    def __repr__(self) -> str:
        return repr(self.head(_SHOWN_ROWS))


class _Raw(str):
    """SQL text that stands for itself."""


def _term(value: Any) -> str:
    if isinstance(value, Column):
        return f"({value.execution_name})"
    if isinstance(value, str) and not isinstance(value, _Raw):
        return "'" + value.replace("'", "''") + "'"
    return str(value)


def _slice(query: Query, rows: slice) -> None:
    """``[start:stop]`` skips ``start`` rows and gives ``stop`` of them, as it did in 0.8.1."""
    if rows.start is not None:
        query.setOFFSET(rows.start)
    if rows.stop is not None:
        query.setLIMIT(rows.stop)
