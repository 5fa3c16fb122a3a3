"""Cells and ``ANY`` atoms between Arrow and Python.

``pyarrow`` forgets a union's tags in ``to_pylist``; here a timestamp comes back as a ``Timestamp`` and a path as a
``PathValue``.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from server.values import compute as pc
from server.values.arrow import pa
from server.values.atoms import NEVER, Atom, Interval, PathValue, Timestamp, collapse
from server.values.kinds import EXACT, TAGS, Kind
from server.values.paths import Path, format_path, parse_path

_DECODE: dict[str, Any] = {
    "n": collapse,
    "i": int,
    "u": int,
    "s": str,
    "t": Timestamp,
    "v": lambda fields: Interval(fields["months"], fields["days"], fields["seconds"]),
    "b": bytes,
    "p": lambda text: PathValue(parse_path(text) if text else ()),
}
_BY_KIND = {
    Kind.BOOLEAN: int,
    Kind.INTEGER: int,
    Kind.UNSIGNED: int,
    Kind.NUMBER: collapse,
    Kind.STRING: str,
    Kind.TIMESTAMP: Timestamp,
    Kind.INTERVAL: _DECODE["v"],
    Kind.BLOB: bytes,
    Kind.PATH: _DECODE["p"],
}


@dataclass(slots=True)
class Cell:
    """One cell of a row in plain Python: path, atom and timestamp in seconds."""

    path: Path
    value: Atom
    timestamp: float = field(default=NEVER)


Row = list[Cell]
DatedRow = tuple[dict[Path, Atom], float]
"""Atoms by path, and the time in seconds that all of them are of."""


def atoms_of(array: pa.Array | pa.ChunkedArray, kind: Kind) -> list[Atom]:
    """An Arrow array of a kind's type as Python atoms."""
    if isinstance(array, pa.ChunkedArray):
        return [atom for chunk in array.chunks for atom in atoms_of(chunk, kind)]
    if kind in (Kind.ANY, Kind.NULL):
        return _any_atoms(array)
    decode = _BY_KIND[kind]
    return [None if value is None else decode(value) for value in array.to_pylist()]


def _any_atoms(array: pa.Array) -> list[Atom]:
    if not pa.types.is_union(array.type):
        return [None] * len(array)
    atoms: list[Atom] = [None] * len(array)
    codes = type_codes(array)
    for code, tag in enumerate(TAGS):
        rows = np.flatnonzero(codes == code)
        if not len(rows):
            continue
        decode = _DECODE[tag]
        for row, value in zip(rows.tolist(), array.field(code).take(pa.array(rows)).to_pylist(), strict=True):
            atoms[row] = None if value is None else decode(value)
    return atoms


def decoded(tag: str | None, value: Any) -> Atom:
    """The atom of a union's member, as DuckDB gives it to Python; None for NULL."""
    atom: Atom = None if tag is None or value is None else _DECODE[tag](value)
    return atom


def type_codes(array: pa.Array) -> npt.NDArray[np.int8]:
    """The tag numbers of an ``ANY`` array; ``UnionArray.type_codes`` forgets where a slice begins."""
    return np.frombuffer(array.buffers()[1], np.int8, len(array), array.offset)


def tag_and_value(atom: Atom) -> tuple[str, Any]:
    """The tag of ``ANY`` that holds an atom, and the value as Arrow wants it."""
    match atom:
        case None:
            return "n", None
        case bool() | int():
            return _integer_tag(int(atom))
        case float():
            exact = collapse(atom)
            return ("n", atom) if isinstance(exact, float) or abs(exact) <= EXACT else _integer_tag(exact)
        case str():
            return "s", atom
        case Timestamp(seconds):
            return "t", seconds
        case Interval(months, days, seconds):
            return "v", {"months": months, "days": days, "seconds": seconds}
        case bytes():
            return "b", atom
        case PathValue(path):
            return "p", format_path(path)
    raise TypeError(f"not an atom: {atom!r}")


