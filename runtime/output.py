"""The output object of main.py, routes.py and scripts (plugin-runtime.md §7.2)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from runtime.jsontext import encode, to_bytes

LogEntries = list[list[Any]]  # [seconds, stream, text or None or list of texts and byte values]


def time_text(seconds: float) -> str:
    """ISO time with as many digits as are needed."""
    moment = datetime.fromtimestamp(seconds, UTC)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    if moment.microsecond:
        text += f".{moment.microsecond:06d}".rstrip("0")
    return text + "Z"


@dataclass(frozen=True, slots=True)
class Output:
    """What a run of plugin code left: ``result`` is JSON text (empty: none)."""

    result: bytes = b""
    logs: LogEntries = field(default_factory=list)
    exception: dict[str, Any] | None = None

    def _logs(self) -> list[dict[str, Any]]:
        entries = sorted(self.logs, key=lambda entry: float(entry[0]))
        return [_entry(*entry) for entry in entries]

    def plain(self) -> dict[str, Any]:
        """The members that there are, as JSON values: the ``details`` of an error."""
        parts: dict[str, Any] = {}
        if self.exception is not None:
            parts["exception"] = self.exception
        if self.logs:
            parts["logs"] = self._logs()
        if self._has_result():
            parts["result"] = json.loads(self.result)
        return parts

    def free_form(self) -> bytes:
        """Members sorted by name, as the script runner and a failing routes.py send it."""
        pieces = []
        if self.exception is not None:
            pieces.append(b'"exception":' + to_bytes(encode(self.exception)))
        if self.logs:
            pieces.append(b'"logs":' + to_bytes(encode(self._logs())))
        if self._has_result():
            pieces.append(b'"result":' + self.result)
        return b"{" + b",".join(pieces) + b"}"

    def ordered(self) -> bytes:
        """JSON with its members in the order of the specification's table, as ``lastoutput`` sends it."""
        pieces = []
        if self._has_result():
            pieces.append(b'"result":' + self.result)
        if self.logs:
            entries = [_reordered(entry) for entry in self._logs()]
            pieces.append(b'"logs":' + json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode())
        if self.exception is not None:
            pieces.append(b'"exception":' + to_bytes(encode(self.exception)))
        return b"{" + b",".join(pieces) + b"}"

    def _has_result(self) -> bool:
        return self.result not in (b"", b"null")


def _entry(seconds: float, stream: str, content: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {"s": stream, "ts": time_text(seconds)}
    if content is not None:
        entry["c"] = content
    return entry


def _reordered(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: entry[name] for name in ("ts", "s", "c") if name in entry}
