"""Pieces of plugin code: read as they are now, even while they are edited, and compiled once for each edit."""

from __future__ import annotations

import dis
import io
import os
import time
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Any

from runtime.failures import register_source

Identity = tuple[int, int, int] | None  # of a file: its number, when it was changed (ns), its size

_REST = 10_000_000  # ns without a change after which a file counts as written
_PAUSE = 0.005  # seconds
_FIRST_WAITED = 0.25  # seconds; a file may be empty, or change without end
_MOST_WAITED = 1.0  # for one that has been read before and is edited, perhaps on a busy machine


@dataclass(frozen=True, slots=True)
class Compiled:
    """Code and what decides the rule for a missing return (plugin-runtime.md §1).

    ``imports_mldb`` and ``reads_request`` mark code of MLDB's later generation.
    """

    code: CodeType
    imports_mldb: bool
    reads_request: bool


class Source:
    """A piece of code: a file that is looked at on every call, or a text."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.uri: str = spec["uri"]
        self._path: str | None = spec["path"]
        self._text: str | None = spec["source"]
        self._identity: Identity = None
        self._missing = True  # when it was looked for last
        self._compiled: Compiled | None = None

    def text(self) -> str:
        """What is there now; ``OSError`` when nothing is."""
        return self._at_rest(self._found())[1]

    def compiled(self) -> Compiled:
        """Current code; ``SyntaxError`` or ``OSError`` when there is none."""
        identity = self._found()
        if self._compiled is None or identity != self._identity:
            identity, text = self._at_rest(identity)
            register_source(self.uri, text)
            self._compiled = compile_source(text, self.uri)
            self._identity = identity
        return self._compiled

    def _found(self) -> Identity:
        """Some editors move a file away before they write it anew: one that was there a moment ago is waited for."""
        end = time.monotonic() + (0.0 if self._missing else _MOST_WAITED)
        while True:
            try:
                identity = self._look()
            except FileNotFoundError:
                if time.monotonic() >= end:
                    self._missing = True
                    raise
                time.sleep(_PAUSE)
            else:
                self._missing = False
                return identity

    def _look(self) -> Identity:
        if self._path is None:
            return None
        status = os.stat(self._path)  # noqa: PTH116 - on the path of every request
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _at_rest(self, identity: Identity) -> tuple[Identity, str]:
        """Most editors empty a file before they write it: one that changes this very moment is waited for."""
        longest = _FIRST_WAITED if self._compiled is None else _MOST_WAITED
        end = time.monotonic() + longest
        while True:
            try:
                text = self._read()
                before, identity = identity, self._look()
            except FileNotFoundError:
                identity = self._found()
                continue
            if (identity == before and _is_at_rest(identity, longest)) or time.monotonic() >= end:
                return before, text
            time.sleep(_PAUSE)

    def _read(self) -> str:
        if self._path is None:
            return self._text or ""
        with open(self._path, "rb") as stream:  # noqa: PTH123
            raw = stream.read()
        try:
            encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
            return io.IncrementalNewlineDecoder(None, translate=True).decode(raw.decode(encoding))
        except (SyntaxError, UnicodeDecodeError) as error:
            raise SyntaxError(str(error), (self.uri, 1, None, None)) from None


def _is_at_rest(identity: Identity, longest: float) -> bool:
    """An empty file is, when it has been so for the longest time that is waited."""
    if identity is None:
        return True
    _, modified, size = identity
    return time.time_ns() - modified >= (_REST if size else longest * 1e9)


def compile_source(text: str, uri: str) -> Compiled:
    code = compile(text, uri, "exec", dont_inherit=True)
    names = list(_names(code))
    imports = any(operation == "IMPORT_NAME" and name.split(".")[0] == "mldb" for operation, name in names)
    # A variable of the plugin's own that is called `request` is not the injected one.
    stores = any(operation.startswith("STORE_") and name == "request" for operation, name in names)
    loads = any(operation.startswith("LOAD_") and name == "request" for operation, name in names)
    return Compiled(code, imports, loads and not stores)


def _names(code: CodeType) -> Iterator[tuple[str, str]]:
    for instruction in dis.get_instructions(code):
        if isinstance(instruction.argval, str):
            yield instruction.opname, instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