def _integer_tag(number: int) -> tuple[str, Any]:
    if -EXACT <= number <= EXACT:
        return "n", float(number)
    if -(2**63) <= number < 2**63:
        return "i", number
    if 0 <= number < 2**64:
        return "u", number
    return "n", float(number) if abs(number) <= sys.float_info.max else math.inf if number > 0 else -math.inf


def any_array(atoms: Iterable[Atom]) -> pa.Array:
    """Python atoms as an Arrow array of ``ANY``."""
    from server.values.arrow_types import ANY_MEMBERS

    listed = list(atoms)
    codes, children = _plain_members(listed) or _members(listed)
    every = [
        children[tag] if tag in children else pa.nulls(len(listed), member.type)
        for tag, member in zip(TAGS, ANY_MEMBERS, strict=True)
    ]
    return pa.UnionArray.from_sparse(codes, every, field_names=list(TAGS))


def _plain_members(atoms: list[Atom]) -> tuple[pa.Array, dict[str, pa.Array]] | None:
    """``_members`` of texts and numbers; None for other atoms, and for integers that only tags ``i`` and ``u`` hold."""
    if not _PLAIN.issuperset(map(type, atoms)):
        return None
    try:
        numbers = pa.array([None if type(atom) is str else atom for atom in atoms], pa.float64())
    except pa.ArrowInvalid:
        return None
    sizes = np.abs(numbers.to_numpy(zero_copy_only=False))
    if ((sizes > EXACT) & (sizes < 2.0**64)).any():
        return None
    texts = pa.array([atom if type(atom) is str else None for atom in atoms], pa.string())
    codes = np.where(texts.is_valid(), TAGS.index("s"), TAGS.index("n")).astype(np.int8)
    return pa.array(codes), {"n": numbers, "s": texts}


_PLAIN = frozenset((str, int, float, type(None)))


def _members(atoms: list[Atom]) -> tuple[pa.Array, dict[str, pa.Array]]:
    """The tag numbers of a union, and its members by tag."""
    from server.values.arrow_types import ANY_MEMBERS

    tagged = list(map(tag_and_value, atoms))
    codes = pa.array([TAGS.index(tag) for tag, _ in tagged], pa.int8())
    used = {tag for tag, _ in tagged}
    return codes, {
        name: pa.array([value if tag == name else None for tag, value in tagged], member.type)
        for name, member in zip(TAGS, ANY_MEMBERS, strict=True)
        if name in used
    }


def cells_array(rows: Sequence[Iterable[Cell]]) -> pa.Array:
    """Rows of cells as an Arrow array of the ``rest`` type."""
    listed = [list(row) for row in rows]
    flat = [cell for row in listed for cell in row]
    times = pa.array([cell.timestamp for cell in flat], pa.float64())
    return _lists(list(map(len, listed)), (cell.path for cell in flat), (cell.value for cell in flat), times)


def rows_array(rows: Sequence[DatedRow]) -> pa.Array:
    """As ``cells_array``, of rows whose atoms are all of one time."""
    atoms = [atoms for atoms, _ in rows]
    sizes = list(map(len, atoms))
    times = pa.array(np.repeat([time for _, time in rows], sizes), pa.float64())
    return _lists(sizes, chain.from_iterable(atoms), chain.from_iterable(map(dict.values, atoms)), times)


def _lists(sizes: list[int], paths: Iterable[Path], values: Iterable[Atom], times: pa.Array) -> pa.Array:
    """Cells, in lists of these sizes."""
    from server.values.arrow_types import CELL_ARROW

    texts = _PathTexts()
    names = pa.array([texts[path] for path in paths], pa.string())
    cells = pa.StructArray.from_arrays([names, any_array(values), times], fields=list(CELL_ARROW))
    offsets = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), cells)


