"""Shapes of embeddings: flattened, changed, joined, cut, made anew (sql-dialect.md §8.7)."""

from __future__ import annotations

import math
import re
from dataclasses import replace

from server.errors import MldbError
from server.sql import coerce
from server.sql.bound import Atom, Embedding, Open, Row, Value, as_any_list, is_constant, is_null, is_open, latest_ts
from server.sql.functions.core import natural_cells
from server.sql.functions.registry import Builtin, executing, fixed_atom, fixed_row, integer_argument, routine
from server.sql.functions.vectorarguments import atoms_of, null_of, vector_argument
from server.sql.routines import ANYS, CELLS, NUMBERS, Routine
from server.sql.scope import Scope
from server.sql.tasks import TASK_SQL
from server.sql.tree import Call
from server.values.atoms import Atom as PlainAtom
from server.values.atoms import Timestamp, collapse
from server.values.batches import Cell
from server.values.kinds import Kind
from server.values.paths import Path, element_paths, format_path

LARGEST = 1 << 24  # elements of an embedding that SQL makes: 128 MiB of numbers
_INDEX = re.compile(r"0|[1-9][0-9]{0,11}", re.ASCII)
_TOO_LARGE = f"an embedding has at most {LARGEST} elements"


def _flatten(node: Call, args: list[Value], scope: Scope) -> Value:
    value, ts = vector_argument(args[0]), latest_ts(args)
    match value:
        case Embedding():
            shape = None if value.shape is None else (math.prod(value.shape),)
            return Embedding(value.sql, value.kind, shape, value.ts, constant=value.constant)
        case Row(rests=()):
            atoms = list(atoms_of(value).values())
            sql, kind = coerce.list_of(atoms)
            return Embedding(sql, kind, (len(atoms),), ts, constant=value.constant)
        case Row() | Open():
            cells = f"u_natural_cells({coerce.to_cells(value)})"
            return Embedding(scope.stage(f"list_transform({cells}, lambda c: c.v)"), Kind.ANY, None, ts)
    if is_null(value):
        return null_of(args)
    raise MldbError("flatten requires a row or an embedding as argument")


def _indexed(value: Value, scope: Scope) -> Value:
    """A row whose columns are numbered, in any number of dimensions, as the embedding that it spells."""
    match vector_argument(value):
        case Row(rests=()) as row:
            atoms = atoms_of(row)
            sql, kind = coerce.list_of(list(atoms.values()))
            return Embedding(f"CAST({sql} AS {kind.duck}[])", kind, grid(list(atoms)), constant=row.constant)
        case Row() | Open() as row:
            cells = f"u_indexed({coerce.to_cells(row)})"
            return Embedding(scope.stage(f"list_transform({cells}, lambda c: c.v)"), Kind.ANY)
    return value


def grid(paths: list[Path]) -> tuple[int, ...]:
    """The shape of the embedding whose elements have these paths, which are in natural order."""
    if not paths:
        return (0,)
    strange = next((path for path in paths if not all(map(_INDEX.fullmatch, path))), None)
    if strange is not None:
        raise MldbError(f"a row that is to be an embedding has the columns 0, 1, …, not '{format_path(strange)}'")
    shape = tuple(1 + max(map(int, indices)) for indices in zip(*paths, strict=False))
    if {len(path) for path in paths} != {len(shape)} or math.prod(shape) != len(paths):
        raise MldbError(f"a row that is to be an embedding has all columns up to '{format_path(paths[-1])}'")
    return shape


def indexed(cells: list[Cell]) -> list[Cell]:
    """The cells of a row that spells an embedding, in the order of its elements."""
    elements = natural_cells(cells)
    grid([cell.path for cell in elements])
    return elements


def indexed_shape(cells: list[Cell]) -> list[float]:
    return [float(size) for size in grid([cell.path for cell in natural_cells(cells)])]


def _shape(node: Call, args: list[Value], scope: Scope) -> Value:
    value = vector_argument(args[0])
    if is_open(value):
        sizes = scope.stage(f"u_indexed_shape({coerce.to_cells(value)})")
        return Embedding(sizes, Kind.NUMBER, None, latest_ts(args))
    value = _indexed(value, scope)
    if not isinstance(value, Embedding):
        raise MldbError("shape requires an array as first argument")
    if value.shape is None:
        return Embedding(f"[len({value.sql})]", Kind.INTEGER, (1,), value.ts, constant=value.constant)
    sizes = ", ".join(f"{size}::BIGINT" for size in value.shape)
    return Embedding(f"[{sizes}]", Kind.INTEGER, (len(value.shape),), value.ts, constant=True)


