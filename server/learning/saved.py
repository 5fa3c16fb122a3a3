"""Reading the parts of a model file: each is of its type and shape, or the file is refused when it is opened.

A file with a valid digest may still hold anything: whoever writes one can compute the digest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from server.errors import MldbError

if TYPE_CHECKING:
    from numpy.typing import NDArray

REMEDY = "Train the model again, or restore the file from a backup"
FLOATS, WHOLE, TRUTHS = "f", "iu", "b"  # kinds of NumPy
Count = Annotated[int, Field(ge=0)]  # in a JSON object

# What Python, NumPy and pydantic raise for content that is not what it should be.
_OF_CONTENT = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, MemoryError)


def damaged(what: str) -> MldbError:
    return MldbError(f"The model file is damaged: {what}. {REMEDY}")


@contextmanager
def model_content() -> Iterator[None]:
    """``MldbError`` for whatever goes wrong while the content of a model file is made a model."""
    try:
        yield
    except MldbError:
        raise
    except _OF_CONTENT as error:
        raise damaged(repr(error)) from None


def member(state: Mapping[str, Any], name: str, type_: Any) -> Any:
    """A member of a JSON object, as a value of this type (an annotation)."""
    if name not in state:
        raise damaged(f"it lacks '{name}'")
    try:
        return _adapter(type_).validate_python(state[name])
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, [name, *first["loc"]]))
        raise damaged(f"'{place}': {first['msg']}") from None


@cache
def _adapter(type_: Any) -> TypeAdapter[Any]:
    return TypeAdapter(type_)


def checked(name: str, array: NDArray[Any], kinds: str, shape: tuple[int | None, ...]) -> NDArray[Any]:
    """An array of one of these kinds of numbers and of this shape, of which None is any size."""
    fits = len(shape) == array.ndim and all(
        size is None or size == found for size, found in zip(shape, array.shape, strict=True)
    )
    if array.dtype.kind not in kinds or not fits:
        wanted = " × ".join("any" if size is None else str(size) for size in shape)
        raise damaged(f"the array '{name}' is {array.dtype}, {array.shape}, and not of size {wanted}")
    return array


def require(holds: Any, what: str) -> None:
    """``MldbError`` that says what is wrong with the file."""
    if not holds:
        raise damaged(what)


def places(name: str, array: NDArray[Any], count: int, *, low: int = 0) -> NDArray[Any]:
    """An array of places from ``low`` to below ``count``."""
    if len(array) and (array.min() < low or array.max() >= count):
        raise damaged(f"the array '{name}' points outside of what it belongs to")
    return array