class _PathTexts(dict[Path, str]):
    """Texts of paths, each made once: rows mostly have the columns of the rows before them."""

    def __missing__(self, path: Path) -> str:
        text = self[path] = format_path(path)
        return text


def same_in_all(rest: pa.Array) -> bool:
    """Whether all rows of a ``rest`` array are seen to have the same cells, as those of a constant have."""
    sizes = rest.value_lengths()
    size = sizes[0].as_py() if len(rest) else None
    if size is None or sizes.null_count or pc.min_max(sizes).as_py() != {"min": size, "max": size}:
        return False
    flat = rest.flatten()
    if not flat.slice(size).equals(flat.slice(0, len(flat) - size)):
        return False
    # Arrow takes 0.0 for -0.0, in which lies the sign of an interval.
    return not (type_codes(flat.field("v")) == TAGS.index("v")).any()


def cells_of(rest: pa.Array | pa.ChunkedArray) -> list[list[Cell]]:
    """A ``rest`` array as Python cells, one list per row (a null row is empty)."""
    if isinstance(rest, pa.ChunkedArray):
        return [row for chunk in rest.chunks for row in cells_of(chunk)]
    flat = rest.flatten()
    if not len(flat):
        return [[] for _ in range(len(rest))]
    texts = flat.field("p").to_pylist()
    values = atoms_of(flat.field("v"), Kind.ANY)
    times = flat.field("t").to_pylist()
    known: dict[str, Path] = {}
    cells = []
    for text, value, time in zip(texts, values, times, strict=True):
        path = known.get(text)
        if path is None:
            path = known[text] = parse_path(text) if text else ()
        cells.append(Cell(path, value, -math.inf if time is None else time))
    rows, at = [], 0
    for length in rest.value_lengths().to_pylist():
        rows.append(cells[at : at + (length or 0)])
        at += length or 0
    return rows


def nested(cells: list[Cell], change: Callable[[Atom], Any] = lambda atom: atom) -> Any:
    """Cells as nested dictionaries by element; those with keys 0 to n-1 become lists."""
    root: dict[str, Any] = {}
    for cell in cells:
        if not cell.path:
            return change(cell.value)
        inner = root
        for element in cell.path[:-1]:
            below = inner.get(element)
            if not isinstance(below, dict):
                below = inner[element] = {}
            inner = below
        inner[cell.path[-1]] = change(cell.value)
    return _with_lists(root)


def _with_lists(row: dict[str, Any]) -> Any:
    values = {name: _with_lists(value) if isinstance(value, dict) else value for name, value in row.items()}
    size = len(values)
    if size and all(str(index) in values for index in range(size)):
        return [values[str(index)] for index in range(size)]
    return values


def narrow_cells(rest: pa.Array | pa.ChunkedArray, prefix: Path) -> pa.Array | pa.ChunkedArray:
    """The cells below a prefix, the prefix cut off their paths."""
    if not prefix:
        return rest
    from server.values.arrow_types import CELL_ARROW

    if isinstance(rest, pa.ChunkedArray):
        rest = rest.combine_chunks() if rest.num_chunks != 1 else rest.chunk(0)
    text = format_path(prefix)
    flat = rest.flatten()
    paths = flat.field("p")
    # Texts of paths are canonical: what begins with the prefix and a dot is below it.
    inside = pc.or_(pc.equal(paths, text), pc.starts_with(paths, f"{text}.")).to_numpy(zero_copy_only=False)
    lengths = pc.fill_null(rest.value_lengths(), 0).to_numpy(zero_copy_only=False)
    counts = np.bincount(np.repeat(np.arange(len(rest)), lengths)[inside], minlength=len(rest))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    if not inside.all():
        flat = flat.take(pa.array(np.flatnonzero(inside)))
    cut = pc.utf8_slice_codeunits(flat.field("p"), len(text) + 1)
    members = [cut, flat.field("v"), pc.fill_null(flat.field("t"), -math.inf)]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.StructArray.from_arrays(members, fields=list(CELL_ARROW)))
