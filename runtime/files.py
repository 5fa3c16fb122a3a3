"""Answers of plugin code: their status; type and name of files, checked, and the header that tells it (RFC 6266)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

BYTES: Final = "application/octet-stream"
STATUSES: Final = range(200, 600)  # of final answers: what is below would leave the caller waiting for another

_LONGEST_NAME: Final = 200  # characters
_WORD: Final = r"[A-Za-z0-9!#$&^_.+-]{1,100}"
_MEDIA_TYPE: Final = re.compile(rf'{_WORD}/{_WORD}(?:; ?{_WORD}=(?:{_WORD}|"[ -!#-\[\]-~]{{0,100}}"))*')
_UNSAFE: Final = re.compile(r'[\x00-\x1f\x7f-\x9f/\\\ud800-\udfff"]')
_NOT_PLAIN: Final = re.compile(r"[^ -~]|%")  # some browsers decode % in the plain name


@dataclass(frozen=True, slots=True)
class File:
    """How a file is sent. With a name browsers save it, without one they show it.

    ``ValueError`` for no media type, ``TypeError`` for a name that is no text.
    """

    content_type: str = BYTES
    name: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"the name of a file is a text, not {type(self.name).__name__}")
        if not _MEDIA_TYPE.fullmatch(self.content_type):
            raise ValueError(f"{self.content_type[:100]!r} is not a media type such as text/csv; charset=utf-8")

    def headers(self) -> list[tuple[str, str]]:
        name = _UNSAFE.sub("_", self.name[:_LONGEST_NAME])
        if not name:
            return []
        plain = _NOT_PLAIN.sub("_", name)
        encoded = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}"
        return [("Content-Disposition", f'attachment; filename="{plain}"{encoded}')]
