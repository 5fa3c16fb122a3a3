"""What handlers answer: a finished response, or a value in one of MLDB's two forms of JSON (rest-api.md §1.1)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from server.entities import jsontext
from server.errors import MldbError
from server.messages import Request, Response


@dataclass(slots=True)
class Typed:
    """A typed JSON answer; ``newline`` for the bodies that end with one (§1.1)."""

    value: Any
    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    newline: bool = False


@dataclass(slots=True)
class FreeForm:
    """A free-form JSON answer: ends with a newline over HTTP, without one in process."""

    value: Any
    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)


Answer = Response | Typed | FreeForm


def plain(message: str, status: int = 200) -> Response:
    return Response(status, message.encode("utf-8", "surrogateescape"), "text/plain")


def empty(status: int = 200, headers: Iterable[tuple[str, str]] = ()) -> Response:
    return Response(status, b"", "", list(headers))


def encode(answer: Answer, request: Request) -> Response:
    if isinstance(answer, Response):
        return answer
    if isinstance(answer, Typed):
        content = jsontext.typed(answer.value)
        return Response(answer.status, content + b"\n" if answer.newline else content, headers=answer.headers)
    content = jsontext.free_form(answer.value)
    return Response(answer.status, content if request.in_process else content + b"\n", headers=answer.headers)


def error_answer(error: MldbError) -> FreeForm:
    return FreeForm(error.body(), error.code)