def _reshape(node: Call, args: list[Value], scope: Scope) -> Value:
    fill = coerce.atom(args[2]) if len(args) == 3 else None
    value = _reshapable(_indexed(args[0], scope), fill)
    kind = value.kind if fill is None else coerce.unify([value, fill])
    items = replace(value, sql=coerce.list_as(value, kind), kind=kind)
    new = None if fill is None else coerce.as_kind(fill, kind)
    sizes = fixed_row(args[1], scope)
    if sizes is None:
        added = "CAST(NULL AS any_value_t)" if new is None else coerce.to_any(Atom(new, kind))
        given = f"{as_any_list(items)}, {coerce.as_double_list(args[1])}, {str(new is not None).upper()}, {added}"
        return Open(scope.stage(f"s_reshape({TASK_SQL}, {given}, {value.ts()})"))
    shape = tuple(_size(cell.value) for cell in sizes)
    sql = _resized(items, _checked(math.prod(shape)), new)
    return Embedding(sql, kind, shape, latest_ts(args), constant=all(map(is_constant, args)))


def _reshapable(value: Value, fill: Atom | None) -> Embedding:
    """The first argument of reshape; NULL is an embedding of no elements where there is something to fill it with."""
    if is_null(value):
        if fill is None:
            raise MldbError("Null embedding needs third argument to reshape()")
        return Embedding(f"CAST([] AS {fill.kind.duck}[])", fill.kind, (0,), value.ts)
    if not isinstance(value, Embedding):
        raise MldbError("reshape requires an embedding as first argument")
    return value


def _resized(items: Embedding, count: int, new: str | None) -> str:
    """So many elements, cut off or filled up where there is a new one to do so with."""
    if new is not None:
        return f"list_resize({items.sql}, {count}, {new})"
    if items.shape is None:
        return f"m_of_length({items.sql}, {count})"
    if math.prod(items.shape) != count:
        raise _other_size(math.prod(items.shape), count)
    return items.sql


def _other_size(now: int, then: int) -> MldbError:
    text = f"Original size is [{now}] target size is [{then}]"
    return MldbError(f"Attempt to change embedding size by reshaping.  {text}")


def _checked(count: int) -> int:
    if count > LARGEST:
        raise MldbError(f"{_TOO_LARGE}, not {count}")
    return count


def _size(value: PlainAtom) -> int:
    if not isinstance(value, int) or value < 0:
        raise MldbError("reshape needs a shape of integers that are not negative")
    return value


def reshape(
    items: list[PlainAtom], shape: list[float | None], filled: int, fill: PlainAtom, when: Timestamp
) -> list[Cell] | None:
    """The cells of an embedding whose new shape only the data tell."""
    if items is None or shape is None:
        return None
    sizes = [_size(size if size is None else collapse(size)) for size in shape]
    count = _checked(math.prod(sizes))
    if not filled and count != len(items):
        raise _other_size(len(items), count)
    values = (items + [fill] * (count - len(items)))[:count]
    return [Cell(path, value, when.seconds) for path, value in zip(element_paths(sizes), values, strict=True)]


def _concat(node: Call, args: list[Value], scope: Scope) -> Value:
    parts = [value for value in args if not is_null(value)]
    embeddings = [value for value in parts if isinstance(value, Embedding)]
    if len(embeddings) < len(parts):
        raise MldbError("concat requires embeddings")
    if not embeddings:
        return null_of(args)
    shapes = [value.shape for value in embeddings]
    inner = {None if shape is None else shape[1:] for shape in shapes}
    if len(inner - {None}) > 1 or (None in inner and inner - {None, ()}):
        raise MldbError("Attempt to concat vectors with different shapes")
    known = [shape for shape in shapes if shape is not None]
    shape = (sum(shape[0] for shape in known), *known[0][1:]) if len(known) == len(shapes) else None
    kind = coerce.unify(embeddings)
    lists = [coerce.list_as(value, kind) for value in embeddings]
    return Embedding(
        f"flatten([{', '.join(lists)}])", kind, shape, latest_ts(args), constant=all(map(is_constant, args))
    )


def _slice(node: Call, args: list[Value], scope: Scope) -> Value:
    value = args[0]
    if not isinstance(value, Embedding):
        raise MldbError(f"{node.name} requires an embedding as first argument")
    return slice_at(value, integer_argument(args[1], node.name), args, scope)


