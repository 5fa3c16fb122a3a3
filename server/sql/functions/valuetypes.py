"""Values and what is known of them (sql-dialect.md §8.2): implicit_cast, hash, extract_column, static_…."""

from __future__ import annotations

from itertools import groupby

from server.errors import MldbError
from server.sql import coerce
from server.sql.binder.base import bind
from server.sql.binder.elementwise import map_atoms
from server.sql.bound import Atom, Embedding, Leaf, MultiValue, Open, Row, RowBuilder, Value, is_constant, latest_ts
from server.sql.duck import literal
from server.sql.functions.core import parse_number
from server.sql.functions.registry import Builtin, fixed_atom, result, routine
from server.sql.relations import lookup, require_row
from server.sql.routines import CELLS, Routine
from server.sql.scope import Scope
from server.sql.tasks import TASK_SQL
from server.sql.tree import Call, Case, Expression
from server.values.atoms import Atom as PlainAtom
from server.values.atoms import PathValue
from server.values.batches import Cell
from server.values.highwayhash import hash_atoms, hash_row
from server.values.info import TYPE_NAMES
from server.values.kinds import Kind
from server.values.paths import Path, natural_key


def _implicit_cast(node: Call, args: list[Value], scope: Scope) -> Value:
    def change(atom: Atom) -> Atom:
        if atom.kind not in (Kind.STRING, Kind.ANY):
            return atom
        return Atom(f"u_implicit_cast({coerce.to_any(atom)})", Kind.ANY, atom.ts, atom.constant)

    return map_atoms(args[0], change)


def implicit_cast(value: PlainAtom) -> PlainAtom:
    """Text that spells a number as that number, the empty text as null; all else as it is."""
    if not isinstance(value, str):
        return value
    if not value:
        return None
    number = parse_number(value)
    return value if number is None else number


def _hash(node: Call, args: list[Value], scope: Scope) -> Value:
    value = args[0]
    if isinstance(value, Atom | MultiValue):
        return result(f"u_hash({coerce.to_any(value)})", Kind.UNSIGNED, args)
    return result(f"s_hash_cells({TASK_SQL}, {coerce.to_cells(value)})", Kind.UNSIGNED, args)


def hash_cells(cells: list[Cell]) -> int | None:
    """The hash of a row: of its top-level columns in natural order, each with the hash of its value (§3.4)."""
    if not cells:
        return hash_row([])
    if not cells[0].path:
        return hash_atoms([cells[0].value])[0]
    ordered = sorted(cells, key=lambda cell: natural_key(cell.path[:1]))
    columns: list[tuple[Path, int]] = []
    for first, below in groupby(ordered, key=lambda cell: cell.path[:1]):
        inner = hash_cells([Cell(cell.path[1:], cell.value, cell.timestamp) for cell in below])
        columns.append((first, inner or 0))
    return hash_row(columns)


def _extract_column(node: Call, args: list[Value], scope: Scope) -> Value:
    name, row = args[0], require_row(args[1], "extract_column needs a row as its second argument")
    known, text = fixed_atom(name, scope)
    if known and text is None:
        return Atom("NULL", Kind.NULL, latest_ts(args), is_constant(row))
    if known:
        found = lookup(row, text.path if isinstance(text, PathValue) else (str(text),))
        return Atom("NULL", Kind.NULL, constant=is_constant(row)) if found is None else _latest(found, scope)
    return _latest(Open(f"m_under({coerce.to_cells(row)}, {coerce.to_path(name)})"), scope)


def _latest(value: Value, scope: Scope) -> Value:
    """Of a cell with several values the latest; a column that its row lacks is null."""
    match value:
        case MultiValue() | Atom():
            return coerce.atom(value)
        case Open(sql, constant):
            return Open(scope.stage(f"m_latest_cells({sql})"), constant, named=True)
    return value


# ── what is known while a query is bound ─────────────────────────────────────────────────────────────────────

_SCALARS = {
    Kind.BOOLEAN: "i64", Kind.INTEGER: "i64", Kind.UNSIGNED: "u64", Kind.NUMBER: "double", Kind.STRING: "string",
    Kind.TIMESTAMP: "timestamp", Kind.INTERVAL: "interval", Kind.BLOB: "blob", Kind.PATH: "path", Kind.NULL: "empty",
}  # fmt: skip
_VARIANT = "MLDB::VariantExpressionValueInfo"

Description = dict[str, PlainAtom]


def _type_of(value: Value) -> Description:
    """The type of a value, by the names that upstream has for it."""
    constant = {"isConstant": int(is_constant(value))}
    match value:
        case Atom(kind=kind) | MultiValue(kind=kind) if kind in _SCALARS:
            return {**constant, "kind": "scalar", "scalar": _SCALARS[kind], "type": TYPE_NAMES[kind]}
        case Atom() | MultiValue():
            return {**constant, "kind": "scalar", "scalar": "any", "type": "MLDB::AtomValueInfo"}
        case Embedding():
            return {**constant, "kind": "embedding", "type": "MLDB::EmbeddingValueInfo"}
        case Row():
            return {**constant, "kind": "row", "type": "MLDB::RowValueInfo"}
    return {**constant, "kind": "any", "type": "MLDB::AnyValueInfo"}


