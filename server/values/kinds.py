"""What kinds of atom there are, and how DuckDB holds each.

A value whose kind is known while a query is bound is held in the native type of its kind. Otherwise it is an
``ANY``: a DuckDB UNION whose tags stand in MLDB's order of types, so that equality, grouping and joins are the
engine's own. A number goes to tag ``n`` whenever a double holds it exactly (so that 1 and 1.0 are equal, as MLDB
wants), else to ``i`` or ``u``.
"""

from __future__ import annotations

from enum import Enum

INTERVAL_TYPE = "STRUCT(months INTEGER, days INTEGER, seconds DOUBLE)"
ANY_TYPE = f"UNION(n DOUBLE, i BIGINT, u UBIGINT, s VARCHAR, t DOUBLE, v {INTERVAL_TYPE}, b BLOB, p VARCHAR)"
CELL_TYPE = f"STRUCT(p VARCHAR, v {ANY_TYPE}, t DOUBLE)"


class Kind(Enum):
    """The kind of an atom. ``value`` is how descriptions that are stored name it."""

    NULL = "null"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    UNSIGNED = "unsigned"
    NUMBER = "number"
    STRING = "string"
    TIMESTAMP = "timestamp"
    INTERVAL = "interval"
    BLOB = "blob"
    PATH = "path"
    ANY = "any"

    @property
    def duck(self) -> str:
        """The DuckDB type that holds an atom of this kind (timestamps: seconds since 1970; paths: their text)."""
        return _DUCK[self]

    @property
    def numeric(self) -> bool:
        return self in _NUMERIC


_DUCK = {
    Kind.NULL: ANY_TYPE,
    Kind.BOOLEAN: "BOOLEAN",
    Kind.INTEGER: "BIGINT",
    Kind.UNSIGNED: "UBIGINT",
    Kind.NUMBER: "DOUBLE",
    Kind.STRING: "VARCHAR",
    Kind.TIMESTAMP: "DOUBLE",
    Kind.INTERVAL: INTERVAL_TYPE,
    Kind.BLOB: "BLOB",
    Kind.PATH: "VARCHAR",
    Kind.ANY: ANY_TYPE,
}
_NUMERIC = {Kind.BOOLEAN, Kind.INTEGER, Kind.UNSIGNED, Kind.NUMBER}

# Tags of ANY, in the order of the union's members.
TAGS = "niustvbp"
KIND_OF_TAG = {
    "n": Kind.NUMBER,
    "i": Kind.INTEGER,
    "u": Kind.UNSIGNED,
    "s": Kind.STRING,
    "t": Kind.TIMESTAMP,
    "v": Kind.INTERVAL,
    "b": Kind.BLOB,
    "p": Kind.PATH,
}
EXACT = 2**53  # integers up to here, of either sign, are doubles too
