"""Embeddings of complex numbers, as pairs (real, imaginary), and Fourier transforms (sql-dialect.md §8.7)."""

from __future__ import annotations

import math

import numpy as np

from server.errors import MldbError
from server.sql.bound import Embedding, Open, Value, is_constant, is_null, latest_ts, timestamp_of
from server.sql.duck import literal_text
from server.sql.functions import vectors
from server.sql.functions.registry import Bind, Builtin, fixed_atom, routine
from server.sql.functions.shapes import slice_at
from server.sql.functions.vectorarguments import null_of, vector_argument, vector_numbers
from server.sql.routines import CELLS, NUMBERS
from server.sql.scope import Scope
from server.sql.tasks import TASK_SQL
from server.sql.tree import Call
from server.values.atoms import Timestamp
from server.values.batches import Cell
from server.values.kinds import Kind


def _pairs(node: Call, value: Value) -> Embedding:
    if not isinstance(value, Embedding) or value.shape is None or len(value.shape) < 2 or value.shape[-1] != 2:
        raise MldbError(f"{node.name} needs an embedding of pairs (real, imaginary)")
    return value


def _part(index: int) -> Bind:
    """The real (0) or imaginary (1) parts of pairs."""

    def bind(node: Call, args: list[Value], scope: Scope) -> Value:
        return slice_at(_pairs(node, args[0]), f"{index}::BIGINT", args, scope)

    return bind


def _polar(template: str) -> Bind:
    def bind(node: Call, args: list[Value], scope: Scope) -> Value:
        value = _pairs(node, args[0])
        items = vector_numbers(value, node.name, scope)
        shape = (value.shape or ())[:-1]
        body = template.format(re=f"{items}[2 * k + 1]", im=f"{items}[2 * k + 2]")
        sql = f"list_transform(range(0, {math.prod(shape)}), lambda k: {body})"
        return Embedding(sql, Kind.NUMBER, shape, value.ts, constant=value.constant)

    return bind


def _fft(node: Call, args: list[Value], scope: Scope) -> Value:
    if is_null(args[0]):
        return null_of(args)
    direction, kind = _fft_option(args, 1, "forward", scope), _fft_option(args, 2, "real", scope)
    given = args[0].shape if isinstance(args[0], Embedding) else None
    if given is not None:
        _check_fft(given, direction, kind)
    items = vector_numbers(vector_argument(args[0]), node.name, scope)
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
    routine("fft", (NUMBERS, Kind.STRING, Kind.STRING), NUMBERS, fft, slow=True),
    routine("fft_cells", (NUMBERS, Kind.STRING, Kind.STRING, Kind.TIMESTAMP), CELLS, fft_cells, slow=True),
]

BUILTINS = [
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