def _branches(expression: Expression, scope: Scope) -> list[Value]:
    """The values an expression may have: one, or of CASE one for each branch that is written."""
    if not isinstance(expression, Case):
        return [bind(expression, scope)]
    results = [then for _, then in expression.whens]
    if expression.default is not None:
        results.append(expression.default)
    return [bind(one, scope) for one in results]


def _merged_type(values: list[Value | Leaf], written: int) -> Description:
    """The type of one of several values, ``written`` of which there are in all."""
    if len(values) == 1 and written >= 1:
        return _type_of(values[0])
    atoms = [coerce.atom(value) for value in values if isinstance(value, Atom | MultiValue)]
    if len(atoms) < len(values):
        return {"isConstant": 0, "type": _VARIANT}
    return {**_type_of(Atom("", coerce.unify(atoms))), "isConstant": 0}


def _static_type(node: Call, args: list[Value], scope: Scope) -> Value:
    values = _branches(node.args[0], scope)
    return _row(_merged_type(list(values), len(values)))


def _static_known_columns(node: Call, args: list[Value], scope: Scope) -> Value:
    values = _branches(node.args[0], scope)
    builder = RowBuilder()
    for index, (path, leaves) in enumerate(_columns(values).items()):
        info = _merged_type(leaves, len(values))
        if len(leaves) > 1:
            info["type"] = _VARIANT
        column: Description = {"columnName": path[0], "sparsity": "dense" if len(leaves) == len(values) else "sparse"}
        builder.add((str(index),), _row(column))
        builder.add((str(index), "valueInfo"), _row(info))
    return builder.build()


def _columns(values: list[Value]) -> dict[Path, list[Value | Leaf]]:
    """Top-level columns of the rows among some values, in the order in which they are met."""
    found: dict[Path, list[Value | Leaf]] = {}
    for value in values:
        if not isinstance(value, Row):
            continue
        for name in dict.fromkeys(path[:1] for path in value.columns):
            inner = lookup(value, name)
            if inner is not None:
                found.setdefault(name, []).append(inner)
    return found


def _static_expression_info(node: Call, args: list[Value], scope: Scope) -> Value:
    builder = RowBuilder()
    builder.add(("valueInfo",), _static_type(node, args, scope))
    known = _static_known_columns(node, args, scope)
    if isinstance(known, Row) and known.columns:
        builder.add(("knownColumns",), known)
    return builder.build()


def _row(description: Description) -> Row:
    columns: dict[Path, Leaf] = {}
    for name, value in description.items():
        sql, kind = literal(value)
        columns[(name,)] = Atom(sql, kind, constant=True)
    return Row(columns, constant=True)


def _read_sensor(node: Call, args: list[Value], scope: Scope) -> Value:
    raise MldbError("this server has no sensors to read")


ROUTINES = [
    routine("implicit_cast", (Kind.ANY,), Kind.ANY, implicit_cast),
    Routine("u_hash", (Kind.ANY,), Kind.UNSIGNED, hash_atoms, whole=True),
    routine("hash_cells", (CELLS,), Kind.UNSIGNED, hash_cells, slow=True),
]

BUILTINS = [
    Builtin(
        "implicit_cast(x: any) → the form of x",
        "Text that spells a number as that number, empty text as NULL.",
        ("implicit_cast('1.5')", "1.5"),
        bind=_implicit_cast,
    ),
    Builtin(
        "hash(x: any) → integer",
        "A hash of a value: HighwayHash-64.",
        ("hash('1')", "10592438303399217743"),
        bind=_hash,
    ),
    Builtin(
        "extract_column(name: text | path, row: row) → any",
        "The column of a row with a name.",
        ("extract_column('a', {a: 5})", "5"),
        bind=_extract_column,
    ),
    Builtin(
        "static_type(x: any) → row",
        "What is known of a value's type before any row is read.",
        ("static_type(1)[type]", '"MLDB::IntegerValueInfo"'),
        bind=_static_type,
        lazy=True,
        null=("the type of NULL", ("static_type(NULL)[scalar]", '"empty"')),
    ),
    Builtin(
        "static_known_columns(row: row) → row",
        "The columns that are known before any row is read.",
        ('static_known_columns({a: 1})["0".columnName]', '"a"'),
        bind=_static_known_columns,
        lazy=True,
        null=("no columns", ("static_known_columns(NULL)", "{}")),
    ),
    Builtin(
        "static_expression_info(x: any) → row",
        "What is known of a value before any row is read.",
        ("static_expression_info(1)[valueInfo.scalar]", '"i64"'),
        bind=_static_expression_info,
        lazy=True,
        null=("what is known of NULL", ("static_expression_info(NULL)[valueInfo.scalar]", '"empty"')),
    ),
    Builtin(
        "read_sensor(name: text) → number", "Refused: the server has no sensors.", bind=_read_sensor, null=("", None)
    ),
]
