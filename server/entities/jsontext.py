"""The two JSON writers of rest-api.md §1.1, and the reader with its limits.

    typed      members in the order given, shortest floats (``2``, ``1e8``)
    free-form  members sorted at every level, floats with a fraction (``2.0``), 16 significant digits

``free(value)`` marks a free-form piece inside a typed body.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import orjson

from server.errors import MldbError
from server.values.atoms import LEAST_PLAIN, number_text

_OPTIONS = orjson.OPT_NON_STR_KEYS
_SORTED = orjson.OPT_NON_STR_KEYS | orjson.OPT_SORT_KEYS
_CONTAINERS = frozenset({dict, list})
_MANY = 64  # from here on a list is worth a look as a whole
MAX_DEPTH = 200  # the server's setting ``json_depth`` replaces it; Python code that walks a body recurses this deep


def typed(value: Any) -> bytes:
    """JSON text with members in their own order."""
    return orjson.dumps(_typed_floats(value), option=_OPTIONS)


def free_form(value: Any) -> bytes:
    """JSON text with members sorted by name."""
    return orjson.dumps(_free_floats(value), option=_SORTED)


def free(value: Any) -> orjson.Fragment:
    """A piece of a typed body that is written free-form."""
    return orjson.Fragment(free_form(value))


def _typed_floats(value: Any) -> Any:
    kind = type(value)
    if kind is str or kind is int or value is None or kind is bool:
        return value
    if kind is float:
        if not (-LEAST_PLAIN < value < LEAST_PLAIN or value.is_integer()):
            return value  # NaN and infinities become null
        return orjson.Fragment(number_text(value))
    if kind is dict:
        return {name: _typed_floats(member) for name, member in value.items()}
    if kind is list or kind is tuple:
        return _typed_numbers(value) if len(value) >= _MANY else [_typed_floats(item) for item in value]
    return value


def _typed_numbers(values: Sequence[Any]) -> list[Any]:
    """``_typed_floats`` of each, most of which may be left as they are where all are numbers."""
    if not set(map(type, values)) <= {float, int, type(None)}:
        return [_typed_floats(value) for value in values]
    typed = list(values)
    numbers = np.asarray([0.0 if type(value) is int else value for value in values], np.float64)
    for index in np.flatnonzero((np.abs(numbers) < LEAST_PLAIN) | (np.trunc(numbers) == numbers)).tolist():
        typed[index] = _typed_floats(values[index])
    return typed


def _free_floats(value: Any) -> Any:
    kind = type(value)
    if kind is str or kind is int or value is None or kind is bool:
        return value
    if kind is float:
        return orjson.Fragment(float_text(value)) if math.isfinite(value) else None
    if kind is dict:
        return {name: _free_floats(member) for name, member in value.items()}
    if kind is list or kind is tuple:
        return [_free_floats(item) for item in value]
    return value


def float_text(number: float) -> str:
    """16 significant digits, trailing zeros cut down to one after the point."""
    text = format(number, "#.16g")
    if "e" in text:
        return text
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.rstrip('0') or '0'}"


def parse(body: bytes | str) -> Any:
    """Read a JSON body; ``MldbError`` with the parser's text, or when it is nested too deep."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MldbError(f"JSON Parsing error: [{error}]") from None
    raw = body.encode() if isinstance(body, str) else body
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _deeper_than(value, MAX_DEPTH):
        raise MldbError(f"JSON Parsing error: [nested deeper than {MAX_DEPTH} levels]")
    return value


def _deeper_than(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        members = chain.from_iterable(item.values() if type(item) is dict else item for item in level)
        level = [member for member in members if type(member) in _CONTAINERS]
        if not level:
            return False
    return True
