"""Writing the ``Wide`` layout: one table of typed columns, made at once and never changed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import duckdb

from server.storage.database import PATH_HASH, identifier, read_meta, write_meta
from server.storage.layouts import HASH, ROW, TIMESTAMP, Wide, WideColumn
from server.values.kinds import EXACT, KIND_OF_TAG, TAGS, Kind
from server.values.paths import format_path, refuse_nul

STAGE = "stage"  # the relation of a cursor that becomes a wide table: row names as text, timestamps, and the columns


def column_name(index: int) -> str:
    """SQL name of the ``index``-th column: DuckDB's names ignore case, MLDB's do not."""
    return f"c{index}"


def duck_type(column: WideColumn) -> str:
    """The DuckDB type of a stored column."""
    if column.shape is None:
        return column.kind.duck
    size = math.prod(column.shape)
    element = "FLOAT" if column.single else column.kind.duck
    return f"{element}[{size}]" if size > 0 else f"{element}[]"


def copy_wide(cursor: duckdb.DuckDBPyConnection, table: str, columns: Sequence[WideColumn]) -> Wide:
    """Make ``table`` of the rows of ``STAGE``, in their order, inside the caller's transaction.

    Columns of kind ANY whose values are all of one kind get that kind's type, and rows whose names are all
    canonical numbers become numbered.
    """
    numbered = _names_are_numbers(cursor)
    if not numbered:
        for (name,) in cursor.execute(f"SELECT {ROW} FROM {STAGE} WHERE contains({ROW}, chr(0)) LIMIT 1").fetchall():
            refuse_nul("row", name)
    kinds = _kinds_seen(cursor, [column for column in columns if column.shape is None])
    stored = [replace(column, kind=kinds.get(column.name, column.kind)) for column in columns]
    items = [
        f"CAST({ROW} AS {'BIGINT' if numbered else 'VARCHAR'}) AS {ROW}",
        f"CAST({TIMESTAMP} AS DOUBLE) AS {TIMESTAMP}",
        *([] if numbered else [f"{PATH_HASH}(CAST({ROW} AS VARCHAR)) AS {HASH}"]),
        *(
            f"CAST({_narrowed(staged, column.kind)} AS {duck_type(column)}) AS {identifier(column.name)}"
            for staged, column in zip(columns, stored, strict=True)
        ),
    ]
    cursor.execute(f"CREATE TABLE {identifier(table)} AS SELECT {', '.join(items)} FROM {STAGE}")
    ((rows,),) = cursor.execute(f"SELECT count(*) FROM {identifier(table)}").fetchall()
    wide = Wide(table, tuple(stored), numbered, rows, hashed=not numbered)
    write_wide(cursor, wide)
    return wide


def _names_are_numbers(cursor: duckdb.DuckDBPyConnection) -> bool:
    """Whether every row name reads back the same from a BIGINT."""
    found = cursor.execute(
        f"SELECT count(*) > 0 AND coalesce(bool_and(TRY_CAST({ROW} AS BIGINT)::VARCHAR = {ROW}), false)"
        f" AND count(TRY_CAST({ROW} AS BIGINT)) = count(*) FROM {STAGE}"
    ).fetchall()
    return bool(found[0][0])


def _kinds_seen(cursor: duckdb.DuckDBPyConnection, columns: Sequence[WideColumn]) -> dict[str, Kind]:
    """Better kinds for the columns of kind ANY, by name."""
    mixed = [column.name for column in columns if column.kind is Kind.ANY]
    kinds: dict[str, Kind] = {}
    for start in range(0, len(mixed), 500):
        names = mixed[start : start + 500]
        items = ", ".join(
            f"list_sort(list(DISTINCT union_tag({identifier(name)})::VARCHAR) FILTER ({identifier(name)} IS NOT NULL)),"
            f" bool_and({_is_small_integer(name)})"
            f" FILTER (union_tag({identifier(name)}) = 'n' AND {identifier(name)} IS NOT NULL)"
            for name in names
        )
        found = cursor.execute(f"SELECT {items} FROM {STAGE}").fetchall()[0]
        for index, name in enumerate(names):
            kinds[name] = _kind_of(found[2 * index], found[2 * index + 1])
    return kinds


def _is_small_integer(name: str) -> str:
    number = f"{identifier(name)}.n"
    return f"(isfinite({number}) AND abs({number}) <= {EXACT} AND floor({number}) = {number})"


def _kind_of(tags: list[str] | None, integral: bool | None) -> Kind:
    present = "".join(sorted(tags or (), key=TAGS.index))
    if not present:
        return Kind.NULL
    if integral and present in ("n", "ni"):
        return Kind.INTEGER
    return KIND_OF_TAG.get(present, Kind.ANY)


def _narrowed(column: WideColumn, kind: Kind) -> str:
    """The stored value out of the staged one."""
    name = identifier(column.name)
    if kind is column.kind or kind is Kind.NULL:
        return name
    if kind is Kind.INTEGER:
        return f"coalesce({name}.i, CAST({name}.n AS BIGINT))"
    tag = next(tag for tag, single in KIND_OF_TAG.items() if single is kind)
    return f"{name}.{tag}"


def repeated_names(cursor: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    """Names that several rows have, by first row."""
    found = cursor.execute(
        f"SELECT {ROW}::VARCHAR FROM (SELECT {ROW}, min(rowid) AS first_row FROM {identifier(table)}"
        f" GROUP BY {ROW} HAVING count(*) > 1) ORDER BY first_row"
    ).fetchall()
    return [name for (name,) in found]


# ── description ──────────────────────────────────────────────────────────────────────────────────────────────


def write_wide(cursor: duckdb.DuckDBPyConnection, wide: Wide) -> None:
    """Store the description of a wide table beside it; ``MldbError`` for columns that nobody could read."""
    for column in wide.columns:
        refuse_nul("column", format_path(column.path))
    columns = [_column_json(column) for column in wide.columns]
    stored = {"columns": columns, "numbered": wide.numbered, "rows": wide.rows, "hashed": wide.hashed}
    write_meta(cursor, wide.table, {"wide": stored})


def read_wide(cursor: duckdb.DuckDBPyConnection, table: str) -> Wide | None:
    """The layout of a stored wide table, None when it was never made."""
    meta = read_meta(cursor, table)
    if meta is None:
        return None
    wide = meta["wide"]
    hashed = wide.get("hashed", True)  # earlier data roots do not say so
    return Wide(table, tuple(map(_column_of, wide["columns"])), wide["numbered"], wide["rows"], hashed)


def _column_json(column: WideColumn) -> dict[str, Any]:
    stored: dict[str, Any] = {"path": column.path, "name": column.name, "kind": column.kind.value}
    if column.shape is not None:
        stored["shape"] = column.shape
    if column.names is not None:
        stored["names"] = column.names
    if column.sparse:
        stored["sparse"] = True
    if column.single:
        stored["single"] = True
    return stored


def _column_of(stored: dict[str, Any]) -> WideColumn:
    return WideColumn(
        tuple(stored["path"]),
        stored["name"],
        Kind(stored["kind"]),
        tuple(stored["shape"]) if "shape" in stored else None,
        tuple(map(tuple, stored["names"])) if "names" in stored else None,
        stored.get("sparse", False),
        stored.get("single", False),
    )