def slice_at(value: Embedding, index: str, args: list[Value], scope: Scope) -> Value:
    """One index of the last dimension; of a vector, an atom."""
    ts, constant = latest_ts(args), all(map(is_constant, args))
    items = scope.stage(value.sql)
    last = f"len({items})" if value.shape is None else str(value.shape[-1])
    at = f"m_slice_index({index}, {last})"
    if value.shape is None or len(value.shape) == 1:
        return Atom(f"{items}[{at} + 1]", value.kind, ts, constant)
    rest = value.shape[:-1]
    sql = f"list_transform(range(0, {math.prod(rest)}), lambda k: {items}[k * {last} + {at} + 1])"
    return Embedding(sql, value.kind, rest, ts, constant=constant)


def _impulse(node: Call, args: list[Value], scope: Scope) -> Value:
    count = integer_argument(args[0], node.name)
    at = integer_argument(args[1], node.name) if len(args) == 2 else "0::BIGINT"
    known, size = fixed_atom(args[0], scope)
    shape = (_checked(size),) if known and isinstance(size, int) else None
    element = f"CAST(k = m_impulse_at({at}, {count}) AS DOUBLE)"
    sql = f"list_transform(range(0, m_impulse_size({count})), lambda k: {element})"
    return Embedding(sql, Kind.NUMBER, shape, latest_ts(args), constant=all(map(is_constant, args)))


ROUTINES = [
    routine(
        "reshape", (ANYS, NUMBERS, Kind.BOOLEAN, Kind.ANY, Kind.TIMESTAMP), CELLS, reshape, strict=False, slow=True
    ),
    Routine("u_indexed", (CELLS,), CELLS, executing("reshape", indexed)),
    Routine("u_indexed_shape", (CELLS,), NUMBERS, executing("shape", indexed_shape)),
]

MACROS = f"""
m_impulse_size(n) := CASE WHEN n > {LARGEST} THEN u_fail_integer('Executing builtin function impulse: {_TOO_LARGE}')
    ELSE n END
m_of_length(a, n) := CASE WHEN len(a) <> n
    THEN a[u_fail_integer('Executing builtin function reshape: Attempt to change embedding size by reshaping.  '
        || 'Original size is [' || len(a) || '] target size is [' || n || ']'):]
    ELSE a END
m_slice_index(i, n) := CASE
    WHEN i < 0 THEN u_fail_integer('Executing builtin function slice: slice function index is less than zero')
    WHEN i >= n
    THEN u_fail_integer('Executing builtin function slice: slice function index is greater than last dimension size')
    ELSE i END
m_impulse_at(e, n) := CASE
    WHEN e < 0 OR e >= n THEN u_fail_integer('Executing builtin function shifted_impulse: the place lies outside')
    ELSE e END
"""

BUILTINS = [
    Builtin(
        "flatten(v: embedding | row) → embedding",
        "All elements in one dimension.",
        ("flatten([[1, 2], [3, 4]])", "[1, 2, 3, 4]"),
        bind=_flatten,
    ),
    Builtin(
        "reshape(v: embedding | row, shape: embedding[, fill: atom]) → embedding",
        "The same elements, of a row with numbered columns too, in another shape; `fill` cuts off or fills up to it.",
        ("reshape([1, 2, 3], [2], 0)", "[1, 2]"),
        bind=_reshape,
        null=("NULL is an embedding of no elements, which needs a fill", ("reshape(NULL, [2], 0)", "[0, 0]")),
    ),
    Builtin(
        "shape(v: embedding | row) → embedding",
        "The sizes of the dimensions of an embedding, or of a row whose columns are numbered.",
        ("shape([[1, 2, 3], [4, 5, 6]])", "[2, 3]"),
        bind=_shape,
        null=("an error: NULL is no embedding", None),
    ),
    Builtin(
        "concat([a: embedding, b: embedding, …]) → embedding",
        "Embeddings joined along the first dimension.",
        ("concat([1, 2], [3])", "[1, 2, 3]"),
        bind=_concat,
        null=("NULL is an embedding of no elements", ("concat([1], NULL, [2])", "[1, 2]")),
    ),
    Builtin(
        "slice(v: embedding, i: integer) → embedding",
        "One index of the last dimension.",
        ("slice([[1, 2], [3, 4]], 1)", "[2, 4]"),
        bind=_slice,
        null=("an error for an embedding that is NULL", None),
    ),
    Builtin(
        "impulse(n: integer) → embedding",
        "n zeros, the first of them a one.",
        ("impulse(3)", "[1, 0, 0]"),
        bind=_impulse,
    ),
    Builtin(
        "shifted_impulse(n: integer, e: integer) → embedding",
        "n zeros with a one at e.",
        ("shifted_impulse(3, 1)", "[0, 1, 0]"),
        bind=_impulse,
    ),
]
