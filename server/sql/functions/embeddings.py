"""Vectors and embeddings (sql-dialect.md §8.7). What the engine's list functions can say is said in SQL."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeGuard

import numpy as np

from server.errors import MldbError
from server.sql import coerce
from server.sql.bound import (
    Atom,
    Embedding,
    MultiValue,
    Open,
    Row,
    Value,
    as_any_list,
    enumerate_elements,
    is_constant,
    latest_ts,
    spelled,
    timestamp_of,
)
from server.sql.duck import literal_text
from server.sql.functions import vectors
from server.sql.functions.core import natural_cells
from server.sql.functions.registry import (
    Builtin,
    executing,
    fixed_atom,
    fixed_row,
    integer_argument,
    number_argument,
    result,
    routine,
)
from server.sql.routines import ANYS, CELLS, NUMBERS, Routine
from server.sql.scope import Scope
from server.sql.tasks import TASK_SQL
from server.sql.tree import Call
from server.values.atoms import Atom as PlainAtom
from server.values.atoms import Timestamp, collapse
from server.values.batches import Cell
from server.values.kinds import Kind
from server.values.paths import Path, format_path, natural_key

Bind = Callable[[Call, list[Value], Scope], Value]

LARGEST = 1 << 24  # elements of an embedding that SQL makes: 128 MiB of numbers
_INDEX = re.compile(r"0|[1-9][0-9]{0,11}", re.ASCII)
_TOO_LARGE = f"an embedding has at most {LARGEST} elements"


# ── what a function gives back ───────────────────────────────────────────────────────────────────────────────


def _is_null(value: Value) -> TypeGuard[Atom]:
    return isinstance(value, Atom) and value.kind is Kind.NULL


def _null(args: list[Value]) -> Atom:
    return Atom("NULL", Kind.NULL, latest_ts(args), all(map(is_constant, args)))


def _vector(value: Value) -> Value:
    """A vector argument; of a row, embeddings whose length only the data tell are a rest."""
    lengths = isinstance(value, Row) and any(
        isinstance(leaf, Embedding) and leaf.shape is None and leaf.names is None for leaf in value.columns.values()
    )
    return spelled(value) if isinstance(value, Row) and lengths else value


def _numbers(value: Value, function: str, scope: Scope) -> str:
    """A vector argument as DOUBLE[], computed once per row; errors of elements name the function."""
    if isinstance(value, Row) and not value.rests:
        parts = [number_argument(leaf, function) for leaf in _atoms(value).values()]
        return scope.stage(f"CAST([{', '.join(parts)}] AS DOUBLE[])")
    if isinstance(value, Embedding) and value.kind not in coerce.NUMERIC:
        element = number_argument(Atom("e", value.kind), function)
        return scope.stage(f"list_transform({value.sql}, lambda e: {element})")
    return scope.stage(coerce.as_double_list(value))


def _atoms(row: Row) -> dict[Path, Atom]:
    """The atoms of a row of known columns by their paths, in natural order; embeddings are spelled out."""
    atoms: dict[Path, Atom] = {}
    for path, leaf in row.columns.items():
        if isinstance(leaf, Embedding):
            atoms.update({(*path, *below): element for below, element in enumerate_elements(leaf)})
        else:
            atoms[path] = coerce.atom(leaf)
    return {path: atoms[path] for path in sorted(atoms, key=natural_key)}


def _like(first: Value, sql: str, args: list[Value], scope: Scope) -> Value:
    """Numbers as a vector with the shape, or the names of columns, of the first argument."""
    ts, constant = latest_ts(args), all(map(is_constant, args))
    match first:
        case Embedding():
            return Embedding(sql, Kind.NUMBER, first.shape, ts, first.names, constant)
        case Row(rests=()):
            names = tuple(_atoms(first))
            return Embedding(sql, Kind.NUMBER, (len(names),), ts, names, constant)
    values, cells = scope.stage(sql), coerce.to_cells(first)
    cell = f"struct_pack(p := c.p, v := any_n({values}[i]), t := c.t)"
    return Open(scope.stage(f"list_transform(u_natural_cells({cells}), lambda c, i: {cell})"))


# ── norms and arithmetic ─────────────────────────────────────────────────────────────────────────────────────

_NORMS = {
    0: "CAST(len(list_filter({v}, lambda x: x <> 0)) AS DOUBLE)",
    1: "coalesce(list_sum({v}), 0)",
    2: "sqrt(coalesce(list_sum(list_transform({v}, lambda x: x * x)), 0))",
}


def _norm_sql(vector: str, power: Value, name: str, scope: Scope) -> str:
    """The norm for ``norm`` or ``normalize``."""
    known, number = fixed_atom(power, scope)
    if known and number in _NORMS:
        return f"CASE WHEN {vector} IS NULL THEN NULL ELSE {_NORMS[number].format(v=vector)} END"  # type: ignore[index]
    return f"u_{name}({vector}, {number_argument(power, name)})"


def _norm(node: Call, args: list[Value], scope: Scope) -> Value:
    if _is_null(args[0]):
        return _null(args)
    return result(_norm_sql(_numbers(_vector(args[0]), node.name, scope), args[1], node.name, scope), Kind.NUMBER, args)


def norm(vector: list[float], power: float, function: str = "norm") -> float:
    return vectors.norm(np.asarray(vector, np.float64), power, function)


def _normalize(node: Call, args: list[Value], scope: Scope) -> Value:
    value = _vector(args[0])
    if _is_null(value):
        return _null(args)
    if isinstance(value, Open) or (isinstance(value, Row) and value.rests):
        raise MldbError("Can't normalize a row with unknown columns")
    if isinstance(value, Atom | MultiValue):
        raise MldbError("Can't normalize something that's not a row or embedding")
    vector = _numbers(value, node.name, scope)
    length = scope.stage(_norm_sql(vector, args[1], node.name, scope))
    return _like(value, f"list_transform({vector}, lambda x: x / {length})", args, scope)


_OPERATORS = {"vector_diff": "-", "vector_sum": "+", "vector_product": "*", "vector_quotient": "/"}


def _pairwise(node: Call, args: list[Value], scope: Scope) -> Value:
    if any(map(_is_null, args)):
        return _null(args)
    args = [_vector(value) for value in args]
    a, b = (_numbers(value, node.name, scope) for value in args)
    first, second = (_names_sql(value) for value in args)
    if first != second and first is not None and second is not None:
        a = f"m_same_names({a}, {first}, {second}, {literal_text(node.name)})"
    message = literal_text(f"Executing builtin function {node.name}: the vectors have different lengths")
    sql = f"list_transform(m_same_length({a}, {b}, {message}), lambda x, i: x {_OPERATORS[node.name]} {b}[i])"
    return _like(args[0], sql, args, scope)


def _names_sql(value: Value) -> str | None:
    """The columns that the numbers of a vector stand in, as a list of texts; None of an unnamed embedding."""
    match value:
        case Embedding(names=None):
            return None
        case Embedding():
            paths = [path for path, _ in enumerate_elements(value)]
        case Row(rests=()):
            paths = list(_atoms(value))
        case _:
            return f"list_transform(u_natural_cells({coerce.to_cells(value)}), lambda c: c.p)"
    return f"[{', '.join(literal_text(format_path(path)) for path in paths)}]::VARCHAR[]"


# ── shapes ───────────────────────────────────────────────────────────────────────────────────────────────────


def _flatten(node: Call, args: list[Value], scope: Scope) -> Value:
    del node
    value, ts = _vector(args[0]), latest_ts(args)
    match value:
        case Embedding():
            shape = None if value.shape is None else (math.prod(value.shape),)
            return Embedding(value.sql, value.kind, shape, value.ts, constant=value.constant)
        case Row(rests=()):
            atoms = list(_atoms(value).values())
            kind = coerce.unify(atoms)
            kind = Kind.ANY if kind is Kind.NULL else kind
            parts = ", ".join(coerce.as_kind(atom, kind) for atom in atoms)
            return Embedding(f"[{parts}]", kind, (len(atoms),), ts, constant=value.constant)
        case Row() | Open():
            cells = f"u_natural_cells({coerce.to_cells(value)})"
            return Embedding(scope.stage(f"list_transform({cells}, lambda c: c.v)"), Kind.ANY, None, ts)
    if _is_null(value):
        return _null(args)
    raise MldbError("flatten requires a row or an embedding as argument")


def _indexed(value: Value, scope: Scope) -> Value:
    """A row whose columns are numbered, in any number of dimensions, as the embedding that it spells."""
    match _vector(value):
        case Row(rests=()) as row:
            atoms = _atoms(row)
            kind = coerce.unify(list(atoms.values()))
            kind = Kind.ANY if kind is Kind.NULL else kind
            parts = ", ".join(coerce.as_kind(atom, kind) for atom in atoms.values())
            return Embedding(f"CAST([{parts}] AS {kind.duck}[])", kind, grid(list(atoms)), constant=row.constant)
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
    del node
    value = _vector(args[0])
    if isinstance(value, Open) or (isinstance(value, Row) and value.rests):
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
    del node
    fill = coerce.atom(args[2]) if len(args) == 3 else None
    value = _reshapable(_indexed(args[0], scope), fill)
    kind = value.kind if fill is None else coerce.unify([Atom("", value.kind), fill])
    items = value if kind is value.kind else replace(value, sql=_relisted(value, kind), kind=kind)
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
    if _is_null(value) and fill is None:
        raise MldbError("Null embedding needs third argument to reshape()")
    if _is_null(value) and fill is not None:
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


def _relisted(value: Embedding, kind: Kind) -> str:
    return coerce.as_double_list(value) if kind is Kind.NUMBER else as_any_list(value)


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
    return [Cell(tuple(map(str, np.unravel_index(at, sizes))), value, when.seconds) for at, value in enumerate(values)]


def _concat(node: Call, args: list[Value], scope: Scope) -> Value:
    del node, scope
    parts = [value for value in args if not _is_null(value)]
    embeddings = [value for value in parts if isinstance(value, Embedding)]
    if len(embeddings) < len(parts):
        raise MldbError("concat requires embeddings")
    if not embeddings:
        return _null(args)
    shapes = [value.shape for value in embeddings]
    inner = {None if shape is None else shape[1:] for shape in shapes}
    if len(inner - {None}) > 1 or (None in inner and inner - {None, ()}):
        raise MldbError("Attempt to concat vectors with different shapes")
    known = [shape for shape in shapes if shape is not None]
    shape = (sum(shape[0] for shape in known), *known[0][1:]) if len(known) == len(shapes) else None
    kind = coerce.unify([Atom("", value.kind) for value in embeddings])
    lists = [value.sql if value.kind is kind else _relisted(value, kind) for value in embeddings]
    return Embedding(
        f"flatten([{', '.join(lists)}])", kind, shape, latest_ts(args), constant=all(map(is_constant, args))
    )


def _slice(node: Call, args: list[Value], scope: Scope) -> Value:
    value = args[0]
    if not isinstance(value, Embedding):
        raise MldbError(f"{node.name} requires an embedding as first argument")
    return _slice_at(value, integer_argument(args[1], node.name), args, scope)


def _part(index: int) -> Bind:
    """The real (0) or imaginary (1) parts of pairs."""

    def bind(node: Call, args: list[Value], scope: Scope) -> Value:
        return _slice_at(_pairs(node, args[0]), f"{index}::BIGINT", args, scope)

    return bind


def _slice_at(value: Embedding, index: str, args: list[Value], scope: Scope) -> Value:
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


# ── complex numbers ──────────────────────────────────────────────────────────────────────────────────────────


def _pairs(node: Call, value: Value) -> Embedding:
    if not isinstance(value, Embedding) or value.shape is None or len(value.shape) < 2 or value.shape[-1] != 2:
        raise MldbError(f"{node.name} needs an embedding of pairs (real, imaginary)")
    return value


def _polar(template: str) -> Bind:
    def bind(node: Call, args: list[Value], scope: Scope) -> Value:
        value = _pairs(node, args[0])
        items = _numbers(value, node.name, scope)
        shape = (value.shape or ())[:-1]
        body = template.format(re=f"{items}[2 * k + 1]", im=f"{items}[2 * k + 2]")
        sql = f"list_transform(range(0, {math.prod(shape)}), lambda k: {body})"
        return Embedding(sql, Kind.NUMBER, shape, value.ts, constant=value.constant)

    return bind


def _fft(node: Call, args: list[Value], scope: Scope) -> Value:
    if _is_null(args[0]):
        return _null(args)
    direction, kind = _fft_option(args, 1, "forward", scope), _fft_option(args, 2, "real", scope)
    given = args[0].shape if isinstance(args[0], Embedding) else None
    if given is not None:
        _check_fft(given, direction, kind)
    items = _numbers(_vector(args[0]), node.name, scope)
    call = f"{items}, {literal_text(direction)}, {literal_text(kind)}"
    flat = direction == "backward" and kind == "real"
    if given is None and not flat:
        return Open(scope.stage(f"s_fft_cells({TASK_SQL}, {call}, {timestamp_of(args[0])})"))
    shape = None
    if given is not None:
        size = math.prod(given)
        shape = (size,) if flat else (size // 2, 2)
    sql = scope.stage(f"s_{node.name}({TASK_SQL}, {call})")
    return Embedding(sql, Kind.NUMBER, shape, latest_ts(args), constant=all(map(is_constant, args)))


def _check_fft(shape: tuple[int, ...], direction: str, kind: str) -> None:
    if len(shape) != 1 and shape[1:] != (2,):
        raise MldbError(
            "FFT requires either a flat embedding for real numbers, or a nx2 embedding for complex numbers."
        )
    if len(shape) == 1 and shape[0] % 32 == 0 and (direction == "backward" or kind == "complex"):
        raise MldbError("Complex input is required for inverse or complex fft")


def _fft_option(args: list[Value], index: int, default: str, scope: Scope) -> str:
    if len(args) <= index:
        return default
    known, option = fixed_atom(args[index], scope)
    if not known or option is None:
        raise MldbError("the direction and the type of an FFT are constants")
    return str(option)


def fft(items: list[float], direction: str, kind: str) -> list[float]:
    """The transform, pairs one after the other."""
    array = np.asarray(items, np.float64)
    pairs = kind == "complex" or direction == "backward"
    transformed = vectors.fft(array.reshape(-1, 2) if pairs and array.size % 2 == 0 else array, direction, kind)
    return [float(number) for number in transformed.ravel()]


def fft_cells(items: list[float], direction: str, kind: str, when: Timestamp) -> list[Cell]:
    numbers = fft(items, direction, kind)
    return [Cell((str(at // 2), str(at % 2)), number, when.seconds) for at, number in enumerate(numbers)]


ROUTINES = [
    routine("norm", (NUMBERS, Kind.NUMBER), Kind.NUMBER, norm),
    routine("normalize", (NUMBERS, Kind.NUMBER), Kind.NUMBER, partial(norm, function="normalize")),
    routine(
        "reshape", (ANYS, NUMBERS, Kind.BOOLEAN, Kind.ANY, Kind.TIMESTAMP), CELLS, reshape, strict=False, slow=True
    ),
    Routine("u_indexed", (CELLS,), CELLS, executing("reshape", indexed)),
    Routine("u_indexed_shape", (CELLS,), NUMBERS, executing("shape", indexed_shape)),
    routine("fft", (NUMBERS, Kind.STRING, Kind.STRING), NUMBERS, fft, slow=True),
    routine("fft_cells", (NUMBERS, Kind.STRING, Kind.STRING, Kind.TIMESTAMP), CELLS, fft_cells, slow=True),
]

MACROS = f"""
m_impulse_size(n) := CASE WHEN n > {LARGEST} THEN u_fail_integer('Executing builtin function impulse: {_TOO_LARGE}')
    ELSE n END
