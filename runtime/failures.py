"""Exceptions of plugin code as data (plugin-runtime.md §7.2)."""

from __future__ import annotations

import linecache
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

_HOST_FOLDER = str(Path(__file__).resolve().parent)
_LONGEST_TEXT = 2**20  # characters: an exception may hold a whole file
_FRAMES = 200  # of the plugin's
_DEEPEST = 5000  # that are looked at: the host's own may be the last thousand
_CONTEXT = ["Running python script", "Executing Python script"]


def register_source(uri: str, text: str) -> None:
    """Make source lines known to tracebacks, under the address that is shown for the code."""
    linecache.cache[uri] = (len(text), None, text.splitlines(keepends=True), uri)


def report(error: BaseException) -> str:
    """The traceback as Python prints it, causes included; frames of the host are left out."""
    whole = traceback.TracebackException.from_exception(error, limit=-_DEEPEST, compact=True)
    waiting, seen = [whole], {id(whole)}
    while waiting:
        one = waiting.pop()
        one.stack[:] = [frame for frame in one.stack if not _is_of_host(frame)][-_FRAMES:]
        below = [one.__cause__, one.__context__, *(getattr(one, "exceptions", None) or ())]
        fresh = [each for each in below if each is not None and id(each) not in seen]
        seen.update(map(id, fresh))
        waiting.extend(fresh)
    return _cut("".join(whole.format()).rstrip())


def describe(error: BaseException) -> dict[str, Any]:
    """The ``exception`` member of the output object; frames of the host are left out."""
    if isinstance(error, SyntaxError) and error.lineno is not None and not _frames(error.__traceback__):
        return _syntax_error(error)
    described = _base(error)
    stack = _frames(error.__traceback__)
    if stack:
        innermost = stack[-1]
        described["stack"] = stack
        described.update({name: innermost[name] for name in ("where", "scriptUri", "lineNumber")})
    if isinstance(error, SyntaxError):
        described.update(_syntax_error(error))
    return described


def _base(error: BaseException) -> dict[str, Any]:
    return {"message": _message(error), "type": type_name(type(error)), "context": _CONTEXT}


def _message(error: BaseException) -> str:
    try:
        return _cut(str(error))
    except Exception:
        # A __str__ of the plugin's own that fails must not hide which error it was.
        return f"<{type(error).__name__} whose text cannot be had>"


def type_name(kind: type) -> str:
    """``NameError``, dotted for all but the builtins."""
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def _syntax_error(error: SyntaxError) -> dict[str, Any]:
    described = _base(error)
    members = {
        "lineNumber": error.lineno,
        "columnStart": error.offset,
        "columnEnd": error.end_offset,
        "lineContents": error.text,
        "scriptUri": error.filename,
    }
    described.update({name: value for name, value in members.items() if value})
    return described


def _frames(trace: TracebackType | None) -> list[dict[str, Any]]:
    frames = traceback.extract_tb(trace, limit=-_DEEPEST)
    return [_frame(frame) for frame in frames if not _is_of_host(frame)][-_FRAMES:]


def _is_of_host(frame: traceback.FrameSummary) -> bool:
    return frame.filename.startswith(_HOST_FOLDER)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}… ({len(text)} characters)"


def _frame(frame: traceback.FrameSummary) -> dict[str, Any]:
    return {
        "functionName": frame.name,
        "lineNumber": frame.lineno or 0,
        "scriptUri": frame.filename,
        "where": f'File "{frame.filename}", line {frame.lineno}, in {frame.name}',
    }