m_same_length(a, b, m) := CASE WHEN len(a) <> len(b) THEN a[u_fail_integer(m):] ELSE a END
m_same_names(a, x, y, f) := CASE WHEN len(x) = len(y) AND x <> y
    THEN a[u_fail_integer('Executing builtin function ' || f || ': Column '''
        || list_filter(y, lambda e: NOT list_contains(x, e))[1] || ''' was unknown for embedding'):] ELSE a END
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
        "norm(v: embedding | row, p: number) → number",
        "The norm of a vector: p 0 counts what is not zero, 1 sums, 2 is Euclid's, inf is the greatest element.",
        ("norm([3, 4], 2)", "5"),
        bind=_norm,
    ),
    Builtin(
        "normalize(v: embedding | row, p: number) → the form of v",
        "The vector divided by its norm.",
        ("normalize([2, 6], 1)", "[0.25, 0.75]"),
        bind=_normalize,
    ),
    Builtin(
        "vector_diff(a: embedding | row, b: embedding | row) → the form of a",
        "a - b, element by element.",
        ("vector_diff([3, 4], [1, 1])", "[2, 3]"),
        bind=_pairwise,
    ),
    Builtin(
        "vector_sum(a: embedding | row, b: embedding | row) → the form of a",
        "a + b, element by element.",
        ("vector_sum([3, 4], [1, 1])", "[4, 5]"),
        bind=_pairwise,
    ),
    Builtin(
        "vector_product(a: embedding | row, b: embedding | row) → the form of a",
        "a * b, element by element.",
        ("vector_product([3, 4], [2, 2])", "[6, 8]"),
        bind=_pairwise,
    ),
    Builtin(
        "vector_quotient(a: embedding | row, b: embedding | row) → the form of a",
        "a / b, element by element.",
        ("vector_quotient({x: 3, y: 4}, {x: 2, y: 2})", '{"x": 1.5, "y": 2}'),
        bind=_pairwise,
    ),
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
    Builtin(
        "real(v: embedding) → embedding",
        "The real parts of pairs.",
        ("real([[1, 2], [3, 4]])", "[1, 3]"),
        bind=_part(0),
        null=("an error: NULL is no embedding", None),
    ),
    Builtin(
        "imag(v: embedding) → embedding",
        "The imaginary parts of pairs.",
        ("imag([[1, 2], [3, 4]])", "[2, 4]"),
        bind=_part(1),
        null=("an error: NULL is no embedding", None),
    ),
    Builtin(
        "amplitude(v: embedding) → embedding",
        "The absolute values of pairs (real, imaginary).",
        ("amplitude([[3, 4], [0, 1]])", "[5, 1]"),
        bind=_polar("sqrt({re} * {re} + {im} * {im})"),
        null=("an error: NULL is no embedding", None),
    ),
    Builtin(
        "phase(v: embedding) → embedding",
        "The angles of pairs (real, imaginary): atan2(real, imaginary).",
        ("phase([[0, 1], [0, 2]])", "[0, 0]"),
        bind=_polar("atan2({re}, {im})"),
        null=("an error: NULL is no embedding", None),
    ),
    Builtin(
        "fft(v: embedding[, direction: text[, kind: text]]) → embedding",
        "The Fourier transform of a multiple of 32 numbers, in single precision. Directions are `forward` and "
        "`backward`, kinds `real` and `complex`.",
        bind=_fft,
    ),
]
